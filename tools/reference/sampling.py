"""Writes tests/fixtures/sampling.json: how likely each token is to be drawn, by transformers' own processors in its own order.

Each case is `{logits, seen, options, shares}`: `seen` are the ids that are there already, and a share of 0 is a token that
is never drawn. Where nothing but top_k leaves tokens out, logits are multiples of 1/2, so that some are equal; which of equal
ones top_p keeps is not told by its rule.
"""

import json
from pathlib import Path

import torch
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM

VOCAB = 24
OPTIONS = [
    {},
    {"top_k": 5},
    {"top_k": 1},
    {"top_k": 100},
    {"top_p": 0.8},
    {"top_p": 0.05},
    {"min_p": 0.1},
    {"min_p": 1.0},
    {"repetition_penalty": 1.3},
    {"repetition_penalty": 0.7},
    {"top_k": 6, "top_p": 0.7},
    {"top_k": 8, "min_p": 0.2},
    {"top_p": 0.9, "min_p": 0.05},
    {"top_k": 7, "top_p": 0.85, "min_p": 0.15, "repetition_penalty": 1.2},
]


def shares(model, logits, seen, options):
    # What is not named is off, as 0 for top_k is: transformers' own default is 50.
    config = GenerationConfig(**({"do_sample": True, "top_k": 0} | options))
    processors = model._get_logits_processor(config, input_ids_seq_length=len(seen))
    return processors(torch.tensor([seen]), torch.tensor([logits])).double().softmax(-1)[0].tolist()


def main(path):
    small = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
    model = LlamaForCausalLM(LlamaConfig(vocab_size=VOCAB, **small))
    random = torch.Generator().manual_seed(3)
    lines = []
    for temperature in [0.5, 1.0, 2.0]:
        for options in OPTIONS:
            options = {"temperature": temperature} | options
            parts = 1024 if "top_p" in options else 2
            logits = ((torch.randn(VOCAB, generator=random) * 2 * parts).round() / parts).tolist()
            assert "top_p" not in options or len(set(logits)) == VOCAB, "two logits are equal"
            seen = torch.randint(VOCAB, (6,), generator=random).tolist()
            case = {"logits": logits, "seen": seen, "options": options, "shares": shares(model, logits, seen, options)}
            lines.append(json.dumps(case))
    path.write_text("[\n" + ",\n".join(lines) + "\n]\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(__file__).resolve().parents[2] / "tests/fixtures/sampling.json")
