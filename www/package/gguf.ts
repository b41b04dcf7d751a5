import { failure } from "./errors.js";

/** A GGUF by its name, or the first part of one in several. */
const IS_GGUF = /\.gguf$/i;
const PART = /-(\d{5})-of-\d{5}\.gguf$/i;

/** What stands behind a model's id: the encoding of its weights, such as Q4_K_M, or the name of a file. */
const WITH_TAG = /^(\w[\w.-]*\/\w[\w.-]*):([\w.-]+)$/;

/** A hub id without what may stand behind it, and that. */
export function splitTag(source: string): [source: string, gguf: string | undefined] {
  const [, id, tag] = WITH_TAG.exec(source.trim()) ?? [];
  return id === undefined ? [source, undefined] : [id, tag];
}

/** The address of the folder that a GGUF's address lies in, and the file's name; only the address where it is no GGUF's. */
export function splitFile(address: string): [folder: string, gguf: string | undefined] {
  const path = address.replace(/[?#].*$/, "");
  const name = path.split("/").at(-1)!;
  // A page of a hub is known by its whole address.
  if (!isGguf(name) || !path.includes("/")) return [address, undefined];
  return [/\/(blob|raw)\/[^/]+\/[^/]+$/.test(path) ? address : path.slice(0, -name.length), decodeURIComponent(name)];
}

/** Whether a file is a GGUF by its name. */
export function isGguf(name: string): boolean {
  return IS_GGUF.test(name);
}

/**
 * The file that is the model: the one that was asked for, by name or by what its name says of its encoding; where nothing was asked
 * for, the only GGUF of a folder that is none of Hugging Face's. Undefined for a folder that is one.
 */
export function chosenGguf(names: readonly string[], wanted: string | undefined, place: string): string | undefined {
  if (wanted === undefined && names.includes("config.json")) return undefined;
  const models = names.filter((name) => isGguf(name) && (PART.exec(name)?.[1] ?? "00001") === "00001");
  if (wanted === undefined && models.length === 0) return undefined;
  const fitting = models.filter((name) => wanted === undefined || fits(name, wanted));
  if (fitting.length === 1) return fitting[0];
  const there = models.length === 0 ? "there is none" : `there are ${models.join(", ")}`;
  const which = wanted === undefined ? "several GGUF files" : `${fitting.length === 0 ? "no" : "several"} GGUF files for "${wanted}"`;
  const how = models.length === 0 ? "" : `; name one, as in "owner/name:${encodingOf(models[0]!)}" or by the whole name of the file`;
  throw failure("bad-option", `${place} has ${which}: ${there}${how}`);
}

function fits(name: string, wanted: string): boolean {
  const [file, tag] = [name.toLowerCase(), wanted.toLowerCase()];
  return file === tag || encodingOf(file) === tag;
}

/** What stands last in the name of a GGUF, behind a dot or a dash, before the number of a part. */
function encodingOf(file: string): string {
  const stem = file.replace(PART, "").replace(IS_GGUF, "");
  return /(?:^|[.-])((?:ud-)?(?:i?q\d|t?q\d|f16|f32|bf16|fp16|fp32|mxfp)\w*)$/i.exec(stem)?.[1] ?? stem.split(/[.-]/).at(-1)!;
}
