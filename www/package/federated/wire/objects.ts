import { decoded, malformed } from "./errors.js";
import { ObjectTree } from "./proto/flower.js";

// Flower's objects: `Type SP child,child,… SP length NUL body`, known by the SHA-256 of all these bytes.

/** Flower cuts arrays into chunks of this many bytes. */
export const CHUNK_BYTES = 5_242_880;
/** Objects in the tree of a message, those that stand in it twice counted twice. */
const MAX_OBJECTS = 4096;
/** A message is a tree of five levels: Message, RecordDict, ArrayRecord, Array, ArrayChunk. */
const MAX_DEPTH = 8;
/** The type, the ids of all children and a length. */
const MAX_HEAD_BYTES = 65 * MAX_OBJECTS + 64;
/** The most bytes of an object, whose body is a chunk at the largest. */
export const OBJECT_BYTES = MAX_HEAD_BYTES + CHUNK_BYTES;
/** The most bytes of a body that is read as JSON or protobuf, in which a byte can become a value of many. */
const READ_BYTES = 1 << 20;

const ID = /^[0-9a-f]{64}$/;
const HEAD = /^([A-Za-z]{1,32}) ((?:[0-9a-f]{64},)*[0-9a-f]{64}|) (0|[1-9]\d{0,9})$/;

export type ObjectType = "Message" | "RecordDict" | "ArrayRecord" | "Array" | "ArrayChunk" | "MetricRecord" | "ConfigRecord";

/** An object taken apart. `body` is a view of its bytes. */
export interface Opened {
  type: string;
  children: string[];
  body: Uint8Array;
}

/** An object and all below it, by their ids. */
export interface Tree {
  id: string;
  children: Tree[];
}

/** The id of an object. */
export async function idOf(bytes: Uint8Array<ArrayBuffer>): Promise<string> {
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** The bytes of an object whose body is what `parts` have, one behind another. */
export function objectBytes(type: ObjectType, children: Iterable<string>, parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const length = parts.reduce((sum, part) => sum + part.length, 0);
  const head = new TextEncoder().encode(`${type} ${[...children].join(",")} ${length}\0`);
  const bytes = new Uint8Array(head.length + length);
  bytes.set(head);
  let at = head.length;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}

/** Takes an object apart; its head has to be as Flower writes it and its length the one that it tells. */
export function openObject(id: string, bytes: Uint8Array): Opened {
  const end = bytes.subarray(0, MAX_HEAD_BYTES).indexOf(0);
  const text = end < 0 ? "" : new TextDecoder("latin1").decode(bytes.subarray(0, end));
  const [, type, children, length] = HEAD.exec(text) ?? [];
  if (type === undefined) throw malformed(`object ${id} has no head of Flower's`);
  const body = bytes.subarray(end + 1);
  if (body.length !== Number(length)) throw malformed(`object ${id} has ${body.length} bytes where its head tells ${length}`);
  if (body.length > (type === "ArrayChunk" ? CHUNK_BYTES : READ_BYTES)) {
    throw malformed(`object ${id}, of type ${type}, is too large: ${body.length} bytes`);
  }
  return { type, children: children === "" ? [] : children!.split(","), body };
}

/** The tree that a server tells, opened level by level so that its size is known before it takes memory. */
export function openTree(bytes: Uint8Array): Tree {
  let count = 0;
  const open = (bytes: Uint8Array, depth: number): Tree => {
    if (++count > MAX_OBJECTS) throw malformed(`a message has more than ${MAX_OBJECTS} objects`);
    if (depth > MAX_DEPTH) throw malformed(`the objects of a message are nested more than ${MAX_DEPTH} deep`);
    const { object_id, children } = decoded("a tree of objects", () => ObjectTree.decode(bytes));
    if (!ID.test(object_id)) throw malformed("an object's id is no SHA-256 in hexadecimal");
    return { id: object_id, children: children.map((child) => open(child, depth + 1)) };
  };
  return open(bytes, 1);
}

/** A tree as the server is told it. */
export function treeBytes({ id, children }: Tree): Uint8Array<ArrayBuffer> {
  return ObjectTree.encode({ object_id: id, children: children.map(treeBytes) }).finish();
}

/** The ids in a tree, each once. */
export function idsOf(tree: Tree): string[] {
  const ids = new Set<string>();
  const add = ({ id, children }: Tree): void => {
    ids.add(id);
    children.forEach(add);
  };
  add(tree);
  return [...ids];
}

/** Objects that are what their ids say, of no more than `max_bytes` together. */
export class ObjectSet {
  readonly #max_bytes: number;
  readonly #objects = new Map<string, Uint8Array<ArrayBuffer>>();
  #bytes = 0;

  constructor(max_bytes: number) {
    this.#max_bytes = max_bytes;
  }

  /** Bytes of all objects, their heads included. */
  get bytes(): number {
    return this.#bytes;
  }

  get size(): number {
    return this.#objects.size;
  }

  /** The most bytes that the values of the objects may take. */
  get max_bytes(): number {
    return this.#max_bytes;
  }

  /** Takes an object in; false where its bytes are another one's. */
  async add(id: string, bytes: Uint8Array<ArrayBuffer>): Promise<boolean> {
    if (bytes.length > OBJECT_BYTES) throw malformed(`object ${id} is too large: ${bytes.length} bytes`);
    if ((await idOf(bytes)) !== id) return false;
    if (this.#objects.has(id)) return true;
    this.#bytes += bytes.length;
    if (this.#bytes > this.#max_bytes) throw malformed(`a message has more than the ${this.#max_bytes} bytes that it may have`);
    this.#objects.set(id, bytes);
    return true;
  }

  /** Takes apart the object at the root of a tree, which has the tree's children below it. */
  open(tree: Tree): Opened {
    const bytes = this.#objects.get(tree.id);
    if (bytes === undefined) throw malformed(`object ${tree.id} is missing`);
    const opened = openObject(tree.id, bytes);
    if (opened.children.join() !== tree.children.map(({ id }) => id).join()) {
      throw malformed(`object ${tree.id} has other children than the message's tree`);
    }
    return opened;
  }
}
