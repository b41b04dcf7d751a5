import type { Made } from "./made.js";
import { MaskedRound } from "./privacy/index.js";
import { floatOf, isBytes, isId, isText, listOf, numberOf, recordOf } from "./read.js";
import type { Content } from "./wire/content.js";
import { verify, type Identity } from "./wire/identity.js";
import type { Values } from "./wire/records.js";
import { failure } from "../errors.js";

/** What was made of a round, until the sum of all is known: nothing of it leaves without masks. */
export class Masks {
  readonly #number: number;
  readonly #made: Made;
  readonly #identity: Identity;
  readonly #id: bigint;
  #round: MaskedRound | undefined;
  #is_over = false;

  constructor(number: number, made: Made, identity: Identity, id: bigint) {
    this.#number = number;
    this.#made = made;
    this.#identity = identity;
    this.#id = id;
  }

  /** Whether the sum is unmasked, after which nothing is left to be asked. */
  get is_over(): boolean {
    return this.#is_over;
  }

  /** The answer to a phase of the protocol; see {@link MaskedRound}. */
  async answer(type: string, content: Content): Promise<Content> {
    const config = recordOf(content, "config", "config");
    const number = numberOf(config, "server-round", [1, this.#number]);
    if (number !== this.#number) throw failure("bad-state", `masks of round ${number} are asked for after round ${this.#number}`);
    if (type === "query.keys") {
      const { sign, pem } = { sign: this.#identity.sign.bind(this.#identity), pem: this.#identity.pem };
      this.#round = await MaskedRound.begin(number, this.#id, {
        pem,
        sign: (bytes) => sign(bytes as Uint8Array<ArrayBuffer>),
        verify: (pem, bytes, signature) => verify(pem, bytes as Uint8Array<ArrayBuffer>, signature),
      });
      return { keys: { config: { ...(await this.#round.keys()) } } };
    }
    const round = this.#round;
    if (!round) throw failure("bad-state", `${type} is asked before query.keys`);
    if (type === "query.shares") {
      const peers = recordOf(content, "peers", "config");
      const { ids, sealed } = await round.shares({
        ids: listOf(peers, "ids", isId),
        encrypt: listOf(peers, "encrypt", isBytes),
        mask: listOf(peers, "mask", isBytes),
        signatures: listOf(peers, "signatures", isBytes),
        identities: listOf(peers, "identities", isText),
        threshold: numberOf(peers, "threshold", [1, 1000]),
      });
      return { shares: { config: { ids, sealed } } };
    }
    if (type === "query.masked") {
      const shares = recordOf(content, "shares", "config");
      const fixed = {
        range: floatOf(config, "range"),
        scale: floatOf(config, "scale"),
        weight_cap: numberOf(config, "weight-cap", [1, 2 ** 31]),
      };
      const data = (await round.masked(sealedOf(shares), fixed, this.#made)) as Uint32Array<ArrayBuffer>;
      return { arrays: { arrays: { masked: { dtype: "uint32", shape: [data.length], data } } } };
    }
    if (type === "query.unmask") {
      const survivors = recordOf(content, "survivors", "config");
      const answer = await round.unmask({ ids: listOf(survivors, "ids", isId), dropped: listOf(survivors, "dropped", isId) });
      this.#is_over = true;
      return { unmask: { config: { ...answer } } };
    }
    throw failure("federation-protocol", `${type} is no question that this client knows`);
  }
}

function sealedOf(shares: Values): { ids: bigint[]; sealed: Uint8Array[] } {
  return { ids: listOf(shares, "ids", isId), sealed: listOf(shares, "sealed", isBytes) };
}
