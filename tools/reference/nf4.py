"""NF4 quantisation by the exact rule, and tests/fixtures/nf4 made with it.

The rule is that of bitsandbytes' CUDA kernels. Its CPU path, against which every fixture is checked, differs in three
places: a block cut short by the end of the tensor is divided by absmax where the kernel multiplies by the reciprocal;
the 8-bit codes of nested scales are looked up in a table of 65,536 steps instead of being the nearest map entry; and
version 0.50.2 dequantises with the scales of other blocks where a row is a multiple of 16 elements but none of 64.
"""

from pathlib import Path

import bitsandbytes.functional as bnb
import numpy as np
import torch
from safetensors.torch import save_file

BLOCK = 64
NESTED_BLOCK = 256

CODES = np.array(
    [
        -1.0,
        -0.6961928009986877,
        -0.5250730514526367,
        -0.39491748809814453,
        -0.28444138169288635,
        -0.18477343022823334,
        -0.09105003625154495,
        0.0,
        0.07958029955625534,
        0.16093020141124725,
        0.24611230194568634,
        0.33791524171829224,
        0.44070982933044434,
        0.5626170039176941,
        0.7229568362236023,
        1.0,
    ],
    dtype=np.float32,
)

# A scaled value strictly above THRESHOLDS[i] gets at least code i + 1.
THRESHOLDS = np.array(
    [
        -0.8480964004993439,
        -0.6106329262256622,
        -0.4599952697753906,
        -0.33967943489551544,
        -0.23460740596055984,
        -0.13791173323988914,
        -0.045525018125772476,
        0.03979014977812767,
        0.1202552504837513,
        0.2035212516784668,
        0.2920137718319893,
        0.3893125355243683,
        0.5016634166240692,
        0.6427869200706482,
        0.8614784181118011,
    ],
    dtype=np.float32,
)

DYNAMIC_MAP = bnb.create_dynamic_map().numpy()


