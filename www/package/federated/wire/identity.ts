import { createStore, del, get, set, update } from "idb-keyval";
import { failure } from "../../errors.js";
import { serverAddress } from "./address.js";

/** What is kept of a node: its keys, of which the private one cannot be read by anyone, and its id at the server. */
export interface KeptIdentity {
  keys: CryptoKeyPair;
  /** The public key as PEM text. */
  pem: string;
  node_id?: bigint;
}

/** Where identities are kept, each by the address of its server. */
export interface IdentityStore {
  get(base: string): Promise<KeptIdentity | undefined>;
  /** Keeps an identity unless there is one, and gives the one that is kept. */
  add(base: string, identity: KeptIdentity): Promise<KeptIdentity>;
  set(base: string, identity: KeptIdentity): Promise<void>;
  delete(base: string): Promise<void>;
}

/** The browser's store, in IndexedDB, which keeps keys without letting anyone read them. */
export function browserIdentities(): IdentityStore {
  const store = createStore("tabtune-federated", "identities");
  return {
    get: (base) => kept(get<KeptIdentity>(base, store)),
    async add(base, identity) {
      let winner = identity;
      // Of two tabs that join at the same time, both take the one that was first.
      await kept(update<KeptIdentity>(base, (there) => (winner = there ?? identity), store));
      return winner;
    },
    set: (base, identity) => kept(set(base, identity, store)),
    delete: (base) => kept(del(base, store)),
  };
}

/** What the database does; browsers have it closed to pages in foreign frames, and where a person wants nothing kept. */
async function kept<T>(working: Promise<T>): Promise<T> {
  try {
    return await working;
  } catch (thrown) {
    throw failure("bad-state", `the browser keeps no keys for this page (${String(thrown)}): allow it to store site data`);
  }
}

/** A store that lasts as long as the program. */
export function memoryIdentities(): IdentityStore {
  const kept = new Map<string, KeptIdentity>();
  return {
    get: async (base) => kept.get(base),
    async add(base, identity) {
      if (!kept.has(base)) kept.set(base, identity);
      return kept.get(base)!;
    },
    async set(base, identity) {
      kept.set(base, identity);
    },
    async delete(base) {
      kept.delete(base);
    },
  };
}

/** Flower's curve of nodes' keys, and how it signs with them. */
const CURVE = { name: "ECDSA", namedCurve: "P-384" };
const SIGNING = { name: "ECDSA", hash: "SHA-256" };
/** Bytes of r and of s. */
const HALF = 48;

/** A clock that is off by less than this is not the reason why a server refused; its Date header has whole seconds. */
const SKEW_MS = 3000;

/** A node's identity at one server: who it is, and what it signs. */
export class Identity {
  /** The server's address, as {@link serverAddress} gives it. */
  readonly base: string;
  /** The public key as PEM text, by which an operator enrols this node. */
  readonly pem: string;
  readonly #store: IdentityStore;
  #kept: KeptIdentity;
  /** Milliseconds that the server's clock is ahead of this one. */
  #ahead = 0;

  private constructor(base: string, kept: KeptIdentity, store: IdentityStore) {
    this.base = base;
    this.pem = kept.pem;
    this.#kept = kept;
    this.#store = store;
  }

  /** The identity that is kept for a server; at the first time one is made. */
  static async of(base: string | URL, store: IdentityStore = browserIdentities()): Promise<Identity> {
    const address = serverAddress(base);
    const kept = (await store.get(address)) ?? (await store.add(address, await made()));
    return new Identity(address, kept, store);
  }

  /** The id that the server gave this node, if it ever did. */
  get node_id(): bigint | undefined {
    return this.#kept.node_id;
  }

