import { malformed, quoted } from "./errors.js";
import { fromFloat16 } from "./float16.js";

/** The types of numpy that cross the wire, with what holds them here: a float16 is held by its bits. */
interface Holders {
  float32: Float32Array<ArrayBuffer>;
  float64: Float64Array<ArrayBuffer>;
  float16: Uint16Array<ArrayBuffer>;
  uint8: Uint8Array<ArrayBuffer>;
  int32: Int32Array<ArrayBuffer>;
  uint32: Uint32Array<ArrayBuffer>;
  int64: BigInt64Array<ArrayBuffer>;
}

export type Dtype = keyof Holders;

/** An array of numpy in C order: `data` has as many values as `shape` multiplies to, one for a shape without entries. */
export type NdArray = { [D in Dtype]: { dtype: D; shape: number[]; data: Holders[D] } }[Dtype];

/** How .npy files call the types, and what makes their holders. Hosts of WebAssembly are little-endian, as the files are. */
const KINDS: { [D in Dtype]: { descr: string; bytes: number; holder: (bytes: ArrayBuffer) => Holders[D] } } = {
  float32: { descr: "<f4", bytes: 4, holder: (bytes) => new Float32Array(bytes) },
  float64: { descr: "<f8", bytes: 8, holder: (bytes) => new Float64Array(bytes) },
  float16: { descr: "<f2", bytes: 2, holder: (bytes) => new Uint16Array(bytes) },
  uint8: { descr: "|u1", bytes: 1, holder: (bytes) => new Uint8Array(bytes) },
  int32: { descr: "<i4", bytes: 4, holder: (bytes) => new Int32Array(bytes) },
  uint32: { descr: "<u4", bytes: 4, holder: (bytes) => new Uint32Array(bytes) },
  int64: { descr: "<i8", bytes: 8, holder: (bytes) => new BigInt64Array(bytes) },
};

/** "\x93NUMPY", version 1.0, of which the header's length follows as 16 bits. */
const MAGIC = [0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59, 1, 0];
const PRELUDE_BYTES = MAGIC.length + 2;
/** The header and what stands before it end at a multiple of this. */
const ALIGNMENT = 64;
/** numpy leaves room for so many digits of the first extent, so that a file can grow where it is. */
const GROWTH_DIGITS = 21;
/** numpy's own limit on dimensions. */
const MAX_DIMENSIONS = 64;

const HEADER = /^\{'descr': '([^']*)', 'fortran_order': (True|False), 'shape': \(((?:\d+, )*\d+,?|)\), \} *\n$/;

/** How many values a shape has; undefined where that is no exact number. */
export function countOf(shape: readonly number[]): number | undefined {
  let count = 1;
  for (const extent of shape) count *= extent;
  return Number.isSafeInteger(count) && shape.every((extent) => Number.isSafeInteger(extent) && extent >= 0) ? count : undefined;
}

/** An array of one dimension. */
export function flat(data: Float32Array<ArrayBuffer>): NdArray {
  return { dtype: "float32", shape: [data.length], data };
}

/** What a .npy file of version 1.0 begins with, as numpy 2 writes it. */
export function npyHeader({ dtype, shape }: NdArray): Uint8Array<ArrayBuffer> {
  const extents = shape.length === 1 ? `${shape[0]},` : shape.join(", ");
  let text = `{'descr': '${KINDS[dtype].descr}', 'fortran_order': False, 'shape': (${extents}), }`;
  if (shape.length > 0) text += " ".repeat(GROWTH_DIGITS - String(shape[0]).length);
  // At least the line's end follows the text.
  const total = Math.ceil((PRELUDE_BYTES + text.length + 1) / ALIGNMENT) * ALIGNMENT;
  text = `${text.padEnd(total - PRELUDE_BYTES - 1)}\n`;
  const bytes = new Uint8Array(total);
  bytes.set(MAGIC);
  new DataView(bytes.buffer).setUint16(MAGIC.length, text.length, true);
  bytes.set(new TextEncoder().encode(text), PRELUDE_BYTES);
  return bytes;
}

/** The bytes of an array's values, not copied. */
export function valueBytes({ data }: NdArray): Uint8Array<ArrayBuffer> {
  return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
}

/**
 * Reads a .npy file of version 1.0 that lies in `parts`, one behind another. Anything but little-endian values in C order
 * of the types above is refused, and so is a length other than that of the values; then one allocation holds them.
 */
export function readNpy(parts: readonly Uint8Array[]): NdArray {
  const total = parts.reduce((sum, { length }) => sum + length, 0);
  const prelude = range(parts, 0, Math.min(total, PRELUDE_BYTES));
  if (prelude.length < PRELUDE_BYTES || MAGIC.some((byte, index) => prelude[index] !== byte)) {
    throw malformed("an array is no .npy file of version 1.0");
  }
  const start = PRELUDE_BYTES + (prelude[MAGIC.length]! | (prelude[MAGIC.length + 1]! << 8));
  if (start > total) throw malformed("the header of a .npy file is cut off");
  const { dtype, shape } = readHeader(new TextDecoder("latin1").decode(range(parts, PRELUDE_BYTES, start)));
  const count = countOf(shape);
  const bytes = total - start;
  if (count === undefined || count * KINDS[dtype].bytes !== bytes) {
    throw malformed(`a .npy file has ${bytes} bytes of values for ${dtype} of shape (${shape.join(", ")})`);
  }
  const data = KINDS[dtype].holder(range(parts, start, total).buffer);
  return { dtype, shape, data } as NdArray;
}

function readHeader(text: string): { dtype: Dtype; shape: number[] } {
  const [, descr, order, extents] = HEADER.exec(text) ?? [];
  if (extents === undefined) throw malformed("the header of a .npy file is not as numpy writes it");
  const dtype = (Object.keys(KINDS) as Dtype[]).find((name) => KINDS[name].descr === descr);
  if (dtype === undefined) {
    throw malformed(`a .npy file has values of type ${quoted(descr)}; there can be ${Object.keys(KINDS).join(", ")}`);
  }
  if (order === "True") throw malformed("a .npy file is in Fortran's order; send it in C's, by numpy.ascontiguousarray");
  const shape = extents.split(",").map((extent) => extent.trim()).filter((extent) => extent !== "").map(Number);
  if (shape.length > MAX_DIMENSIONS) throw malformed(`a .npy file has ${shape.length} dimensions`);
  return { dtype, shape };
}

/** A copy of the bytes from `start` to `end` of what lies in `parts`. */
function range(parts: readonly Uint8Array[], start: number, end: number): Uint8Array<ArrayBuffer> {
  const copy = new Uint8Array(end - start);
  let at = 0;
  for (const part of parts) {
    const from = Math.max(start - at, 0);
    const to = Math.min(end - at, part.length);
    if (from < to) copy.set(part.subarray(from, to), at + from - start);
    at += part.length;
  }
  return copy;
}

/** The values of an array of floats as float32, cast where they are others; FedAdam answers in float64. */
export function float32Of(array: NdArray): Float32Array<ArrayBuffer> {
  switch (array.dtype) {
    case "float32":
      return array.data;
    case "float64":
      return new Float32Array(array.data);
    case "float16":
      return fromFloat16(array.data);
    default:
      throw malformed(`an array is of ${array.dtype} where floats are expected`);
  }
}
