/** Takes a value from outside and where it stands, as "privacy.clip", and gives it back or throws an Error that says what is wrong. */
export type Check = (value: unknown, at: string) => unknown;

/** An object with these fields alone; where `more` is given, it checks options of other names. */
export function checked(value: unknown, at: string, fields: Record<string, Check>, more?: Check): Record<string, unknown> {
  must(typeof value === "object" && value !== null && !Array.isArray(value), value, at || "all of it", "an object");
  const given = value as Record<string, unknown>;
  const path = (name: string) => (at === "" ? name : `${at}.${name}`);
  const read: Record<string, unknown> = {};
  for (const [name, inner] of Object.entries(given)) {
    if (Object.hasOwn(fields, name)) continue;
    if (!more || !/^[a-z][a-z0-9_]{0,63}$/.test(name)) throw new Error(`${path(brief(name).slice(1, -1))} is no field of version 1`);
    read[name] = more(inner, path(name));
  }
  for (const [name, check] of Object.entries(fields)) {
    const inner = check(Object.hasOwn(given, name) ? given[name] : undefined, path(name));
    if (inner !== undefined) read[name] = inner;
  }
  return read;
}

/** A field that need not be there, and what it is then; undefined is for the caller to fill in. */
export function optional(check: Check, otherwise?: unknown): Check {
  return (value, at) => (value === undefined ? otherwise : check(value, at));
}

/** A field that may be null, which it also is where it is not there. */
export function orNull(check: Check): Check {
  return (value, at) => (value === undefined || value === null ? null : check(value, at));
}

export function text(most: number): Check {
  return (value, at) => must(isText(value, most) && value.trim() !== "", value, at, `a text of 1 to ${most} characters`);
}

export function count(low: number, high: number): Check {
  return (value, at) => must(Number.isInteger(value) && isWithin(value, low, high), value, at, `a whole number from ${low} to ${high}`);
}

export function from(low: number, high: number): Check {
  return (value, at) => must(isWithin(value, low, high), value, at, `a number from ${low} to ${high}`);
}

export function above(low: number, high: number): Check {
  return (value, at) => must(isWithin(value, low, high) && value !== low, value, at, `a number above ${low}, at most ${high}`);
}

export function oneOf(...choices: unknown[]): Check {
  return (value, at) => must(choices.includes(value), value, at, choices.map((choice) => JSON.stringify(choice)).join(" or "));
}

export const flag = oneOf(true, false);

/** An option of a run as the terms may have it; the engine knows its name and bounds. */
export const option: Check = (value, at) =>
  must(typeof value === "boolean" || Number.isFinite(value) || isText(value, 120), value, at, "a number, a short text, true or false");

export function listOf(check: Check, most: number): Check {
  return (value, at) => {
    must(Array.isArray(value) && value.length > 0 && value.length <= most, value, at, `a list of 1 to ${most} entries`);
    return (value as unknown[]).map((item, index) => check(item, `${at}[${index}]`));
  };
}

/** Names of modules, or "all-linear". */
export const targets: Check = (value, at) => (value === "all-linear" ? value : listOf(text(120), 64)(value, at));

/**
 * A node's public key as PEM text, as OpenSSL and nodes write it. Whether its point lies on P-384 is for the server to find out, where
 * it is somebody's key; here is what everybody's key begins with and how long it is.
 */
export const key: Check = (value, at) => {
  const [, written = ""] = (isText(value, 1024) && PUBLIC_KEY.exec(value)) || [];
  const base64 = written.replace(/\s/g, "");
  must(base64.length === 160 && base64.startsWith(P384), value, at, "a public key on the curve P-384 as PEM text");
  return `-----BEGIN PUBLIC KEY-----\n${base64.replace(/.{64}(?=.)/g, "$&\n")}\n-----END PUBLIC KEY-----\n`;
};

const PUBLIC_KEY = /^\s*-----BEGIN PUBLIC KEY-----([A-Za-z0-9+/\s]+)-----END PUBLIC KEY-----\s*$/;
/** SubjectPublicKeyInfo of a point in full length on P-384 up to its coordinates (RFC 5480), 24 bytes, in base64. */
const P384 = "MHYwEAYHKoZIzj0CAQYFK4EEACIDYgAE";

function must<T>(holds: boolean, value: T, at: string, what: string): T {
  if (holds) return value;
  throw new Error(value === undefined ? `${at} is missing` : `${at} must be ${what}, not ${brief(value)}`);
}

function isText(value: unknown, most: number): value is string {
  return typeof value === "string" && [...value].length <= most;
}

function isWithin(value: unknown, low: number, high: number): boolean {
  return typeof value === "number" && value >= low && value <= high;
}

/** A value as an error quotes it. */
function brief(value: unknown): string {
  const written = JSON.stringify(value) ?? String(value);
  return written.length > 60 ? `${written.slice(0, 57)}…` : written;
}
