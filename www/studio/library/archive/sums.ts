import type { KeptChat } from "../others.js";

/** The sha256 of bytes, hexadecimal. */
export async function sha256(bytes: Uint8Array<ArrayBuffer>): Promise<string> {
  const sum = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  return Array.from(sum, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** The sum of a record as JSON has it, which tells it from what it was before. One that was read and written anew has its fields in another order. */
export function sumOf(record: unknown): Promise<string> {
  return sha256(new TextEncoder().encode(JSON.stringify(record, (_, value: unknown) => inOrder(value))));
}

/** Tells a chat from what it was before, and not from itself in another browser. */
export function sumOfChat({ revision: _, ...chat }: KeptChat): Promise<string> {
  return sumOf(chat);
}

function inOrder(value: unknown): unknown {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return value;
  return Object.fromEntries(Object.entries(value).sort(([one], [other]) => (one < other ? -1 : 1)));
}
