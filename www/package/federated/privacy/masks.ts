import { split } from "shamir-secret-sharing";
import { failure } from "../../errors.js";
import { agree, hex, mask, newKeyPair, open, publicKey, purpose, scalarOf, seal, type Bytes, type KeyPair } from "./agreement.js";
import { quantise, type FixedPoint, type Update } from "./fixed-point.js";
import { refused } from "./refusal.js";

/** A node's long-lived key, of which masks need only these. */
export interface Identity {
  /** SubjectPublicKeyInfo as PEM. */
  pem: string;
  /** An ECDSA signature with SHA-256, in DER. */
  sign(bytes: Bytes): Promise<Uint8Array>;
  /** Whether the signature is that of the key in the PEM; a PEM that is none is false too. */
  verify(pem: string, bytes: Bytes, signature: Uint8Array): Promise<boolean>;
}

/** The answer to `query.keys`: points of P-256, 65 bytes each, and a signature over {@link signedKeys}. */
export interface Keys {
  encrypt: Uint8Array;
  mask: Uint8Array;
  signature: Uint8Array;
  identity: string;
}

/** What `query.shares` brings: all others who sent keys, in lists side by side. */
export interface Peers {
  ids: bigint[];
  encrypt: Uint8Array[];
  mask: Uint8Array[];
  signatures: Uint8Array[];
  identities: string[];
  /** So many clients of those and this one have to stay to the end. */
  threshold: number;
}

/** The answer to `query.shares`, to each peer what only it can open; and in `query.masked` those from the others. */
export interface SealedShares {
  ids: bigint[];
  sealed: Uint8Array[];
}

/** What `query.unmask` brings: whose numbers came and whose did not, of those masked against and this client. */
export interface Survivors {
  ids: bigint[];
  dropped: bigint[];
}

/** The answer to `query.unmask`: shares of self-mask seeds of survivors, and of mask keys of the dropped. */
export interface Unmasking {
  self_ids: bigint[];
  self_shares: Uint8Array[];
  key_ids: bigint[];
  key_shares: Uint8Array[];
}

/** GF(2^8) has 255 points to share at, of which a client keeps one. */
export const MAX_PEERS = 254;
const MAX_ID = 2n ** 64n;
/** PEM of a P-384 key takes 215 characters, its signatures at most 104 bytes; other kinds of key are a little larger. */
const MAX_PEM = 1024;
const MAX_SIGNATURE = 256;
const SEED_BYTES = 32;
/** A share of 32 bytes, and the point that it is the value at. */
const SHARE_BYTES = SEED_BYTES + 1;

/** The shares that one client gave another: of the private mask key, and of the seed of its self-mask. */
interface Shares {
  key: Bytes;
  seed: Bytes;
}

interface Peer {
  /** The agreement that shares are sealed by. */
  sealing: Bytes;
  /** The agreement that the pair's mask comes from. */
  masking: Bytes;
}

type Phase = "keys" | "shares" | "masked" | "unmask" | "over";

/** What a node's key signs: the round (8 bytes, the highest first), then both points. */
export function signedKeys(round: number, encrypt: Uint8Array, mask: Uint8Array): Bytes {
  const bytes = new Uint8Array(8 + encrypt.length + mask.length);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(round));
  bytes.set(encrypt, 8);
  bytes.set(mask, 8 + encrypt.length);
  return bytes;
}

/**
 * One client in one round of secure aggregation: Protocol 1 of Bonawitz et al. 2017 (CCS, "Practical secure
 * aggregation for privacy-preserving machine learning"). The server learns the sum of all updates and none of them: each
 * pair of clients has a mask that one adds and the other takes away, and each client one of its own, whose seed is
 * given to the server once it is clear who stayed. Shares after Shamir (1979) do that also for those who left.
 *
 * The server is taken to be curious but honest. As it passes the identities on, it could invent peers or stand between
 * them, unless `verify` holds them to a list of enrolled keys. To get both kinds of share of one client it would have
 * to tell two groups different survivors, and the threshold is more than half, so that no two such groups are there.
 *
 * Phases come once each and in order; a refusal ends the round for this client. All of it lives in memory: a tab that is
 * closed has left. The server's half is tabtune_federated/privacy/masks.py.
 */
