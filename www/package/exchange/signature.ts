import { createStore, get, update } from "idb-keyval";
import { failure, TabtuneError } from "../errors.js";
import type { AdapterFiles } from "../types.js";
import { bytesOf, cardBytes, hexOf, onlyPeft, openCard, sha256, subtle, type AdapterCard } from "./card.js";
import { canonical, Fields } from "./json.js";
import { badAdapter, CARD_FILE, checkFile, complete, PEFT_FILES, type ExchangedFiles } from "./limits.js";

/** Who signs the cards of this browser. */
export interface Signer {
  /** As they call themselves; empty until they say. */
  readonly name: string;
  /** Tells keys apart at a glance: 80 bits of the key's sha256 in groups of four digits. */
  readonly fingerprint: string;
  /** The Ed25519 key, hexadecimal. */
  readonly public_key: string;
  /** Sets the name, up to 80 characters; what was signed before keeps the old one. */
  rename(name: string): Promise<Signer>;
}

/** What a card's signature tells. A name is what the signer calls themselves; the fingerprint is what cannot be taken on. */
export interface Verified {
  signed: "yes" | "no";
  /** The signer's name. */
  by: string | null;
  fingerprint: string | null;
  /** Null where no card lies beside the adapter. */
  card: AdapterCard | null;
}

/** A key pair as it lies in IndexedDB. The browser signs with the private key and does not give it out. */
interface Kept {
  pair: CryptoKeyPair;
  name: string;
}

const ALGORITHM = "Ed25519";
const KEY = "signer";
/** Stands before all that is signed, so that a signature means nothing elsewhere. */
const PURPOSE = "tabtune adapter card 1\n";

/**
 * Who signs in this browser. The key pair is made when it is first asked for, and stays until the site's data is cleared.
 * Throws `unsupported` where the browser has no Ed25519 (before Chrome 137, Firefox 129 and Safari 17), and `io` where it
 * keeps no keys.
 */
export async function signer(): Promise<Signer> {
  return told(await kept());
}

/**
 * The files with their card signed by this browser's key, over all bytes of both files and of the card itself. Throws as
 * {@link signer}.
 */
export async function sign(files: AdapterFiles, card: AdapterCard): Promise<ExchangedFiles> {
  const { pair, name } = await kept();
  const { signature: _signature, ...unsigned } = { ...card, signer: { name, public_key: await publicKey(pair) } };
  const signature = hexOf(new Uint8Array(await subtle().sign(ALGORITHM, pair.privateKey, messageOf(unsigned))));
  const signed = { ...onlyPeft(files), [CARD_FILE]: cardBytes({ ...unsigned, signature }) };
  // What the card tells must be read as it was written, and the sums must be of these files.
  await verify(signed);
  return signed;
}

/**
 * Whether the card belongs to the files, and who signed it. Throws `bad-adapter`, naming the file, where something was changed after
 * the card was written, and `unsupported` where the card is signed and the browser has no Ed25519. Without a signature a card
 * may be anyone's, with it the bytes are those that the holder of the key signed.
 */
export async function verify(files: ExchangedFiles): Promise<Verified> {
  for (const [name, bytes] of Object.entries(files)) checkFile(name, bytes.length, { bytes: bytes.length || 1 });
  const bytes = complete(files)[CARD_FILE];
  if (!bytes) return { signed: "no", by: null, fingerprint: null, card: null };
  const { card, written } = openCard(bytes);
  for (const name of PEFT_FILES) {
    const sum = await sha256(files[name]);
    if (sum !== card.files[name]) throw badAdapter(`${name} was changed after its card was written: its sha256 is ${sum}, not ${card.files[name]}`);
  }
  const { signer, signature } = card;
  if (!signer || signature === undefined) return { signed: "no", by: null, fingerprint: null, card };
  // Of the one way to write the card no byte is free, so that the signature is over all of them.
  if (new TextDecoder().decode(bytes) !== canonical(written)) {
    throw badAdapter(`${CARD_FILE} is signed, but not written as signed cards are (RFC 8785)`);
  }
  const { signature: _signature, ...unsigned } = written;
  if (!(await fits(signer.public_key, signature, messageOf(unsigned)))) {
    throw badAdapter(`${CARD_FILE} was changed after it was signed: the signature is not of these bytes`);
  }
  return { signed: "yes", by: signer.name, fingerprint: await fingerprintOf(signer.public_key), card };
}

/** What a public key is told apart by. */
export async function fingerprintOf(public_key: string): Promise<string> {
  return (await sha256(bytesOf(public_key))).slice(0, 20).replace(/(.{4})(?=.)/g, "$1 ");
}

function messageOf(unsigned: object): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode(PURPOSE + canonical(unsigned));
}

async function fits(public_key: string, signature: string, message: Uint8Array<ArrayBuffer>): Promise<boolean> {
  const key = await withEd25519(() => subtle().importKey("raw", bytesOf(public_key), ALGORITHM, true, ["verify"]), () => {
    throw badAdapter(`${CARD_FILE}: the signer's public key is none of Ed25519`);
  });
  return subtle().verify(ALGORITHM, key, bytesOf(signature), message);
}

/** Browsers without the algorithm say so; what else they refuse is the key, for `unfit` to tell. */
async function withEd25519<T>(work: () => Promise<T>, unfit: (thrown: unknown) => never): Promise<T> {
  try {
    return await work();
  } catch (thrown) {
    if (thrown instanceof TabtuneError) throw thrown;
    if ((thrown as Error).name !== "NotSupportedError") return unfit(thrown);
    const message = "this browser has no Ed25519, by which cards are signed; Chrome 137, Firefox 129, Safari 17 and later ones have it";
    throw failure("unsupported", message);
  }
}

/** The key pair of this browser. Of two tabs that make one at once, both take that of the first. */
async function kept(change: Partial<Kept> = {}): Promise<Kept> {
  try {
    const store = createStore("tabtune-exchange", "keys");
    const before = await get<Kept>(KEY, store);
    if (before && change.name === undefined) return before;
    const made = before ?? { pair: await newPair(), name: "" };
    await update<Kept>(KEY, (there) => ({ ...(there ?? made), ...change }), store);
    return (await get<Kept>(KEY, store))!;
  } catch (thrown) {
    if (thrown instanceof TabtuneError) throw thrown;
    throw failure("io", `the browser keeps no keys for this page: ${String(thrown)}`);
  }
}

async function newPair(): Promise<CryptoKeyPair> {
  const generate = () => subtle().generateKey(ALGORITHM, false, ["sign", "verify"]) as Promise<CryptoKeyPair>;
  return withEd25519(generate, (thrown) => {
    throw thrown;
  });
}

async function publicKey({ publicKey }: CryptoKeyPair): Promise<string> {
  return hexOf(new Uint8Array(await subtle().exportKey("raw", publicKey)));
}

async function told({ pair, name }: Kept): Promise<Signer> {
  const public_key = await publicKey(pair);
  return {
    name,
    public_key,
    fingerprint: await fingerprintOf(public_key),
    async rename(name) {
      const fields = new Fields({ name: "the signer", code: "bad-option" }, { name });
      return told(await kept({ name: fields.needed("name", fields.line("name", 80)) }));
    },
  };
}
