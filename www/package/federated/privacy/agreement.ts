import { refused } from "./refusal.js";

/** Bytes that WebCrypto takes; those of a SharedArrayBuffer it does not. */
export type Bytes = Uint8Array<ArrayBuffer>;

/** A public point: 4, then x and y. */
const POINT_BYTES = 65;
/** What AES-GCM puts before and after the sealed bytes. */
const NONCE_BYTES = 12;
const TAG_BYTES = 16;
const CURVE = { name: "ECDH", namedCurve: "P-256" } as const;
/** A stream is made in portions of so many words, a mebibyte. */
const PORTION = 2 ** 18;

export type KeyPair = CryptoKeyPair & { point: Bytes };

/** A new pair of P-256 keys (FIPS 186-5, SP 800-56A). Only a key that will be shared among the peers is extractable. */
export async function newKeyPair(extractable: boolean): Promise<KeyPair> {
  const pair = await crypto.subtle.generateKey(CURVE, extractable, ["deriveBits"]);
  return { ...pair, point: new Uint8Array(await crypto.subtle.exportKey("raw", pair.publicKey)) };
}

/** The secret scalar of an extractable private key, 32 bytes, the highest first. */
export async function scalarOf(key: CryptoKey): Promise<Bytes> {
  const { d } = await crypto.subtle.exportKey("jwk", key);
  const text = atob(d!.replaceAll("-", "+").replaceAll("_", "/"));
  return Uint8Array.from(text, (byte) => byte.charCodeAt(0));
}

/** P-256 is y² = x³ - 3x + b modulo p (SP 800-186, 3.2.1.3). */
const P = 2n ** 256n - 2n ** 224n + 2n ** 192n + 2n ** 96n - 1n;
const B = 0x5ac635d8aa3a93e7b3ebbd55769886bc651d06b0cc53b0f63bce3c3e27d2604bn;

/**
 * A peer's public key; `whose` names it where the bytes are no point of the curve. That is checked here, because WebKitGTK
 * takes any pair of numbers, and what is agreed on with a point of another curve tells of the private key.
 */
export async function publicKey(point: Uint8Array, whose: string): Promise<CryptoKey> {
  if (!(point instanceof Uint8Array) || point.length !== POINT_BYTES || point[0] !== 4 || !isOnCurve(point)) {
    throw refused(`the key of ${whose} is no point of P-256`);
  }
  return crypto.subtle.importKey("raw", new Uint8Array(point), CURVE, false, []);
}

function isOnCurve(point: Uint8Array): boolean {
  const [x, y] = [BigInt(`0x${hex(point.subarray(1, 33))}`), BigInt(`0x${hex(point.subarray(33))}`)];
  return x < P && y < P && (y * y - x * x * x + 3n * x - B) % P === 0n;
}

/** Bytes as text. */
export function hex(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/**
 * What a key is for: a name, the round and node ids, so that no key serves two purposes. 8 bytes for each number, the
 * highest first.
 */
export function purpose(name: string, round: number, ...ids: bigint[]): Bytes {
  const label = new TextEncoder().encode(`tabtune ${name}`);
  const bytes = new Uint8Array(label.length + 8 * (1 + ids.length));
  bytes.set(label);
  const view = new DataView(bytes.buffer, label.length);
  [BigInt(round), ...ids].forEach((number, index) => view.setBigUint64(8 * index, number));
  return bytes;
}

/** The x coordinate of ECDH, 32 bytes, which is no key yet. */
export async function agree(own: CryptoKey, peer: CryptoKey): Promise<Bytes> {
  return new Uint8Array(await crypto.subtle.deriveBits({ name: "ECDH", public: peer }, own, 256));
}

/** HKDF-SHA-256 (RFC 5869) of a secret with an empty salt; `info` is from {@link purpose}. */
async function derive(secret: Bytes, info: Bytes, cipher: "AES-CTR" | "AES-GCM"): Promise<CryptoKey> {
  const material = await crypto.subtle.importKey("raw", secret, "HKDF", false, ["deriveKey"]);
  const algorithm = { name: "HKDF", hash: "SHA-256", salt: new Uint8Array(0), info };
  return crypto.subtle.deriveKey(algorithm, material, { name: cipher, length: 256 }, false, ["encrypt", "decrypt"]);
}

/** Seals bytes to one peer: a nonce of 12 bytes, then AES-256-GCM's output, whose additional data is the purpose. */
export async function seal(secret: Bytes, info: Bytes, plain: Bytes): Promise<Bytes> {
  const key = await derive(secret, info, "AES-GCM");
  const iv = crypto.getRandomValues(new Uint8Array(NONCE_BYTES));
  const sealed = await crypto.subtle.encrypt({ name: "AES-GCM", iv, additionalData: info }, key, plain);
  const bytes = new Uint8Array(NONCE_BYTES + sealed.byteLength);
  bytes.set(iv);
  bytes.set(new Uint8Array(sealed), NONCE_BYTES);
  return bytes;
}

/** Opens what {@link seal} made of `length` bytes, or gives undefined where it was made otherwise. */
export async function open(secret: Bytes, info: Bytes, sealed: Uint8Array, length: number): Promise<Bytes | undefined> {
  if (!(sealed instanceof Uint8Array) || sealed.length !== NONCE_BYTES + length + TAG_BYTES) return undefined;
  const key = await derive(secret, info, "AES-GCM");
  const bytes = new Uint8Array(sealed);
  const algorithm = { name: "AES-GCM", iv: bytes.subarray(0, NONCE_BYTES), additionalData: info };
  try {
    return new Uint8Array(await crypto.subtle.decrypt(algorithm, key, bytes.subarray(NONCE_BYTES)));
  } catch {
    return undefined;
  }
}

/**
 * Adds to `numbers`, or takes from them, the mask that a secret stands for: AES-256-CTR's stream from block 0, as
 * little-endian words, modulo 2^32. WebCrypto's stream comes as what zeros are encrypted to.
 */
export async function mask(numbers: Uint32Array, secret: Bytes, info: Bytes, sign: 1 | -1): Promise<void> {
  const key = await derive(secret, info, "AES-CTR");
  const zeros = new Uint8Array(4 * Math.min(PORTION, numbers.length));
  for (let begin = 0; begin < numbers.length; begin += PORTION) {
    const count = Math.min(PORTION, numbers.length - begin);
    const counter = new Uint8Array(16);
    new DataView(counter.buffer).setUint32(12, (4 * begin) / 16);
    const stream = await crypto.subtle.encrypt({ name: "AES-CTR", counter, length: 64 }, key, zeros.subarray(0, 4 * count));
    // All that runs WebAssembly holds numbers little-endian.
    const words = new Uint32Array(stream);
    for (let index = 0; index < count; index += 1) numbers[begin + index]! += sign * words[index]!;
  }
}