export class MaskedRound {
  readonly #round: number;
  readonly #id: bigint;
  readonly #identity: Identity;
  readonly #encrypt: KeyPair;
  readonly #mask: KeyPair;
  readonly #seed = crypto.getRandomValues(new Uint8Array(SEED_BYTES));
  /** The phase that may come next. */
  #phase: Phase = "keys";
  #threshold = 0;
  readonly #peers = new Map<bigint, Peer>();
  /** The shares that this client holds, by whose they are: its own, and from `masked` on those masked against. */
  readonly #held = new Map<bigint, Shares>();

  private constructor(round: number, id: bigint, identity: Identity, pairs: [KeyPair, KeyPair]) {
    this.#round = round;
    this.#id = id;
    this.#identity = identity;
    [this.#encrypt, this.#mask] = pairs;
  }

  /** Makes the keys of a round, counted from 1, for the node with this id. */
  static async begin(round: number, id: bigint, identity: Identity): Promise<MaskedRound> {
    if (!Number.isSafeInteger(round) || round < 1) throw refused(`${round} is no number of a round`);
    return new MaskedRound(round, id, identity, [await newKeyPair(false), await newKeyPair(true)]);
  }

  /** The public keys, signed by the node's own. */
  keys(): Promise<Keys> {
    return this.#step("keys", "shares", async () => {
      const [encrypt, mask] = [this.#encrypt.point, this.#mask.point];
      const signature = await this.#identity.sign(signedKeys(this.#round, encrypt, mask));
      return { encrypt, mask, signature, identity: this.#identity.pem };
    });
  }

  /** Checks the peers and shares the mask key and the seed of the self-mask among them and itself. */
  shares(peers: Peers): Promise<SealedShares> {
    return this.#step("shares", "masked", async () => {
      const ids = await this.#meet(peers);
      const clients = ids.length + 1;
      const keyShares = (await split(await scalarOf(this.#mask.privateKey), clients, this.#threshold)) as Bytes[];
      const seedShares = (await split(this.#seed, clients, this.#threshold)) as Bytes[];
      this.#held.set(this.#id, { key: keyShares[0]!, seed: seedShares[0]! });
      const sealed: Bytes[] = [];
      for (const [index, id] of ids.entries()) {
        const plain = new Uint8Array(2 * SHARE_BYTES);
        plain.set(keyShares[index + 1]!);
        plain.set(seedShares[index + 1]!, SHARE_BYTES);
        sealed.push(await seal(this.#peers.get(id)!.sealing, purpose("shares", this.#round, this.#id, id), plain));
      }
      return { ids, sealed };
    });
  }

  /** Opens the others' shares and gives the update in fixed point, [n + 2], with all masks on it. */
  masked(shares: SealedShares, fixed: FixedPoint, update: Update): Promise<Uint32Array<ArrayBuffer>> {
    return this.#step("masked", "unmask", async () => {
      const { ids, sealed } = shares;
      sideBySide("shares", ids, [sealed]);
      this.#mustBeOthers(ids);
      this.#mustBeEnough(ids.length + 1);
      for (const [index, id] of ids.entries()) this.#held.set(id, await this.#open(id, sealed[index]!));

      const numbers = quantise(update, fixed, ids.length + 1);
      await mask(numbers, this.#seed, purpose("self-mask", this.#round, this.#id), 1);
      for (const id of ids) {
        const first = this.#id < id;
        const [low, high] = first ? [this.#id, id] : [id, this.#id];
        await mask(numbers, this.#peers.get(id)!.masking, purpose("pair-mask", this.#round, low, high), first ? 1 : -1);
      }
      return numbers;
    });
  }

  /** Gives one kind of share of each client masked against: the seed's where its numbers came, else the key's. */
  unmask({ ids, dropped }: Survivors): Promise<Unmasking> {
    return this.#step("unmask", "over", async () => {
      if (!Array.isArray(ids) || !Array.isArray(dropped)) throw refused("survivors and dropped have to be lists");
      const all = new Set([...ids, ...dropped]);
      if (all.size !== ids.length + dropped.length) throw refused("a client is named twice among survivors and dropped");
      if (all.size !== this.#held.size || [...all].some((id) => !this.#held.has(id))) {
        throw refused("survivors and dropped are not those whom this client masked against");
      }
      if (!ids.includes(this.#id)) throw refused("the server counts this client, which sent its numbers, as dropped");
      this.#mustBeEnough(ids.length);
      const answer = {
        self_ids: [...ids],
        self_shares: ids.map((id) => this.#held.get(id)!.seed),
        key_ids: [...dropped],
        key_shares: dropped.map((id) => this.#held.get(id)!.key),
      };
      this.#held.clear();
      this.#peers.clear();
      return answer;
    });
  }

  /** Runs a phase once; after a failure none may follow. */
  async #step<T>(phase: Phase, next: Phase, work: () => Promise<T>): Promise<T> {
    if (this.#phase !== phase) {
      throw failure("bad-state", `the phase "${phase}" of masked round ${this.#round} came where "${this.#phase}" was due: leave the round out`);
    }
    this.#phase = "over";
    const result = await work();
    this.#phase = next;
    return result;
  }

  /** Checks all that is told of the peers and agrees with each; gives their ids. */
  async #meet(peers: Peers): Promise<bigint[]> {
    const { ids, encrypt, mask, signatures, identities, threshold } = peers;
    sideBySide("peers", ids, [encrypt, mask, signatures, identities]);
    const clients = ids.length + 1;
    if (!Number.isSafeInteger(threshold) || threshold > clients || 2 * threshold <= clients) {
      throw refused(`a threshold of ${threshold} for ${clients} clients: it has to be more than half of them, and no more than all`);
    }
    this.#threshold = threshold;
    // Every key serves one client and one purpose.
    const seen = new Set([hex(this.#encrypt.point), hex(this.#mask.point), this.#identity.pem]);
    for (const [index, id] of ids.entries()) {
      if (typeof id !== "bigint" || id < 0n || id >= MAX_ID) throw refused(`${String(id)} is no id of a node`);
      if (id === this.#id || this.#peers.has(id)) throw refused(`client ${id} is named twice among the peers`);
      const [sealing, masking, pem, signature] = [encrypt[index]!, mask[index]!, identities[index]!, signatures[index]!];
      const keys = [await publicKey(sealing, `client ${id}`), await publicKey(masking, `client ${id}`)] as const;
      if (typeof pem !== "string" || pem.length > MAX_PEM || !(signature instanceof Uint8Array) || signature.length > MAX_SIGNATURE) {
        throw refused(`the identity of client ${id} is none`);
      }
      for (const key of [hex(sealing), hex(masking), pem]) {
        if (seen.has(key)) throw refused(`client ${id} has a key that another client has, or the same one twice`);
        seen.add(key);
      }
      if (!(await this.#identity.verify(pem, signedKeys(this.#round, sealing, masking), signature))) {
        throw refused(`the keys of client ${id} are not signed by it for round ${this.#round}`);
      }
      this.#peers.set(id, {
        sealing: await agree(this.#encrypt.privateKey, keys[0]),
        masking: await agree(this.#mask.privateKey, keys[1]),
      });
    }
    return [...ids];
  }

  async #open(id: bigint, sealed: Uint8Array): Promise<Shares> {
    const info = purpose("shares", this.#round, id, this.#id);
    const plain = await open(this.#peers.get(id)!.sealing, info, sealed, 2 * SHARE_BYTES);
    if (!plain) throw refused(`the shares of client ${id} were not sealed for this client and round`);
    return { key: plain.slice(0, SHARE_BYTES), seed: plain.slice(SHARE_BYTES) };
  }

  #mustBeOthers(ids: bigint[]): void {
    for (const id of ids) {
      if (!this.#peers.has(id)) throw refused(`shares of ${id === this.#id ? "this client itself" : `a stranger, ${String(id)}`}`);
    }
    if (new Set(ids).size !== ids.length) throw refused("the shares of a client came twice");
  }

  #mustBeEnough(clients: number): void {
    if (clients < this.#threshold) throw refused(`${clients} clients are left, and below ${this.#threshold} nothing is given away`);
  }
}

/** Lists that belong together have to be as long as the ids, and those within the limit. */
function sideBySide(name: string, ids: unknown, others: unknown[]): void {
  if (!Array.isArray(ids) || ids.length < 1 || ids.length > MAX_PEERS) {
    throw refused(`the ids of ${name} have to be a list of 1 to ${MAX_PEERS}`);
  }
  if (others.some((list) => !Array.isArray(list) || list.length !== ids.length)) {
    throw refused(`the lists of ${name} are not all as long as the ids`);
  }
}