def blocks(values, size):
    """The flat values as rows of `size`, the last one filled up with zeros."""
    count = -(-len(values) // size)
    padded = np.zeros(count * size, np.float32)
    padded[: len(values)] = values
    return padded.reshape(count, size)


def reciprocal(absmax):
    """1 / absmax in f32, and 0 for an all-zero block, which thereby gets the code of zero throughout."""
    return np.where(absmax > 0, np.float32(1) / np.where(absmax > 0, absmax, np.float32(1)), np.float32(0))


def quantize(weight):
    """Packed codes (even element in the high nibble) and f32 absmax of every 64 consecutive values."""
    values = weight.detach().float().numpy().reshape(-1)
    rows = blocks(values, BLOCK)
    absmax = np.abs(rows).max(axis=1)
    scaled = rows * reciprocal(absmax)[:, None]
    codes = np.searchsorted(THRESHOLDS, scaled.reshape(-1)[: len(values)], side="left").astype(np.uint8)
    if len(codes) % 2:
        codes = np.append(codes, np.uint8(7))
    return codes[0::2] << 4 | codes[1::2], absmax


def nearest_map_entry(value):
    """dQuantize of bitsandbytes' CUDA kernels: the entry of the map nearest to a value in [-1, 1].

    A value midway between two entries takes the one the binary search ends on.
    """
    half = np.float32(0.5)
    pivot, lower_pivot, upper_pivot = 127, 0, 255
    for step in (64, 32, 16, 8, 4, 2, 1):
        if value > DYNAMIC_MAP[pivot]:
            lower_pivot = pivot
            pivot += step
        else:
            upper_pivot = pivot
            pivot -= step
    entry = DYNAMIC_MAP[pivot]
    if value > entry:
        return upper_pivot if value > (DYNAMIC_MAP[upper_pivot] + entry) * half else pivot
    return lower_pivot if value < (DYNAMIC_MAP[lower_pivot] + entry) * half else pivot


def quantize_absmax(absmax):
    """8-bit absmax, its own f32 absmax per 256, and the offset taken off before: the mean of absmax."""
    offset = np.float32(torch.from_numpy(absmax).mean().item())
    rows = blocks(absmax - offset, NESTED_BLOCK)
    nested = np.abs(rows).max(axis=1)
    scaled = (rows * reciprocal(nested)[:, None]).reshape(-1)[: len(absmax)]
    return np.array([nearest_map_entry(value) for value in scaled], np.uint8), nested, offset


def dequantize_absmax(codes, nested, offset):
    return DYNAMIC_MAP[codes] * np.repeat(nested, NESTED_BLOCK)[: len(codes)] + offset


def dequantize(packed, absmax, shape):
    codes = np.stack([packed >> 4, packed & 15], axis=1).reshape(-1)[: int(np.prod(shape))]
    values = CODES[codes] * np.repeat(absmax, BLOCK)[: len(codes)]
    return torch.from_numpy(values.reshape(shape))


def round_trip(weight, double_quant):
    """The f32 weight an NF4 linear layer computes with."""
    packed, absmax = quantize(weight)
    if double_quant:
        absmax = dequantize_absmax(*quantize_absmax(absmax))
    return dequantize(packed, absmax, tuple(weight.shape))


def threshold_values():
    """Every threshold with its two neighbours in f32, in blocks whose absmax is a power of two, so nothing rounds."""
    values = [1.0, -1.0, 0.0, -0.0]
    for threshold in THRESHOLDS:
        values += [np.nextafter(threshold, np.float32(-2)), threshold, np.nextafter(threshold, np.float32(2))]
    for code in CODES:
        values.append(code)
    values = np.array(values + [0.0] * (-len(values) % BLOCK), np.float32).reshape(-1, BLOCK)
    values[:, -1] = 1.0
    scaled = [values * np.float32(scale) for scale in (1.0, 0.03125, 4096.0)]
    return torch.from_numpy(np.concatenate(scaled).reshape(-1, BLOCK).copy())


def extreme_values(generator):
    """Blocks of zeros, of one value, of opposite signs, of tiny and of huge values."""
    rows = torch.randn(8, BLOCK, generator=generator)
    rows[0] = 0.0
    rows[1] = 0.0
    rows[1, 17] = -3.5
    rows[2] *= 1e-30
    rows[3] *= 1e30
    rows[4] = -0.0
    rows[4, 63] = 1e-6
    rows[5] = torch.where(torch.arange(BLOCK) % 2 == 0, 0.25, -0.25)
    rows[6] = 7.0
    rows[7, 0] = 65504.0
    return rows.reshape(4, 128)


def mean_is_settled(weight):
    """Whether the mean of the scales is the same f32 in whatever order it is summed, as far as f64 can tell."""
    _, absmax = quantize(weight)
    return torch.from_numpy(absmax).mean().item() == np.float32(absmax.astype(np.float64).mean())


def cases():
    """(input, double quantisation) of every case.

    The order of a sum in f32 is no part of the format, so inputs are drawn until it does not matter to the offset.
    """
    generator = torch.Generator().manual_seed(20)

    def normal(*shape):
        return torch.randn(*shape, generator=generator) * 0.05

    def settled(draw):
        while not mean_is_settled(weight := draw()):
            pass
        return weight

    yield settled(lambda: normal(48, 64)), True
    yield settled(lambda: normal(10, 100)), True
    yield settled(lambda: normal(36, 72).to(torch.float16)), True
    yield settled(lambda: normal(90, 60).to(torch.bfloat16)), True
    yield threshold_values(), False
    yield extreme_values(generator), False
    # More than 256 blocks, so that the nested scales have blocks of their own; outlying rows spread the scales.
    yield settled(lambda: (normal(304, 72) * torch.exp(normal(304, 1) * 20)).to(torch.bfloat16)), True
    yield settled(lambda: (normal(192, 100) * torch.exp(normal(192, 1) * 20)).to(torch.float16)), True


def check_against_bitsandbytes(name, weight, packed, absmax):
    theirs, state = bnb.quantize_4bit(weight, blocksize=BLOCK, quant_type="nf4")
    assert np.array_equal(theirs.numpy().reshape(-1), packed), f"{name}: codes"
    assert np.array_equal(state.absmax.numpy(), absmax), f"{name}: absmax"
    values = bnb.dequantize_4bit(theirs, state).float()
    exact = dequantize(packed, absmax, tuple(weight.shape)).to(weight.dtype).float()
    assert torch.equal(values, exact), f"{name}: values"


def check_nested_against_bitsandbytes(name, weight, codes, nested, offset):
    _, state = bnb.quantize_4bit(weight, blocksize=BLOCK, quant_type="nf4", compress_statistics=True)
    assert np.array_equal(state.state2.absmax.numpy(), nested), f"{name}: nested absmax"
    assert state.offset.item() == offset, f"{name}: offset"
    different = int((state.absmax.numpy() != codes).sum())
    assert np.abs(state.absmax.numpy().astype(int) - codes.astype(int)).max() <= 1, f"{name}: 8-bit codes"
    return different


def main(out):
    assert np.array_equal(CODES, bnb.get_4bit_type("nf4", device="cpu").numpy())
    assert np.array_equal(THRESHOLDS, (CODES[:-1] + CODES[1:]) / np.float32(2))
    out.mkdir(parents=True, exist_ok=True)
    tensors = {"codebook": torch.from_numpy(CODES), "nested_map": torch.from_numpy(DYNAMIC_MAP)}
    for index, (weight, double_quant) in enumerate(cases()):
        name = f"case{index}"
        packed, absmax = quantize(weight)
        check_against_bitsandbytes(name, weight, packed, absmax)
        tensors[f"{name}.input"] = weight.contiguous()
        tensors[f"{name}.codes"] = torch.from_numpy(packed)
        tensors[f"{name}.absmax"] = torch.from_numpy(absmax)
        if double_quant:
            codes, nested, offset = quantize_absmax(absmax)
            different = check_nested_against_bitsandbytes(name, weight, codes, nested, offset)
            tensors[f"{name}.absmax_u8"] = torch.from_numpy(codes)
            tensors[f"{name}.nested_absmax"] = torch.from_numpy(nested)
            tensors[f"{name}.offset"] = torch.tensor([offset])
            absmax = dequantize_absmax(codes, nested, offset)
            print(f"{name}: {len(codes)} scales, {different} of them coded otherwise by bitsandbytes' CPU path")
        tensors[f"{name}.dequant"] = dequantize(packed, absmax, tuple(weight.shape))
    save_file(tensors, out / "nf4.safetensors")


if __name__ == "__main__":
    main(Path(__file__).resolve().parents[2] / "tests/fixtures/nf4")
