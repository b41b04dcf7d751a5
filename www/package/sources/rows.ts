/** Characters of JSON lines that go together as one batch. */
export const BATCH_CHARS = 1 << 18;

/** The row as JSON, or why it is no row. */
export function jsonOf(row: unknown): { json: string } | { problem: string } {
  let json: string | undefined;
  try {
    json = JSON.stringify(row, plain);
  } catch (thrown) {
    return { problem: `cannot be written as JSON: ${String(thrown)}` };
  }
  // What an object is in JSON is for its toJSON to say: a Date, for one, is a string.
  if (!json?.startsWith("{")) return { problem: `must be an object, but is ${kindOf(row)}` };
  return { json };
}

/** Integers that a JSON number may not hold exactly become strings, and typed arrays become lists. */
function plain(_key: string, value: unknown): unknown {
  if (typeof value === "bigint") {
    const number = Number(value);
    return Number.isSafeInteger(number) ? number : String(value);
  }
  if (ArrayBuffer.isView(value) && !(value instanceof DataView)) {
    return Array.from(value as Uint8Array);
  }
  return value;
}

function kindOf(value: unknown): string {
  if (value === null) return "null";
  if (value === undefined) return "undefined";
  if (Array.isArray(value)) return "a list";
  if (typeof value === "object") return `a ${value.constructor?.name ?? "value"} that is none in JSON`;
  return `a ${typeof value}`;
}
