import { failure } from "../errors.js";
import { Fields, parseJson, type Place } from "./json.js";
import { badAdapter, breathe, LONGEST_NAME, MOST_TENSORS } from "./limits.js";

/** A tensor of an adapter. */
export interface AdapterTensor {
  name: string;
  dtype: "F32" | "F16" | "BF16";
  /** Rows first. */
  shape: number[];
  /** Bytes from the start of the file. */
  start: number;
  end: number;
}

const FILE = "adapter_model.safetensors";
const PLACE: Place = { name: FILE, code: "bad-adapter" };
/** The longest header, which is also the engine's. */
const HEADER_BYTES = 16 << 20;
/** A tensor's object has 13 values at the most that count: its three lists and what is in them. */
const JSON_LIMITS = { bytes: HEADER_BYTES, depth: 3, values: 14 * MOST_TENSORS };
const MOST_DIMENSIONS = 4;
const WIDTH = { F32: 4, F16: 2, BF16: 2 };
/** Bytes that are looked at in one go. */
const PIECE = 4 << 20;

/**
 * The tensors of a safetensors file in the order of their bytes (format: https://huggingface.co/docs/safetensors). Stricter than the
 * format: dtypes are those of adapters, and the tensors are next to each other, from the first byte of the data to the last of
 * the file. Throws `bad-adapter`, naming the tensor.
 */
export function tensorsOf(bytes: Uint8Array): AdapterTensor[] {
  if (bytes.length < 8) throw badAdapter(`${FILE} has ${bytes.length} bytes, not even the length of its header`);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const length = view.getBigUint64(0, true);
  if (length > HEADER_BYTES) throw badAdapter(`${FILE}: the header claims ${length} bytes, more than the ${HEADER_BYTES} that are read`);
  const data = 8 + Number(length);
  if (data > bytes.length) throw badAdapter(`${FILE}: the header claims ${length} bytes, but the file ends at byte ${bytes.length}`);
  if (bytes[8] !== "{".charCodeAt(0)) throw badAdapter(`${FILE}: the header does not begin with an object`);
  const header = new Fields(PLACE, parseJson(PLACE, bytes.subarray(8, data), JSON_LIMITS));
  checkMetadata(header);
  const names = header.names.filter((name) => name !== "__metadata__");
  if (names.length > MOST_TENSORS) throw badAdapter(`${FILE}: ${names.length} tensors are more than the ${MOST_TENSORS} that are taken`);
  if (names.length === 0) throw badAdapter(`${FILE} has no tensors`);
  const tensors = names.map((name) => tensorOf(header, name, data));
  tensors.sort((one, other) => one.start - other.start);
  let end = data;
  for (const tensor of tensors) {
    if (tensor.start !== end) {
      throw badAdapter(`${FILE}: ${tensor.name} begins at byte ${tensor.start}, but what is before it ends at byte ${end}`);
    }
    end = tensor.end;
  }
  if (end !== bytes.length) throw badAdapter(`${FILE}: the tensors end at byte ${end}, but the file at byte ${bytes.length}`);
  return tensors;
}

/** Texts by name, e.g. `format: "pt"`. */
function checkMetadata(header: Fields): void {
  const metadata = header.fields("__metadata__");
  for (const name of metadata?.names ?? []) {
    if (typeof metadata!.any(name) !== "string") throw badAdapter(`${FILE}: __metadata__ has a value that is no text`);
  }
}

function tensorOf(header: Fields, name: string, data: number): AdapterTensor {
  if (name.length > LONGEST_NAME || !/^[\w.-]+$/.test(name)) {
    throw badAdapter(`${FILE}: ${JSON.stringify(name.slice(0, 80))} is no name of a tensor`);
  }
  const fields = header.needed(name, header.fields(name));
  const stranger = fields.names.find((field) => !["dtype", "shape", "data_offsets"].includes(field));
  if (stranger !== undefined) throw badAdapter(`${FILE}: ${name} has a field ${JSON.stringify(stranger.slice(0, 80))}, which the format has not`);
  const dtype = fields.matching("dtype", /^(F32|F16|BF16)$/, "F32, F16 or BF16, the types of adapters");
  const shape = wholes(name, "shape", fields.list("shape", MOST_DIMENSIONS), 1);
  const [begin, end, ...more] = wholes(name, "data_offsets", fields.list("data_offsets", 2), 0);
  if (begin === undefined || end === undefined || more.length > 0) throw badAdapter(`${FILE}: ${name}: data_offsets are not two numbers`);
  const width = WIDTH[fields.needed("dtype", dtype) as AdapterTensor["dtype"]];
  const wanted = shape.reduce((product, size) => product * size, width);
  if (!Number.isSafeInteger(wanted) || end - begin !== wanted) {
    throw badAdapter(`${FILE}: ${name} has bytes ${begin} to ${end}, but ${dtype} of shape [${shape}] takes ${wanted} bytes`);
  }
  return { name, dtype: dtype as AdapterTensor["dtype"], shape, start: data + begin, end: data + end };
}

function wholes(name: string, field: string, values: unknown[] | undefined, least: number): number[] {
  const fits = values?.every((value) => Number.isSafeInteger(value) && (value as number) >= least && !Object.is(value, -0));
  if (!fits) throw badAdapter(`${FILE}: ${name}: ${field} is no list of whole numbers from ${least} on`);
  return values as number[];
}

/**
 * Throws `not-finite`, naming the tensor, where a value is no finite number: all bits of its exponent are set. Other work of the page
 * goes on meanwhile.
 */
export async function checkFinite(bytes: Uint8Array, tensors: AdapterTensor[]): Promise<void> {
  let looked_at = 0;
  for (const { name, dtype, start, end } of tensors) {
    for (let from = start; from < end; from += PIECE) {
      const to = Math.min(from + PIECE, end);
      // A copy, because values need not lie at a multiple of their width.
      if (!FINITE[dtype](bytes.slice(from, to).buffer)) throw failure("not-finite", `${FILE}: ${name} has values that are not finite`);
      looked_at += to - from;
      if (looked_at < PIECE) continue;
      looked_at = 0;
      await breathe();
    }
  }
}

const FINITE = {
  F32: (buffer: ArrayBuffer) => new Uint32Array(buffer).every((bits) => (bits & 0x7f800000) !== 0x7f800000),
  F16: (buffer: ArrayBuffer) => new Uint16Array(buffer).every((bits) => (bits & 0x7c00) !== 0x7c00),
  BF16: (buffer: ArrayBuffer) => new Uint16Array(buffer).every((bits) => (bits & 0x7f80) !== 0x7f80),
};
