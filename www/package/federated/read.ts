import { detailsOf, failure } from "../errors.js";
import type { Content } from "./wire/content.js";
import type { NdArray } from "./wire/npy.js";
import type { Value, Values } from "./wire/records.js";

/** A record of a message by its name. */
export function recordOf(content: Content, name: string, kind: "config" | "metrics"): Values {
  const record = content[name] as Partial<Record<string, Values>> | undefined;
  const values = record?.[kind];
  if (!values) throw failure("federation-protocol", `the message has no ${kind} record "${name}"`);
  return values;
}

/** A whole number of a record. */
export function numberOf(values: Values, name: string, [low, high]: [number, number]): number {
  const value = values[name];
  const number = typeof value === "bigint" || typeof value === "number" ? Number(value) : NaN;
  if (Number.isInteger(number) && number >= low && number <= high) return number;
  throw failure("federation-protocol", `"${name}" is ${String(value)}, and not a whole number from ${low} to ${high}`);
}

/** A finite number of a record. */
export function floatOf(values: Values, name: string): number {
  const value = values[name];
  const number = typeof value === "bigint" || typeof value === "number" ? Number(value) : NaN;
  if (Number.isFinite(number)) return number;
  throw failure("federation-protocol", `"${name}" is ${String(value)}, and not a finite number`);
}

/** A list of a record whose values are all of one kind. */
export function listOf<T extends Value>(values: Values, name: string, is: (value: unknown) => value is T): T[] {
  const list = values[name] as unknown;
  if (Array.isArray(list) && list.every(is)) return list;
  throw failure("federation-protocol", `"${name}" is not a list of what is expected there`);
}

export const isId = (value: unknown): value is bigint => typeof value === "bigint";
export const isBytes = (value: unknown): value is Uint8Array => value instanceof Uint8Array;
export const isText = (value: unknown): value is string => typeof value === "string";

/** The flat array "adapter" of a record of arrays, as f32: so many values, all finite. Flower's FedAdam sends 64 bits. */
export function adapterOf(content: Content, record: string, count: number): Float32Array<ArrayBuffer> {
  const arrays = (content[record] as { arrays?: Record<string, NdArray> } | undefined)?.arrays;
  const array = arrays?.adapter;
  if (!array) throw failure("federation-protocol", `the message has no array "adapter" in "${record}"`);
  if (array.dtype !== "float32" && array.dtype !== "float64") {
    throw failure("federation-protocol", `"adapter" in "${record}" is of ${array.dtype}, and not of float32`);
  }
  if (array.data.length !== count) {
    throw failure("federation-protocol", `"adapter" in "${record}" has ${array.data.length} values, and this run exchanges ${count}`);
  }
  const values = array.dtype === "float32" ? array.data : Float32Array.from(array.data);
  const at = values.findIndex((value) => !Number.isFinite(value));
  if (at >= 0) throw failure("federation-protocol", `value ${at} of "adapter" in "${record}" is ${values[at]}`);
  return values;
}

/** What a server is told of why a message was not answered. */
export function refusalOf(thrown: unknown): { code: number; reason: string; known: string } {
  const { code: known, message, context } = detailsOf(thrown);
  // What is not foreseen may name what a server need not know.
  const told = known === "internal" ? "something went wrong in this client" : [...context, message].join(": ");
  return { code: REFUSED, reason: `tabtune: ${known}: ${told}`, known };
}

/** Flower's code of a client that could not do what it was asked (`CLIENT_APP_RAISED_EXCEPTION`). */
const REFUSED = 2;
