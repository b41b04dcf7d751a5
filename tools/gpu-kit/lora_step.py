"""The training step that tabtune measures, in plain PyTorch: a Llama decoder with LoRA on every linear layer.

usage: lora_step.py SHAPES.json SHAPE [--tokens M] [--device cuda|cpu]

Same sizes, rows, rank and optimiser as `tabtune-bench step`; the weights and tokens are random. A line of JSON
for each base: dense f32; dense bf16, in which all but LoRA's factors, norms and the loss is computed; and NF4, whose
weights are dequantised before each product, forward and backward, as bitsandbytes does, to f32 and to bf16.
Activations are kept. Nothing but torch is needed.
"""

import argparse
import json
import statistics
import sys
import time

import torch
import torch.nn.functional as F
from torch import nn

WARM_UP, TIMED, SLOW_SECONDS = 2, 5, 20.0
BLOCK = 64
# Dettmers et al. 2023, appendix E.
NF4 = [
    -1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635,
    -0.18477343022823334, -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725,
    0.24611230194568634, 0.33791524171829224, 0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0,
]  # fmt: skip


class Nf4Product(torch.autograd.Function):
    """x @ weight.T, with the weight dequantised anew for each direction."""

    @staticmethod
    def forward(ctx, x, base):
        ctx.base = base
        return F.linear(x, base.dequantized(x.dtype))

    @staticmethod
    def backward(ctx, dy):
        return dy @ ctx.base.dequantized(dy.dtype), None


