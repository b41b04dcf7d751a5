"""What a base model goes on with greedily, by transformers' generate in f32."""

import torch

from rows import load_tokenizer
from train import load_base

NEW_TOKENS = 32
SMALLEST_GAP = 1e-3
DISTINCT = 8


def continuation(model_dir, quantization, prompt):
    """The prompt's ids, 32 more without the adapter, and these as text. The best two logits never lie close together."""
    tokenizer = load_tokenizer(model_dir)
    ids = tokenizer(prompt)["input_ids"]
    model = load_base(model_dir, quantization).eval()
    output = model.generate(
        torch.tensor([ids]),
        attention_mask=torch.ones(1, len(ids), dtype=torch.long),
        do_sample=False,
        max_new_tokens=NEW_TOKENS,
        output_logits=True,
        return_dict_in_generate=True,
    )
    tokens = output.sequences[0, len(ids) :].tolist()
    best = torch.stack(output.logits).squeeze(1).topk(2).values
    gap = (best[:, 0] - best[:, 1]).min().item()
    assert len(tokens) == NEW_TOKENS, f"the end came after {len(tokens)} tokens: take another seed"
    assert gap > SMALLEST_GAP, f"two logits differ by {gap:.1e} alone: take another seed"
    special = set(tokens) & set(tokenizer.all_special_ids)
    assert len(set(tokens)) >= DISTINCT, f"only {len(set(tokens))} different tokens: take another seed"
    assert not special, f"special tokens {special} are no text: take another seed"
    return {"prompt": prompt, "prompt_ids": ids, "tokens": tokens, "text": tokenizer.decode(tokens), "smallest_gap": gap}
