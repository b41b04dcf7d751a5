// Who may join, where the terms name the nodes' keys.
import { Refusal } from "./refusals.mjs";

const ASK = "Ask the operator to add your node's public key to the terms, exactly as it is shown to you.";

/**
 * The enrolled nodes by their keys' PEM texts. Flower knows a node by the bytes of this text, so one key spelt in two ways would be two
 * nodes: only the spelling of OpenSSL is taken. That a request is really of the key it names, the SuperLink checks.
 */
export class Enrolment {
  #keys;

  /** @param {string[] | null} keys PEM texts; null where anyone may join. */
  constructor(keys) {
    this.#keys = keys && new Set(keys);
  }

  /** Refuses a call whose header `flwr-public-key` (base64 of a PEM text) names a key that is not enrolled. */
  check(header) {
    if (this.#keys && !this.#keys.has(Buffer.from(header, "base64").toString("latin1"))) {
      throw new Refusal("not-enrolled", "key", `This federation is open to enrolled nodes only. ${ASK}`);
    }
  }
}
