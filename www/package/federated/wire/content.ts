import { failure } from "../../errors.js";
import { decoded, malformed, quoted } from "./errors.js";
import { countOf, npyHeader, readNpy, valueBytes, type NdArray } from "./npy.js";
import { CHUNK_BYTES, idOf, objectBytes, type ObjectSet, type ObjectType, type Opened, type Tree } from "./objects.js";
import { readValues, valuesBytes, type Values } from "./records.js";

/** One of Flower's records: an ArrayRecord, a MetricRecord or a ConfigRecord. */
export type FlowerRecord = { arrays: Record<string, NdArray> } | { metrics: Values } | { config: Values };

/** What a message carries, Flower's RecordDict: records by their names. */
export type Content = Record<string, FlowerRecord>;

/** Objects in the making: what was made lies in `objects`, each object once. */
export class ObjectMaker {
  readonly objects = new Map<string, Uint8Array<ArrayBuffer>>();

  /** Makes an object above these children, of which each is listed once. */
  async make(type: ObjectType, children: readonly Tree[], ...parts: Uint8Array[]): Promise<Tree> {
    const below = [...new Map(children.map((tree) => [tree.id, tree])).values()];
    const bytes = objectBytes(type, below.map(({ id }) => id), parts);
    const id = await idOf(bytes);
    this.objects.set(id, bytes);
    return { id, children: below };
  }

  /** The RecordDict of a message. */
  async content(content: Content): Promise<Tree> {
    return this.#named("RecordDict", content, (record) => this.#record(record));
  }

  #record(record: FlowerRecord): Promise<Tree> {
    if ("arrays" in record) return this.#named("ArrayRecord", record.arrays, (array) => this.#array(array));
    if ("metrics" in record) return this.make("MetricRecord", [], valuesBytes("metrics", record.metrics));
    return this.make("ConfigRecord", [], valuesBytes("config", record.config));
  }

  async #named<T>(type: ObjectType, entries: Record<string, T>, make: (entry: T) => Promise<Tree>): Promise<Tree> {
    const children: Tree[] = [];
    const ids: Record<string, string> = Object.create(null);
    for (const [name, entry] of Object.entries(entries)) {
      const child = await make(entry);
      children.push(child);
      ids[name] = child.id;
    }
    return this.make(type, children, json(ids));
  }

  async #array(array: NdArray): Promise<Tree> {
    if (countOf(array.shape) !== array.data.length) {
      throw failure("internal", `an array of ${array.data.length} values has the shape (${array.shape.join(", ")})`);
    }
    const header = npyHeader(array);
    const values = valueBytes(array);
    const chunks: Tree[] = [];
    for (let start = 0; start < header.length + values.length; start += CHUNK_BYTES) {
      const end = start + CHUNK_BYTES;
      const of_values = values.subarray(Math.max(start - header.length, 0), end - header.length);
      chunks.push(await this.make("ArrayChunk", [], header.subarray(start, end), of_values));
    }
    // Chunks that are alike, as those of zeros are, are one child.
    const ids = [...new Set(chunks.map(({ id }) => id))];
    const arraychunk_ids = chunks.map(({ id }) => ids.indexOf(id));
    return this.make("Array", chunks, json({ dtype: array.dtype, shape: array.shape, stype: STYPE, arraychunk_ids }));
  }
}

/** How Flower calls arrays in numpy's format. */
const STYPE = "numpy.ndarray";

/** JSON with the spaces of Python's json module: so the same content has the same ids, whoever made it. */
function json(value: object): Uint8Array {
  return new TextEncoder().encode(spaced(value));
}

