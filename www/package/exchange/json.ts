import { failure, type ErrorCode, type TabtuneError } from "../errors.js";
import { shown } from "./limits.js";

/** What JSON from outside may have at most: bytes, objects and lists in one another, and values in all. */
export interface JsonLimits {
  bytes: number;
  depth: number;
  values: number;
}

/** What is read, for messages, and the code of what is wrong with it. */
export interface Place {
  name: string;
  code: ErrorCode;
}

const [QUOTE, BACKSLASH, COLON, COMMA] = [0x22, 0x5c, 0x3a, 0x2c];
const OPENING = [0x7b, 0x5b];
const CLOSING = [0x7d, 0x5d];

/** What is wrong at a place. */
export function wrong({ name, code }: Place, message: string): TabtuneError {
  return failure(code, `${name}: ${message}`);
}

/**
 * The value that JSON in UTF-8 stands for. It is measured before it is parsed, so that nothing large is made of it. A name
 * that is twice in an object is refused, because readers differ in which of the two counts.
 */
export function parseJson(place: Place, bytes: Uint8Array, limits: JsonLimits): unknown {
  if (bytes.length > limits.bytes) throw wrong(place, `${bytes.length} bytes are more than the ${limits.bytes} that are read`);
  const members = measured(place, bytes, limits);
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes));
  } catch (thrown) {
    throw wrong(place, `it is no JSON (${(thrown as Error).message})`);
  }
  if (membersOf(value) !== members) throw wrong(place, "an object has a name twice");
  return value;
}

/** How many members all objects have together, which is the number of colons outside of strings. */
function measured(place: Place, bytes: Uint8Array, limits: JsonLimits): number {
  let [depth, values, members] = [0, 1, 0];
  let in_string = false;
  for (let at = 0; at < bytes.length; at++) {
    const byte = bytes[at]!;
    if (in_string) {
      if (byte === BACKSLASH) at++;
      else if (byte === QUOTE) in_string = false;
    } else if (byte === QUOTE) {
      in_string = true;
    } else if (byte === COLON) {
      members++;
    } else if (byte === COMMA) {
      values++;
    } else if (OPENING.includes(byte)) {
      depth++;
      values++;
    } else if (CLOSING.includes(byte)) {
      depth--;
    }
    if (depth > limits.depth) throw wrong(place, `more than ${limits.depth} objects and lists lie in one another`);
    if (values > limits.values) throw wrong(place, `there are more than ${limits.values} values`);
  }
  return members;
}

function membersOf(value: unknown): number {
  if (typeof value !== "object" || value === null) return 0;
  const inner = Object.values(value);
  return inner.reduce((sum: number, item) => sum + membersOf(item), Array.isArray(value) ? 0 : inner.length);
}

/**
 * The one way to write a value (RFC 8785, JSON Canonicalization Scheme): no spaces, names in the order of their UTF-16
 * units, and strings and numbers as ECMAScript writes them, which is how the RFC defines it. Values are those that
 * JSON.parse gives.
 */
export function canonical(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonical).join(",")}]`;
  if (typeof value !== "object" || value === null) return JSON.stringify(value);
  const fields = value as Record<string, unknown>;
  const members = Object.keys(fields).sort().map((name) => `${JSON.stringify(name)}:${canonical(fields[name])}`);
  return `{${members.join(",")}}`;
}

/** What could make a line of text look like another, or like several: control characters, and those that turn its direction. */
const UNFIT = /[\p{Cc}\p{Cs}\u2028\u2029\u202a-\u202e\u2066-\u2069]/u;

/** The fields of an object from outside, each of which is checked as it is taken; undefined where there is none. */
export class Fields {
  readonly #place: Place;
  readonly #fields: Record<string, unknown>;

  constructor(place: Place, value: unknown) {
    if (typeof value !== "object" || value === null || Array.isArray(value)) throw wrong(place, "it is no object");
    this.#place = place;
    this.#fields = value as Record<string, unknown>;
  }

  get names(): string[] {
    return Object.keys(this.#fields);
  }

  /** The value as it is. Null counts as none. */
  any(name: string): unknown {
    return (Object.hasOwn(this.#fields, name) ? this.#fields[name] : undefined) ?? undefined;
  }

  /** A text of one line. */
  line(name: string, most: number): string | undefined {
    return this.#text(name, most, (text) => text);
  }

  /** A text that may have several lines. */
  lines(name: string, most: number): string | undefined {
    return this.#text(name, most, (text) => text.replace(/[\n\t]/g, ""));
  }

  /** A text of a certain form, which `what` tells. */
  matching(name: string, form: RegExp, what: string): string | undefined {
    const value = this.any(name);
    if (value === undefined || (typeof value === "string" && form.test(value))) return value;
    throw this.#unfit(name, `is not ${what}`);
  }

  /** A whole number from `least` to `most`. */
  whole(name: string, least: number, most: number): number | undefined {
    const value = this.any(name);
    if (value === undefined || (Number.isInteger(value) && value as number >= least && value as number <= most)) return value as number;
    throw this.#unfit(name, `is no whole number from ${least} to ${most}`);
  }

  /** A finite number. */
  number(name: string): number | undefined {
    const value = this.any(name);
    if (value === undefined || Number.isFinite(value)) return value as number;
    throw this.#unfit(name, "is no finite number");
  }

  flag(name: string): boolean | undefined {
    const value = this.any(name);
    if (value === undefined || typeof value === "boolean") return value;
    throw this.#unfit(name, "is neither true nor false");
  }

  /** An object. */
  fields(name: string): Fields | undefined {
    const value = this.any(name);
    return value === undefined ? undefined : new Fields({ ...this.#place, name: `${this.#place.name}: ${name}` }, value);
  }

  /** A list of at most so many values. */
  list(name: string, most: number): unknown[] | undefined {
    const value = this.any(name);
    if (value === undefined || (Array.isArray(value) && value.length <= most)) return value;
    throw this.#unfit(name, `is no list of at most ${most} entries`);
  }

  /** What has to be there. */
  needed<T>(name: string, value: T | undefined): T {
    if (value === undefined) throw wrong(this.#place, `${name} is missing`);
    return value;
  }

  #text(name: string, most: number, visible: (text: string) => string): string | undefined {
    const value = this.any(name);
    if (value === undefined) return undefined;
    if (typeof value !== "string") throw this.#unfit(name, "is no text");
    if (value.length > most) throw this.#unfit(name, `has ${value.length} characters, more than ${most}`);
    if (UNFIT.test(visible(value))) throw this.#unfit(name, "has control characters");
    return value;
  }

  #unfit(name: string, what: string): TabtuneError {
    return wrong(this.#place, `${shown(name).slice(1, -1)} ${what}`);
  }
}
