// A client without a model, for tests of what the others do: it takes part with deltas that are functions of its number and the round.
import { termsOf } from "../../www/package/build/federated/terms.js";
import { Masks } from "../../www/package/build/federated/masks.js";
import { deltaOf } from "../../www/package/build/federated/made.js";
import { FleetNode, Identity, memoryIdentities } from "../../www/package/build/federated/wire/index.js";
import { setTimeout as sleep } from "node:timers/promises";

/** How many times as long as at first a client waits at most before it asks again. */
const LONGEST_POLLS = 3;

/** Values that look like a delta and are the same for the same number and round. */
export function playedDelta(size, number, round, scale = 0.01) {
  let state = (number * 7919 + round * 104_729 + 1) % 2_147_483_647;
  const delta = new Float32Array(size);
  for (let index = 0; index < size; index++) {
    state = (state * 48_271) % 2_147_483_647;
    delta[index] = scale * (state / 1_073_741_823.5 - 1);
  }
  return delta;
}

/** Does it again while the server is away, unless that was to be over; what it no longer waits for is nothing. */
async function persistently(work, isOver) {
  for (;;) {
    try {
      return await work();
    } catch (thrown) {
      if (thrown.code === "federation-expired" || isOver()) return undefined;
      if (thrown.code !== "federation-unreachable") throw thrown;
    }
  }
}

/** What a client answers where it is asked for its layout: matrices { name, rows, cols } that learn, and those that stay as they came. */
export function layoutOf(learns, frozen = []) {
  const columns = (entries, prefix) => ({
    [`${prefix}names`]: entries.map(({ name }) => name),
    [`${prefix}rows`]: entries.map(({ rows }) => BigInt(rows)),
    [`${prefix}cols`]: entries.map(({ cols }) => BigInt(cols)),
  });
  return { ...columns(learns, ""), ...columns(frozen, "frozen_") };
}

export class PlayedClient {
  /** What came with each round, by its number: the last of a number counts. */
  received = new Map();
  /** What came to be evaluated. */
  evaluated = new Map();
  /** Everything that was asked: { type, round, config, from }, with the ids of those whose shares came with it. */
  asked = [];
  over = false;

  /**
   * @param {object} of
   * `dies(type, round)` tells with which message the client is gone for good without a word, `leaves(type, round, client)` with which
   * one it says that it goes, to join again once `returns()` resolves, if there is that, and `skips(type, round)` which one it
   * leaves unanswered. It asks for messages every `poll_ms`, and ever less often while there is none. What comes is not kept where
   * `keeps` is false. `identity` is who joins, or someone new.
   */
  constructor({ terms, ...of }) {
    const never = () => false;
    const gone = { dies: never, leaves: never, returns: undefined, skips: never };
    const usual = { number: 1, examples: 10, poll_ms: 100, keeps: true, identity: undefined };
    Object.assign(this, gone, usual, of, { terms: termsOf(terms), residual: undefined });
  }

  async join() {
    this.identity ??= await Identity.of(this.base, memoryIdentities());
    this.node = await FleetNode.join(this.base, { identity: this.identity, heartbeat_interval: 300 });
  }

  /** Takes part until the last round is over, or until it dies. It joins unless it has. */
  async takePart() {
    if (!this.node) await this.join();
    let wait = this.poll_ms;
    while (!this.over) {
      const incoming = await persistently(() => this.node.pull(), () => this.over);
      if (!incoming) {
        await sleep(wait);
        wait = Math.min(1.5 * wait, LONGEST_POLLS * this.poll_ms);
        continue;
      }
      wait = this.poll_ms;
      const { type, content: given } = incoming;
      const config = given.config?.config ?? {};
      const round = Number(config["server-round"] ?? 0);
      this.asked.push({ type, round, config, from: given.shares?.config.ids });
      if (this.dies(type, round)) return;
      if (this.skips(type, round)) continue;
      if (this.leaves(type, round, this)) {
        await this.node.leave();
        if (!this.returns) return;
        await this.returns();
        await this.join();
        continue;
      }
      const content = await this.answer(incoming, round);
      await persistently(() => this.node.reply(incoming, { content }), () => this.over);
      this.over ||= type === "query.done";
    }
    await persistently(() => this.node.leave(), () => this.over);
  }

  async answer({ type, content }, round) {
    if (type === "query.layout") {
      // Where sums are masked, nobody learns how many rows there are.
      const examples = this.terms.privacy.mask ? 1 : this.examples;
      return { layout: { config: { ...this.layout, "num-examples": BigInt(examples) } } };
    }
    if (type === "query.done") return { metrics: { metrics: { "num-examples": 0n } } };
    if (type === "evaluate") {
      if (this.keeps) this.evaluated.set(round, content.arrays.arrays.adapter.data);
      return { metrics: { metrics: { "num-examples": 0n, eval_loss: 0 } } };
    }
    if (type === "train") {
      const adapter = content.arrays.arrays.adapter.data;
      if (this.keeps) this.received.set(round, adapter);
      const delta = playedDelta(adapter.length, this.number, round);
      const made = { delta, examples: this.examples, train_loss: 1, steps: 1 };
      const left = await deltaOf(made, this.terms, this.residual);
      this.residual = left.residual;
      this.masks = new Masks(round, made, this.identity, this.node.node_id);
      return left.content;
    }
    return this.masks.answer(type, content);
  }
}