function spaced(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(spaced).join(", ")}]`;
  if (typeof value !== "object" || value === null) return JSON.stringify(value);
  return `{${Object.entries(value).map(([key, entry]) => `${JSON.stringify(key)}: ${spaced(entry)}`).join(", ")}}`;
}

/** Reads the RecordDict at the root of a tree. The values of its arrays are copies, of no more than the set's `max_bytes`. */
export function readContent(tree: Tree, objects: ObjectSet): Content {
  return new ContentReader(objects).content(tree);
}

class ContentReader {
  readonly #objects: ObjectSet;
  /** An array that has several names, or chunks that repeat, could take more memory than their objects have bytes. */
  readonly #arrays = new Map<string, NdArray>();
  #bytes = 0;

  constructor(objects: ObjectSet) {
    this.#objects = objects;
  }

  content(tree: Tree): Content {
    return this.#named(tree, this.#open(tree, "RecordDict"), (child) => this.#record(child));
  }

  #open(tree: Tree, type: ObjectType): Opened {
    const opened = this.#objects.open(tree);
    if (opened.type !== type) throw malformed(`object ${tree.id} is of type ${opened.type} where ${type} is expected`);
    return opened;
  }

  #record(tree: Tree): FlowerRecord {
    const opened = this.#objects.open(tree);
    switch (opened.type) {
      case "ArrayRecord":
        return { arrays: this.#named(tree, opened, (child) => this.#array(child)) };
      case "MetricRecord":
        return { metrics: readValues("metrics", childless(tree, opened).body) };
      case "ConfigRecord":
        return { config: readValues("config", childless(tree, opened).body) };
      default:
        throw malformed(`object ${tree.id} is of type ${opened.type} where a record is expected`);
    }
  }

  /** What the JSON of an object has by names, each the id of a child; every child has a name. */
  #named<T>(tree: Tree, { type, body }: Opened, read: (child: Tree) => T): Record<string, T> {
    const what = `${type} ${tree.id}`;
    const entries = Object.entries(readJson(what, body));
    const children = new Map(tree.children.map((child) => [child.id, child]));
    const named: Record<string, T> = Object.create(null);
    const read_before = new Map<Tree, T>();
    for (const [name, id] of entries) {
      const child = children.get(String(id));
      if (child === undefined) throw malformed(`${what} names an object that is none of its children`);
      if (!read_before.has(child)) read_before.set(child, read(child));
      named[name] = read_before.get(child)!;
    }
    if (read_before.size !== children.size) throw malformed(`${what} has children without names`);
    return named;
  }

  #array(tree: Tree): NdArray {
    const known = this.#arrays.get(tree.id);
    if (known) return known;
    const { body } = this.#open(tree, "Array");
    const { dtype, shape, stype, arraychunk_ids } = readJson(`Array ${tree.id}`, body) as Partial<Record<string, unknown>>;
    if (stype !== STYPE) throw malformed(`array ${tree.id} is stored as ${quoted(stype)}, not as ${STYPE}`);
    if (!Array.isArray(arraychunk_ids)) throw malformed(`array ${tree.id} lists no chunks`);
    const chunks = tree.children.map((child) => childless(child, this.#open(child, "ArrayChunk")).body);
    const parts: Uint8Array[] = arraychunk_ids.map((index: unknown) => {
      const part = typeof index === "number" ? chunks[index] : undefined;
      if (part === undefined) throw malformed(`array ${tree.id} has a chunk that is none of its children`);
      return part;
    });
    this.#bytes += parts.reduce((sum, { length }) => sum + length, 0);
    if (this.#bytes > this.#objects.max_bytes) {
      throw malformed(`the arrays of a message have more than the ${this.#objects.max_bytes} bytes that they may have`);
    }
    const array = readNpy(parts);
    if (array.dtype !== dtype || !Array.isArray(shape) || shape.join() !== array.shape.join()) {
      throw malformed(`array ${tree.id} has another type or shape than its .npy file`);
    }
    this.#arrays.set(tree.id, array);
    return array;
  }
}

function childless(tree: Tree, opened: Opened): Opened {
  if (tree.children.length > 0) throw malformed(`object ${tree.id}, of type ${opened.type}, has children`);
  return opened;
}

function readJson(what: string, body: Uint8Array): object {
  const value: unknown = decoded(what, () => JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(body)));
  if (typeof value !== "object" || value === null || Array.isArray(value)) throw malformed(`${what} is no JSON object`);
  return value;
}
