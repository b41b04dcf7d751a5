import { addNoise, clip, encodeDelta } from "./privacy/index.js";
import type { Terms } from "./terms.js";
import type { Content } from "./wire/content.js";

/** What the steps of a round have made. */
export interface Made {
  /** What they changed, flat. */
  delta: Float32Array<ArrayBuffer>;
  /** What it weighs: the rows that it was made of, or 1 where the noise is the server's. */
  examples: number;
  /** The mean of the steps' losses. */
  train_loss: number;
  steps: number;
}

/** What leaves of it. */
interface Leaving {
  content: Content;
  /** What the encoding lost, for the next round. */
  residual: Float32Array | undefined;
  /** Whether the delta was cut. */
  is_clipped: boolean;
}

/**
 * Cuts a delta in place and adds noise to it, as the terms say, then encodes it. Where sums are masked, no delta leaves yet, and
 * neither do the numbers of the one who made it.
 */
export async function deltaOf(made: Made, { privacy, delta_dtype }: Terms, residual: Float32Array | undefined): Promise<Leaving> {
  const { delta, examples, train_loss, steps } = made;
  let is_clipped = false;
  if (privacy.clip !== null) {
    is_clipped = clip(delta, privacy.clip) > privacy.clip;
    if (privacy.noise === "local") addNoise(delta, privacy.noise_multiplier * privacy.clip);
  }
  const told = { steps: BigInt(steps) };
  if (privacy.mask) return { content: { metrics: { metrics: told } }, residual: undefined, is_clipped };
  const encoded = encodeDelta(delta, delta_dtype, residual);
  const metrics = { ...told, "num-examples": BigInt(examples), train_loss };
  return { content: { arrays: { arrays: encoded.arrays }, metrics: { metrics } }, residual: encoded.residual, is_clipped };
}