class Nf4Weight(nn.Module):
    """Random codes, two a byte, and the scale of each block of 64."""

    def __init__(self, out_features, in_features, device):
        super().__init__()
        self.shape = (out_features, in_features)
        count = out_features * in_features
        levels = torch.tensor(NF4, device=device)
        pairs = torch.stack([levels.repeat_interleave(16), levels.repeat(16)], dim=1)
        self.register_buffer("pairs", pairs)
        self.register_buffer("codes", torch.randint(256, (count // 2,), device=device, dtype=torch.uint8))
        self.register_buffer("scales", torch.full((count // BLOCK, 1), 0.02, device=device))

    def dequantized(self, dtype):
        values = self.pairs.index_select(0, self.codes.int()).view(-1, BLOCK)
        return (values * self.scales).to(dtype).view(self.shape)

    def forward(self, x):
        return Nf4Product.apply(x, self)


class LoraLinear(nn.Module):
    def __init__(self, out_features, in_features, rank, base, device):
        super().__init__()
        if base.startswith("nf4"):
            self.base = Nf4Weight(out_features, in_features, device)
        else:
            self.base = nn.Linear(in_features, out_features, bias=False, device=device)
            self.base.weight.requires_grad_(False)
        # lora_alpha is the rank, so the scale is one.
        self.a = nn.Parameter(torch.randn(rank, in_features, device=device) * 0.02)
        self.b = nn.Parameter(torch.zeros(out_features, rank, device=device))

    def forward(self, x):
        return self.base(x) + F.linear(F.linear(x, self.a.to(x.dtype)), self.b.to(x.dtype))


class Norm(nn.Module):
    def __init__(self, width, device):
        super().__init__()
        self.register_buffer("weight", torch.ones(width, device=device))

    def forward(self, x):
        wide = x.float()
        return (wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + 1e-5)).to(x.dtype) * self.weight.to(x.dtype)


def rotated(x, cos, sin):
    left, right = x.chunk(2, dim=-1)
    return x * cos.to(x.dtype) + torch.cat([-right, left], dim=-1) * sin.to(x.dtype)


class Layer(nn.Module):
    def __init__(self, shape, base, device):
        super().__init__()
        self.heads, self.kv_heads, self.head_dim = shape["heads"], shape["kv_heads"], shape["head_dim"]
        hidden, intermediate = shape["hidden"], shape["intermediate"]
        queries, keys = self.heads * self.head_dim, self.kv_heads * self.head_dim

        def linear(out_features, in_features):
            return LoraLinear(out_features, in_features, shape["rank"], base, device)

        self.q, self.k, self.v = linear(queries, hidden), linear(keys, hidden), linear(keys, hidden)
        self.o = linear(hidden, queries)
        self.gate, self.up = linear(intermediate, hidden), linear(intermediate, hidden)
        self.down = linear(hidden, intermediate)
        self.input_norm, self.post_norm = Norm(hidden, device), Norm(hidden, device)

    def forward(self, x, cos, sin):
        batch, seq, _ = x.shape
        normed = self.input_norm(x)

        def split(y, heads):
            return y.view(batch, seq, heads, self.head_dim).transpose(1, 2)

        q = rotated(split(self.q(normed), self.heads), cos, sin)
        k = rotated(split(self.k(normed), self.kv_heads), cos, sin)
        v = split(self.v(normed), self.kv_heads)
        repeat = self.heads // self.kv_heads
        k, v = k.repeat_interleave(repeat, dim=1), v.repeat_interleave(repeat, dim=1)
        attended = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.o(attended.transpose(1, 2).reshape(batch, seq, -1))
        normed = self.post_norm(x)
        return x + self.down(F.silu(self.gate(normed)) * self.up(normed))


class Model(nn.Module):
    def __init__(self, shape, base, dtype, device):
        super().__init__()
        self.dtype = dtype
        embedding = torch.randn(shape["vocab"], shape["hidden"], device=device, dtype=dtype) * 0.02
        self.register_buffer("embedding", embedding)
        self.layers = nn.ModuleList(Layer(shape, base, device) for _ in range(shape["layers"]))
        if base == "bf16":
            for module in self.modules():
                if isinstance(module, nn.Linear):
                    module.to(torch.bfloat16)
        self.norm = Norm(shape["hidden"], device)
        turns = 10_000.0 ** (-torch.arange(0, shape["head_dim"], 2, device=device) / shape["head_dim"])
        angles = torch.outer(torch.arange(shape["seq"], device=device), turns).repeat(1, 2)
        self.register_buffer("cos", angles.cos())
        self.register_buffer("sin", angles.sin())

    def loss(self, ids):
        x = self.embedding[ids[:, :-1]]
        for layer in self.layers:
            x = layer(x, self.cos, self.sin)
        logits = F.linear(self.norm(x), self.embedding)
        return F.cross_entropy(logits.float().flatten(0, 1), ids[:, 1:].flatten())


def measure(name, shape, base, device):
    """Steps as a training loop does them; the loss of each is read before the next one begins."""
    torch.manual_seed(1)
    dtype = torch.bfloat16 if base.endswith("bf16") else torch.float32
    model = Model(shape, base, dtype, device)
    ids = torch.randint(shape["vocab"], (shape["batch"], shape["seq"] + 1), device=device)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=2e-4, weight_decay=0.0)
    seconds, losses = [], []
    for number in range(WARM_UP + TIMED):
        if number == WARM_UP and device == "cuda":
            # Making the model takes more than a step does.
            torch.cuda.reset_peak_memory_stats()
        began = time.perf_counter()
        loss = model.loss(ids)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        losses.append(loss.item())
        if device == "cuda":
            torch.cuda.synchronize()
        if number >= WARM_UP:
            seconds.append(time.perf_counter() - began)
        if len(seconds) >= 2 and seconds[0] > SLOW_SECONDS:
            break
    tokens, median = shape["batch"] * shape["seq"], statistics.median(seconds)
    on_gpu = device == "cuda"
    return {
        "bench": "torch_step",
        "adapter": torch.cuda.get_device_name() if on_gpu else "CPU",
        "torch": torch.__version__,
        "device": device,
        "threads": torch.get_num_threads(),
        "shape": name,
        "base": base,
        "batch": shape["batch"],
        "tokens": tokens,
        "rank": shape["rank"],
        "checkpointing": False,
        "ms_per_step": round(median * 1e3, 4),
        "ms_best": round(min(seconds) * 1e3, 4),
        "tokens_per_second": round(tokens / median, 2),
        "losses": [losses[0], losses[-1]],
        "peak_gpu_bytes": torch.cuda.max_memory_allocated() if on_gpu else None,
        "reserved_gpu_bytes": torch.cuda.max_memory_reserved() if on_gpu else None,
    }


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("shapes")
    parser.add_argument("shape")
    parser.add_argument("--tokens", type=int)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    options = parser.parse_args()
    with open(options.shapes) as file:
        shape = json.load(file)[options.shape]
    shape["seq"] = options.tokens or shape["seq"]
    for base in ["f32", "bf16", "nf4-f32", "nf4-bf16"]:
        if options.device == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
        try:
            print(json.dumps(measure(options.shape, shape, base, options.device)), flush=True)
        except torch.cuda.OutOfMemoryError as error:
            print(f"{base}: {error}", file=sys.stderr)


if __name__ == "__main__":
    main()
