import { fromFloat16, toFloat16 } from "../wire/float16.js";
import type { NdArray } from "../wire/npy.js";
import { badOption, notFinite } from "./refusal.js";

/** How a delta is sent. */
export type DeltaDtype = "f32" | "f16" | "nf4";

export interface EncodedDelta {
  /** By their names in the message: "delta", and "scales" with nf4. */
  arrays: Record<string, NdArray>;
  /** What the encoding lost, in f32, for the next round; nothing is lost with f32. */
  residual: Float32Array<ArrayBuffer> | undefined;
}

/** Values of a block of 4-bit codes, which share a scale. */
export const BLOCK = 128;

/** The largest finite float16. */
const HALF_MAX = 65_504;
/** Values that are converted at once. */
const PORTION = 2 ** 16;

/** The 16 values of NF4 as bitsandbytes has them in f32 (Dettmers et al. 2023, arXiv 2305.14314, appendix E). */
// prettier-ignore
const NF4 = new Float32Array([
  -1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453,
  -0.28444138169288635, -0.18477343022823334, -0.09105003625154495, 0.0,
  0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224,
  0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0,
]);
/** Between neighbours; what is right in the middle goes to the lower one, as in bitsandbytes. */
const MIDDLES = Float64Array.from({ length: NF4.length - 1 }, (_, code) => (NF4[code]! + NF4[code + 1]!) / 2);

/**
 * Encodes a delta of n values. What f16 and nf4 lose comes back as `residual`; the caller gives it to the next round
 * once this one has been sent, where it is added first: error feedback (Seide et al. 2014, "1-bit stochastic gradient
 * descent"; Karimireddy et al. 2019, arXiv 1901.09847), by which the sum over rounds stays right. Clipping and noise
 * come before: what is made here of a noisy delta tells no more than that delta.
 *
 * - f32: the values, 4 n bytes.
 * - f16: half to even; what is beyond ±65504 becomes that. 2 n bytes.
 * - nf4: per block of 128 values their largest magnitude as a half that is rounded up, so that no value passes ±1, and
 *   a 4-bit code for each, two a byte, the first in the high four bits. ceil(n / 2) + 2 ceil(n / 128) bytes.
 *
 * The Python twin is tabtune_federated/privacy/codec.py, and both give the same bits. Throws `not-finite`.
 */
export function encodeDelta(delta: Float32Array, dtype: DeltaDtype, residual?: Float32Array): EncodedDelta {
  if (residual && residual.length !== delta.length) {
    throw badOption(`the residual has ${residual.length} values and the delta ${delta.length}: begin without one`);
  }
  const whole = corrected(delta, residual);
  if (dtype === "f32") return { arrays: { delta: { dtype: "float32", shape: [whole.length], data: whole } }, residual: undefined };
  if (dtype === "f16") return encodeHalves(whole);
  if (dtype === "nf4") return encodeNf4(whole);
  throw badOption(`a delta is sent as f32, f16 or nf4, not as ${String(dtype)}`);
}

function corrected(delta: Float32Array, residual: Float32Array | undefined): Float32Array<ArrayBuffer> {
  const whole = delta.slice();
  if (residual) for (let index = 0; index < whole.length; index += 1) whole[index]! += residual[index]!;
  for (let index = 0; index < whole.length; index += 1) {
    if (!Number.isFinite(whole[index])) throw notFinite(index, whole[index]!);
  }
  return whole;
}

/** Leaves in `whole` what was lost. */
function encodeHalves(whole: Float32Array<ArrayBuffer>): EncodedDelta {
  const data = new Uint16Array(whole.length);
  for (let begin = 0; begin < whole.length; begin += PORTION) {
    const part = whole.subarray(begin, begin + PORTION);
    const halves = toFloat16(part.map((value) => Math.min(Math.max(value, -HALF_MAX), HALF_MAX)));
    data.set(halves, begin);
    fromFloat16(halves).forEach((half, index) => (part[index]! -= half));
  }
  return { arrays: { delta: { dtype: "float16", shape: [data.length], data } }, residual: whole };
}

/** Leaves in `whole` what was lost. */
function encodeNf4(whole: Float32Array<ArrayBuffer>): EncodedDelta {
  const codes = new Uint8Array(Math.ceil(whole.length / 2));
  const scales = halvesUp(largestOfBlocks(whole));
  fromFloat16(scales).forEach((scale, block) => {
    const end = Math.min((block + 1) * BLOCK, whole.length);
    for (let index = block * BLOCK; index < end; index += 1) {
      const code = codeOf(scale === 0 ? 0 : whole[index]! / scale);
      codes[index >>> 1]! |= index % 2 === 0 ? code << 4 : code;
      whole[index]! -= Math.fround(NF4[code]! * scale);
    }
  });
  const arrays: EncodedDelta["arrays"] = {
    delta: { dtype: "uint8", shape: [codes.length], data: codes },
    scales: { dtype: "float16", shape: [scales.length], data: scales },
  };
  return { arrays, residual: whole };
}

/** The largest magnitude of each block. */
function largestOfBlocks(whole: Float32Array): Float32Array {
  const largest = new Float32Array(Math.ceil(whole.length / BLOCK));
  for (let index = 0; index < whole.length; index += 1) {
    const block = Math.floor(index / BLOCK);
    largest[block] = Math.max(largest[block]!, Math.abs(whole[index]!));
  }
  return largest;
}

/** The bits of the smallest float16 that is at least each f32 of 0 or more; beyond all of them, of the last one. */
function halvesUp(values: Float32Array): Uint16Array<ArrayBuffer> {
  const within = values.map((value) => Math.min(value, HALF_MAX));
  const halves = toFloat16(within);
  const nearest = fromFloat16(halves);
  // The bits of positive values are in the order of the values.
  return halves.map((half, index) => (nearest[index]! < within[index]! ? half + 1 : half));
}

/** How many middles lie below, found in four steps. */
function codeOf(value: number): number {
  let code = value > MIDDLES[7]! ? 8 : 0;
  if (value > MIDDLES[code + 3]!) code += 4;
  if (value > MIDDLES[code + 1]!) code += 2;
  return value > MIDDLES[code]! ? code + 1 : code;
}
