"""Products of activations with weights as llama.cpp's processor backend computes them.

ggml rounds the activations of a product to the kind that goes with the weights' (`vec_dot_type` in ggml-cpu.c): to blocks
of 32 values in 8 bits for Q8_0, to halves for F16. Sums are f32. Products within attention are not rounded where keys and
values are F32.
"""

import gguf
import torch
from torch.nn.functional import linear

BLOCK = 32
KINDS = gguf.GGMLQuantizationType


def stored(weight, kind):
    """What is left of a weight in a GGUF."""
    values = gguf.quants.dequantize(gguf.quants.quantize(weight.numpy(), kind), kind)
    return torch.from_numpy(values).to(weight.dtype)


def half(values):
    return values.to(torch.float16).to(values.dtype)


def eight_bits(values):
    """Blocks of codes times a scale, as `quantize_row_q8_0` of ggml-cpu/arch/x86/quants.c makes them with AVX2: the codes
    are found by the scale in f32, which is then kept as a half."""
    blocks = values.unflatten(-1, (-1, BLOCK))
    largest = blocks.abs().amax(-1, keepdim=True)
    codes = (blocks * torch.where(largest > 0, 127 / largest, 0)).round()
    return (codes * half(largest / 127)).flatten(-2)


class Product(torch.nn.Module):
    """A linear layer of an export in Q8_0, which has F16 where 32 does not divide the rows."""

    def __init__(self, layer):
        super().__init__()
        weight = layer.weight.detach()
        is_q8_0 = weight.shape[1] % BLOCK == 0
        self.rounded = eight_bits if is_q8_0 else half
        self.weight = stored(weight, KINDS.Q8_0 if is_q8_0 else KINDS.F16)
        self.bias = layer.bias

    def forward(self, values):
        return linear(self.rounded(values), self.weight, self.bias)


def in_q8_0(model):
    """The model as llama.cpp computes its export in Q8_0."""
    embedding = model.get_input_embeddings()
    kind = KINDS.Q8_0 if embedding.weight.shape[1] % BLOCK == 0 else KINDS.F16
    for name, layer in list(model.named_modules()):
        if isinstance(layer, torch.nn.Linear):
            model.set_submodule(name, Product(layer))
    embedding.weight = torch.nn.Parameter(stored(embedding.weight.detach(), kind), requires_grad=False)
    return model
