import { badOption } from "./refusal.js";

/** The most bytes that one call of crypto.getRandomValues gives. */
const PORTION = 65_536;
/** A pair of normal values takes two uniform ones, and those four words. */
const WORDS_OF_PAIR = 4;
/** The grid is this much finer than the noise, or up to twice that. */
const STEPS_OF_SIGMA = 1024;

/**
 * The grid that noisy values lie on: the largest power of two that is at most sigma / 1024. Rounding to it adds
 * less than a millionth to the variance.
 */
export function gridOf(sigma: number): number {
  return 2 ** Math.floor(Math.log2(sigma)) / STEPS_OF_SIGMA;
}

/**
 * Adds to every value a draw of its own from N(0, sigma²), in place, and rounds the sum to the grid of {@link gridOf}.
 *
 * Draws are made by Box and Muller's transform (1958) from the system's cryptographic generator, never from the seed of
 * a run: who could guess the seed could take the noise away again. Each takes the same number of steps, so that time tells
 * nothing of it (the polar method rejects some: Jin et al. 2022, arXiv 2112.05307).
 *
 * The grid is there because of Mironov's attack (2012, CCS, "On significance of the least significant bits for
 * differential privacy"; by Jin et al. also on Gaussian noise): a transform of uniform floating-point numbers reaches
 * only some of the floating-point numbers, so the last bits of value + noise tell which values are possible at all. Here the
 * sum is made in f64 and rounded to steps of about a thousandth of sigma, each of which very many draws lead to, and those
 * bits are gone. What is left is the tail: 53-bit uniforms give no draw beyond 8.57 sigma, which a true normal value
 * passes with probability 1e-17; over 5 million values a round that adds less than 1e-10 to delta. An exact proof would need a
 * discrete sampler (Canonne et al. 2020, arXiv 2004.00010), which is too slow for millions of values in a tab.
 */
export function addNoise(delta: Float32Array, sigma: number): void {
  if (!(sigma > 0 && Number.isFinite(sigma))) throw badOption(`the noise's deviation is ${sigma}: it has to be a number above 0`);
  const grid = gridOf(sigma);
  const words = new Uint32Array(PORTION / Uint32Array.BYTES_PER_ELEMENT);
  const noisy = (value: number, noise: number) => Math.round((value + noise) / grid) * grid;
  let at = words.length;
  for (let index = 0; index < delta.length; index += 2) {
    if (at === words.length) {
      crypto.getRandomValues(words);
      at = 0;
    }
    const radius = sigma * Math.sqrt(-2 * Math.log(uniform(words[at]!, words[at + 1]!)));
    const angle = 2 * Math.PI * uniform(words[at + 2]!, words[at + 3]!);
    at += WORDS_OF_PAIR;
    delta[index] = noisy(delta[index]!, radius * Math.cos(angle));
    if (index + 1 < delta.length) delta[index + 1] = noisy(delta[index + 1]!, radius * Math.sin(angle));
  }
}

/** 53 of 64 random bits as a number in (0, 1], whose logarithm is finite. */
function uniform(high: number, low: number): number {
  return ((high >>> 11) * 2 ** 32 + low + 1) * 2 ** -53;
}
