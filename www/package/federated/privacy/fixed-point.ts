import { badOption, notFinite, refused } from "./refusal.js";

/** What the server sets for the sums of a round. */
export interface FixedPoint {
  /** A weighted value is clamped to ±range. */
  range: number;
  /** Steps of the fixed point in 1. */
  scale: number;
  /** The most that a client can weigh. */
  weight_cap: number;
}

/** What a client has learned in a round. */
export interface Update {
  /** New values less those received, [n]. */
  delta: Float32Array;
  /** Its rows, from 1, by which it is weighted; with central noise every client gives 1. */
  examples: number;
  /** Mean over the round's steps. */
  train_loss: number;
}

/** Steps in 1 of the loss, which is summed beside the values. */
const LOSS_SCALE = 2 ** 10;
/** Sums of int32 are read modulo 2^32, so they have to stay below this. */
const LIMIT = 2 ** 31;
/** Added and taken away again, it rounds an f64 of less than 2^51 to a whole number, half to even. */
const ROUNDER = 1.5 * 2 ** 52;

/**
 * An update as [n + 2] whole numbers modulo 2^32: round(delta · w · scale), half to even, of each value clamped to
 * ±range, then w, then round(w · loss · 2^10), with w = min(examples, weight_cap). Settings under which the sum
 * of so many clients could overflow are refused; the server's twin is tabtune_federated/privacy/fixed_point.py.
 */
export function quantise(update: Update, { range, scale, weight_cap }: FixedPoint, clients: number): Uint32Array<ArrayBuffer> {
  const whole = (value: number) => Number.isSafeInteger(value) && value >= 1;
  const fits = range > 0 && scale > 0 && (range * scale + 0.5) * clients < LIMIT && whole(weight_cap) && weight_cap * clients < LIMIT;
  if (!fits) {
    throw refused(`range ${range}, scale ${scale} and weight-cap ${weight_cap} do not fit sums of ${clients} clients in 32 bits`);
  }
  if (!whole(update.examples)) throw badOption(`a client with ${update.examples} rows has nothing to add`);
  if (!Number.isFinite(update.train_loss)) throw badOption(`the round's loss is ${update.train_loss}`);

  const { delta } = update;
  const weight = Math.min(update.examples, weight_cap);
  const numbers = new Uint32Array(delta.length + 2);
  for (let index = 0; index < delta.length; index += 1) {
    const weighted = delta[index]! * weight;
    if (!Number.isFinite(weighted)) throw notFinite(index, delta[index]!);
    // A typed array takes whole numbers modulo 2^32.
    numbers[index] = roundHalfEven(Math.min(Math.max(weighted, -range), range) * scale);
  }
  const most = Math.floor((LIMIT - 1) / clients);
  numbers[delta.length] = weight;
  numbers[delta.length + 1] = roundHalfEven(Math.min(Math.max(weight * update.train_loss * LOSS_SCALE, -most), most));
  return numbers;
}

/** As numpy's rint, and IEEE 754's roundTiesToEven. */
function roundHalfEven(x: number): number {
  return x + ROUNDER - ROUNDER;
}
