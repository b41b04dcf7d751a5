import { badOption, notFinite } from "./refusal.js";

/** A factor below 1 by an ulp of f32, so that values rounded to f32 do not carry the norm over the bound again. */
const BELOW_ONE = 1 - 2 ** -23;

/** The L2 norm over all values, summed in f64, in which no square of an f32 overflows. */
export function normOf(delta: Float32Array): number {
  let sum = 0;
  for (let index = 0; index < delta.length; index += 1) sum += delta[index]! * delta[index]!;
  if (!Number.isFinite(sum)) {
    const index = delta.findIndex((value) => !Number.isFinite(value));
    throw notFinite(index, delta[index]!);
  }
  return Math.sqrt(sum);
}

/**
 * Scales the whole delta in place so that its L2 norm is at most `bound`, and returns the norm that it had (Abadi et
 * al. 2016, arXiv 1607.00133, algorithm 1, with a client's delta in place of an example's gradient: McMahan et al.
 * 2018, arXiv 1710.06963). A delta within the bound stays as it is. Throws `not-finite` and `bad-option`.
 */
export function clip(delta: Float32Array, bound: number): number {
  if (!(bound > 0 && Number.isFinite(bound))) throw badOption(`the bound to clip to is ${bound}: it has to be a number above 0`);
  const norm = normOf(delta);
  if (norm > bound) {
    const factor = (bound / norm) * BELOW_ONE;
    for (let index = 0; index < delta.length; index += 1) delta[index]! *= factor;
  }
  return norm;
}