  /** Keeps the id that the server gave. */
  async setNodeId(node_id: bigint): Promise<void> {
    if (node_id === this.#kept.node_id) return;
    this.#kept = { ...this.#kept, node_id };
    await this.#store.set(this.base, this.#kept);
  }

  /** Forgets the keys: who joins next is someone new. */
  async forget(): Promise<void> {
    await this.#store.delete(this.base);
  }

  /** Signs by ECDSA over P-384 with SHA-256. The signature is in DER, as Flower and Python's cryptography have it. */
  async sign(bytes: Uint8Array<ArrayBuffer>): Promise<Uint8Array<ArrayBuffer>> {
    return toDer(new Uint8Array(await crypto.subtle.sign(SIGNING, this.#kept.keys.privateKey, bytes)));
  }

  /** The headers by which Flower knows a node: its public key and the time, signed. */
  async headers(): Promise<Record<string, string>> {
    const timestamp = new Date(this.now()).toISOString().replace("Z", "+00:00");
    const ascii = new TextEncoder().encode(timestamp);
    return {
      "flwr-public-key": base64(new TextEncoder().encode(this.pem)),
      "flwr-timestamp": timestamp,
      "flwr-signature": base64(await this.sign(ascii)),
    };
  }

  /** The server's time, in milliseconds since 1970. */
  now(): number {
    return Date.now() + this.#ahead;
  }

  /** Goes by the server's clock, if it tells one that differs; says whether it does. */
  follow(date: string | null): boolean {
    const told = Date.parse(date ?? "");
    if (!Number.isFinite(told) || Math.abs(told - this.now()) < SKEW_MS) return false;
    this.#ahead = told - Date.now();
    return true;
  }
}

async function made(): Promise<KeptIdentity> {
  if (globalThis.crypto?.subtle === undefined) {
    throw failure("bad-state", "a node needs a secure page: open it over https, or at http://localhost");
  }
  const keys = (await crypto.subtle.generateKey(CURVE, false, ["sign", "verify"])) as CryptoKeyPair;
  const lines = base64(new Uint8Array(await crypto.subtle.exportKey("spki", keys.publicKey))).match(/.{1,64}/g)!;
  return { keys, pem: `-----BEGIN PUBLIC KEY-----\n${lines.join("\n")}\n-----END PUBLIC KEY-----\n` };
}

/** Whether the owner of a public key signed these bytes. What is no key of P-384 or no signature in DER signed nothing. */
export async function verify(pem: string, bytes: Uint8Array<ArrayBuffer>, signature: Uint8Array): Promise<boolean> {
  const [, text] = /^-----BEGIN PUBLIC KEY-----\s([A-Za-z0-9+/=\s]{1,400})-----END PUBLIC KEY-----\s*$/.exec(pem) ?? [];
  const halves = fromDer(signature);
  if (text === undefined || halves === undefined) return false;
  try {
    const spki = Uint8Array.from(atob(text.replace(/\s/g, "")), (char) => char.charCodeAt(0));
    const key = await crypto.subtle.importKey("spki", spki, CURVE, false, ["verify"]);
    return await crypto.subtle.verify(SIGNING, key, halves, bytes);
  } catch {
    return false;
  }
}

function base64(bytes: Uint8Array): string {
  return btoa(String.fromCharCode(...bytes));
}

/** r and s one behind the other, as WebCrypto has them, as SEQUENCE { INTEGER r, INTEGER s } (RFC 3279, 2.2.3; X.690, 8.3). */
function toDer(halves: Uint8Array): Uint8Array<ArrayBuffer> {
  const integers = [halves.subarray(0, HALF), halves.subarray(HALF)].map((half) => {
    const first = half.findIndex((byte) => byte !== 0);
    const digits = half.subarray(first < 0 ? HALF - 1 : first);
    // A first bit that is set would make it negative.
    const content = digits[0]! & 0x80 ? [0, ...digits] : [...digits];
    return [2, content.length, ...content];
  });
  const content = integers.flat();
  return new Uint8Array([0x30, content.length, ...content]);
}

/** The other way round; undefined where it is no such signature. */
function fromDer(signature: Uint8Array): Uint8Array<ArrayBuffer> | undefined {
  const halves = new Uint8Array(2 * HALF);
  if (signature[0] !== 0x30 || signature[1] !== signature.length - 2) return undefined;
  let at = 2;
  for (const end of [HALF, 2 * HALF]) {
    const length = signature[at + 1];
    if (signature[at] !== 2 || length === undefined || length < 1 || at + 2 + length > signature.length) return undefined;
    const content = signature.subarray(at + 2, at + 2 + length);
    const digits = content[0] === 0 ? content.subarray(1) : content;
    if (content[0]! & 0x80 || digits.length > HALF) return undefined;
    halves.set(digits, end - digits.length);
    at += 2 + length;
  }
  return at === signature.length ? halves : undefined;
}
