import type { Kind } from "./finer-list.js";

/** What a person wrote: a value of the package, nothing, or what is wrong with it. */
export type Read = { value: unknown } | { problem: string };

/** The name for all linear layers, which stands alone. */
const ALL = "all-linear";

/** A value as a person writes it; nothing for none. */
export function textOf(kind: Kind, value: unknown): string {
  if (value === null || value === undefined) return "";
  switch (kind.is) {
    case "number":
    case "choice":
      return String(value);
    case "names":
      if (typeof value === "string") return value === ALL || !kind.may_match ? value : `/${value}/`;
      return listed(value).join(", ");
    case "layers":
    case "weights":
      return listed(value).join(", ");
    case "pattern":
      return Object.entries(value as object).map(([name, number]) => `${name} = ${number}`).join("\n");
  }
}

/** What that means; no value where nothing stands there. */
export function valueOf(kind: Kind, text: string): Read {
  const written = text.trim();
  if (written === "") return { value: undefined };
  switch (kind.is) {
    case "number":
      return numberIn(kind, written);
    case "choice": {
      const chosen = kind.of.find(([value]) => String(value) === written);
      return chosen ? { value: chosen[0] } : { problem: "This is none of the choices." };
    }
    case "names": {
      const pattern = kind.may_match && /^\/(.+)\/$/s.exec(written)?.[1];
      if (pattern) return { value: pattern };
      return { value: kind.may_match && written === ALL ? ALL : partsOf(written) };
    }
    case "layers":
      return layersIn(written);
    case "weights": {
      const weights = partsOf(written).map(Number);
      return weights.every(Number.isFinite) ? { value: weights } : { problem: "Write numbers with commas between them, such as 1, 0.5." };
    }
    case "pattern":
      return patternIn(written);
  }
}

/** Whether a value is one that can be written down so: what was kept is nobody's to trust. */
export function isValueOf(kind: Kind, value: unknown): boolean {
  try {
    const read = valueOf(kind, textOf(kind, value));
    return "value" in read && value !== undefined && JSON.stringify(read.value) === JSON.stringify(value);
  } catch {
    return false;
  }
}

function numberIn({ min, max = Infinity, is_whole }: Extract<Kind, { is: "number" }>, written: string): Read {
  const value = Number(written);
  if (value >= min && value <= max && (!is_whole || Number.isInteger(value))) return { value };
  const range = max === Infinity ? `of at least ${min}` : `from ${min} to ${max}`;
  return { problem: `Write a ${is_whole ? "whole " : ""}number ${range}.` };
}

/** More layers than any model has are a slip. */
const MOST_LAYERS = 10_000;

function layersIn(written: string): Read {
  const layers: number[] = [];
  for (const part of partsOf(written)) {
    const range = /^(\d+)(?:\s*[-–]\s*(\d+))?$/.exec(part);
    const first = Number(range?.[1]);
    const last = Number(range?.[2] ?? first);
    if (!range || last < first || last >= MOST_LAYERS) return { problem: "Write numbers of layers, and ranges of them, such as 0, 2, 8-11." };
    for (let layer = first; layer <= last; layer++) layers.push(layer);
  }
  return { value: layers };
}

function patternIn(written: string): Read {
  const pairs: [string, number][] = [];
  for (const line of written.split("\n").filter((line) => line.trim() !== "")) {
    // A regular expression may have an equals sign of its own.
    const [, name, number] = /^\s*(.+?)\s*=\s*([\d.eE+-]+)\s*$/.exec(line) ?? [];
    if (!name || !Number.isFinite(Number(number))) return { problem: "Write a name, an equals sign and a number on each line, such as q_proj = 16." };
    pairs.push([name, Number(number)]);
  }
  return { value: Object.fromEntries(pairs) };
}

function partsOf(written: string): string[] {
  return written.split(",").map((part) => part.trim()).filter((part) => part !== "");
}

function listed(value: unknown): unknown[] {
  return Array.isArray(value) ? value : [value];
}
