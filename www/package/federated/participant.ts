import { cancelled, detailsOf, failure, throwIfAborted } from "../errors.js";
import type { FederationAsked, FederationCall } from "../protocol.js";
import { sleep } from "../sleep.js";
import type { Layout, LayoutEntry } from "./offer.js";
import { valuesOf } from "./offer.js";
import { Masks } from "./masks.js";
import { deltaOf, type Made } from "./made.js";
import { adapterOf, numberOf, recordOf, refusalOf } from "./read.js";
import { roundStore, type KeptRound, type RoundStore } from "./store.js";
import type { FederationEvent } from "./types.js";
import type { Content } from "./wire/content.js";
import { Identity } from "./wire/identity.js";
import type { Answer, IncomingHead } from "./wire/message.js";
import { FleetNode, type Incoming } from "./wire/node.js";
import { idOf } from "./wire/objects.js";

/** What rounds have of an engine's session. */
export interface RoundSession {
  layout(): Promise<Layout & { step: number; total_steps: number }>;
  values(name: string): Promise<Float32Array>;
  set_values(name: string, values: Float32Array): Promise<void>;
  begin_at(step: number): Promise<{ error?: { message: string } } | undefined>;
  save_checkpoint(): Promise<unknown>;
}

/** What a call can do besides answering. */
interface Running<E> {
  report: (event: E) => void;
  signal: AbortSignal;
}

/** Seconds between two questions whether there is a message: few after one has come, as phases of masks follow at once. */
const POLL_SECONDS = { first: 0.5, last: 5, growth: 1.5 };
/** Seconds until a server that could not be reached is asked again. */
const RETRY_SECONDS = 3;
/** How often a node says that it is there. A hidden page may be woken once a minute. */
const HEARTBEAT_SECONDS = 300;
/** A server that does not answer is asked again after ever longer, up to this. */
const LONGEST_WAIT_SECONDS = 20;
/** How often a call is made again at once; after that the page hears of it. */
const RETRY = { tries: 3 };

/** A worker's half of a federation: who this browser is, what came, what was made of it, and what of that may leave. */
export class Participant {
  /** The SHA-256 of the public key, in hexadecimal digits. */
  readonly fingerprint: string;
  readonly #of: FederationCall;
  readonly #session: () => RoundSession;
  readonly #identity: Identity;
  readonly #store: RoundStore;
  readonly #layout: Layout;
  #joining: Promise<FleetNode> | undefined;
  /** The round that came last, until its answer is with the server. */
  #round: KeptRound | undefined;
  /** What was made of the round, where its sum is masked, until that is over. */
  #masks: Masks | undefined;
  /** The evaluation that was asked for. */
  #evaluation: IncomingHead | undefined;
  /** What all have made of it, until the run has it. */
  #made: Pick<KeptRound, "adapter" | "frozen"> | undefined;
  /** Counters of the node when the round came. */
  #counted = { up: 0, down: 0 };

  private constructor(of: FederationCall, session: () => RoundSession, known: Pick<Participant, "fingerprint" | "layout"> & { identity: Identity; store: RoundStore }) {
    const { identity, store, layout, fingerprint } = known;
    this.#of = of;
    this.fingerprint = fingerprint;
    this.#session = session;
    this.#identity = identity;
    this.#store = store;
    this.#layout = layout;
  }

  /** Knows what the prepared run exchanges, and takes up what a tab before this one was at. */
  static async open(of: FederationCall, session: () => RoundSession): Promise<Participant> {
    const identity = await Identity.of(of.address);
    const store = roundStore(of.address);
    const { learns, frozen } = await session().layout();
    const fingerprint = await idOf(new TextEncoder().encode(identity.pem));
    const participant = new Participant(of, session, { identity, store, layout: { learns, frozen }, fingerprint });
    const kept = await store.get();
    const is_of_this_run = kept?.adapter.length === valuesOf(learns) && (kept.frozen?.length ?? 0) === valuesOf(frozen);
    if (kept && is_of_this_run) participant.#round = kept;
    return participant;
  }

  get layout(): Layout {
    return this.#layout;
  }

  get public_key(): string {
    return this.#identity.pem;
  }

  async join(signal: AbortSignal): Promise<void> {
    await unlessAborted(this.#node(), signal);
  }

  /** Waits for what the server asks of the page, and answers by itself what does not concern it. */
  async next(running: Running<FederationEvent>): Promise<FederationAsked> {
    const { report, signal } = running;
    if (this.#round?.answer) await this.#push(this.#round, running);
    else if (this.#round) return this.#asked(this.#round, this.#round.is_begun);
    let seconds = POLL_SECONDS.first;
    for (let is_told = false; ; ) {
      const incoming = await persistently(() => this.#pull(), running);
      if (!incoming) {
        if (!is_told) report({ type: "waiting", detail: "the server has not asked for anything yet, or waits for others" });
        is_told = true;
        await sleep(seconds, signal);
        seconds = Math.min(seconds * POLL_SECONDS.growth, POLL_SECONDS.last);
        continue;
      }
      seconds = POLL_SECONDS.first;
      const asked = await this.#take(incoming, running).catch(async (thrown: unknown) => {
        throwIfAborted(signal);
        await this.#refuse(incoming, thrown, running);
        return undefined;
      });
      // It is answered now, or kept as a round.
      await this.#store.setHead(undefined);
      if (asked) return asked;
    }
  }

  /** Gives the run what came, unless a checkpoint of the run has it already. */
  async begin(first: number): Promise<{ at: number }> {
    const round = this.#expectRound();
    const session = this.#session();
    const { step } = await session.layout();
    // A run that has made no step of the round may be another one, begun after the kept one was deleted.
    if (round.is_begun && step > first && step <= first + this.#of.steps) return { at: step };
    await this.#write(round);
    const saved = await session.begin_at(first);
    // Without a checkpoint the round begins anew after a kill.
    round.is_begun = saved?.error === undefined;
    await this.#store.set(round);
    return { at: first };
  }

  /** Makes of a round's steps what may leave, keeps that, and sends it. */
  async send(
    made: { train_loss: number; steps: number },
    running: Running<FederationEvent>,
  ): Promise<{ bytes_up: number; bytes_down: number; is_counted: boolean }> {
    const round = this.#expectRound();
    const node = await this.#node();
    const { terms, rows } = this.#of;
    const trained: Made = { ...made, delta: await this.#delta(round), examples: terms.privacy.noise === "central" ? 1 : rows };
    const { content, residual, is_clipped } = await deltaOf(trained, terms, await this.#store.residual());
    if (is_clipped) running.report({ type: "clipped", detail: `what the steps changed was cut to a norm of ${terms.privacy.clip}, as the terms say` });
    if (terms.privacy.mask) this.#masks = new Masks(round.number, trained, this.#identity, node.node_id);
    round.answer = content;
    round.made_at = this.#identity.now();
    round.residual = residual;
    await this.#store.set(round);
    const is_counted = await this.#push(round, running);
    return { is_counted, bytes_up: node.bytes_sent - this.#counted.up, bytes_down: node.bytes_received - this.#counted.down };
  }

  /** Gives the run what all have made of it, and keeps that. */
  async take(): Promise<void> {
    if (!this.#made) throw failure("bad-state", "the server has sent nothing to take");
    await this.#write(this.#made);
    this.#made = undefined;
    await this.#session().save_checkpoint();
  }

  async told({ rows, eval_loss }: { rows: number; eval_loss: number }, running: Running<FederationEvent>): Promise<void> {
    const head = this.#evaluation;
    if (!head) throw failure("bad-state", "the server has asked for no evaluation");
    this.#evaluation = undefined;
    const metrics = { "num-examples": BigInt(rows), eval_loss };
    await this.#reply(head, { content: { metrics: { metrics } } }, running);
  }

  async leave(): Promise<void> {
    const joining = this.#joining;
    this.#joining = undefined;
    await (await joining)?.leave();
  }

  /** This browser as a node. An engine that takes the place of one that was lost enters anew, as the same node. */
  #node(): Promise<FleetNode> {
    const options = { identity: this.#identity, heartbeat_interval: HEARTBEAT_SECONDS, cache: this.#store.cache, max_bytes: this.#mostBytes() };
    this.#joining ??= FleetNode.join(this.#of.address, { ...options, retry: RETRY });
    this.#joining.catch(() => (this.#joining = undefined));
    return this.#joining;
  }

  async #reply(metadata: IncomingHead, answer: Answer, running: Running<FederationEvent>, made_at = this.#identity.now()): Promise<void> {
    await persistently(async () => (await this.#node()).reply({ metadata, made_at }, answer), running);
  }

  /** Asks for a message. What a tab before this one was told of is fetched first, because a server gives each message away once. */
  async #pull(): Promise<Incoming | undefined> {
    const node = await this.#node();
    const kept = await this.#store.head();
    try {
      return await this.#open(kept ?? (await node.receive()));
    } catch (thrown) {
      if (!kept || detailsOf(thrown).code !== "federation-unreachable") throw thrown;
      // A server that was started anew may never have what it has told of, and asks for something else.
      return this.#open(await node.receive());
    }
  }

  /** Fetches what a message carries; undefined where nobody waits for an answer any more. */
  async #open(head: IncomingHead | undefined): Promise<Incoming | undefined> {
    if (!head) return undefined;
    const node = await this.#node();
    await this.#store.setHead(head);
    try {
      const incoming = await node.open(head);
      await node.confirm(head);
      return incoming;
    } catch (thrown) {
      if (detailsOf(thrown).code === "federation-unreachable") throw thrown;
      await this.#store.setHead(undefined);
      if (detailsOf(thrown).code === "federation-expired") return undefined;
      throw thrown;
    }
  }

  /** The most bytes of a message: what is exchanged in 64 bits, with room for what comes along. */
  #mostBytes(): number {
    return 8 * (valuesOf(this.#layout.learns) + valuesOf(this.#layout.frozen)) + (4 << 20);
  }

  /** What a message asks of the page; undefined where it was answered at once. */
  async #take(incoming: Incoming, running: Running<FederationEvent>): Promise<FederationAsked | undefined> {
    const { metadata: head, type, content } = incoming;
    const { terms } = this.#of;
    if (type === "train") {
      const { number, steps } = this.#numbersOf(content);
      if (number === 0) throw failure("federation-protocol", "a round to train in has to have a number from 1");
      if (steps !== undefined && steps > this.#of.steps) {
        throw failure("bad-option", `${steps} local steps are asked for, and the terms say ${this.#of.steps}`);
      }
      const node = await this.#node();
      this.#counted = { up: node.bytes_sent, down: node.bytes_received - incoming.bytes };
      const { adapter, frozen } = this.#adapterOf(content);
      this.#round = { version: 1, head, number, adapter, frozen, is_begun: false, answer: undefined, made_at: undefined, residual: undefined };
      this.#masks = undefined;
      await this.#store.set(this.#round);
      return this.#asked(this.#round, false);
    }
    if (type === "evaluate") {
      if (!terms.evaluate) throw failure("bad-option", "an evaluation is asked for, and the terms say that there is none");
      this.#made = this.#adapterOf(content);
      this.#evaluation = head;
      return { type: "evaluate", number: this.#numbersOf(content).number, rounds: terms.rounds };
    }
    if (type === "query.done") this.#made = this.#adapterOf(content);
    await this.#reply(head, { content: await this.#answer(type, content) }, running);
    return type === "query.done" ? { type: "over" } : undefined;
  }

  /** The answer to a question that the page need not hear of. */
  async #answer(type: string, content: Content): Promise<Content> {
    if (type === "query.layout") return this.#described();
    if (type === "query.done") return { metrics: { metrics: { "num-examples": 0n } } };
    if (!this.#of.terms.privacy.mask) throw failure("bad-option", `${type} is asked, and the terms have no masks`);
    if (!this.#masks) throw failure("bad-state", `${type} is asked, and this tab has nothing that could be masked`);
    const answer = await this.#masks.answer(type, content);
    if (this.#masks.is_over) this.#masks = undefined;
    return answer;
  }

  #described(): Content {
    const columns = (entries: readonly LayoutEntry[], prefix: string) => ({
      [`${prefix}names`]: entries.map(({ name }) => name),
      [`${prefix}rows`]: entries.map(({ rows }) => BigInt(rows)),
      [`${prefix}cols`]: entries.map(({ cols }) => BigInt(cols)),
    });
    const { learns, frozen } = this.#layout;
    // Where sums are masked, nobody learns how many rows there are.
    const examples = this.#of.terms.privacy.mask ? 1 : this.#of.rows;
    return { layout: { config: { ...columns(learns, ""), ...columns(frozen, "frozen_"), "num-examples": BigInt(examples) } } };
  }

  #numbersOf(content: Content): { number: number; steps: number | undefined } {
    const config = recordOf(content, "config", "config");
    const number = numberOf(config, "server-round", [0, this.#of.terms.rounds]);
    const steps = config["local-steps"] === undefined ? undefined : numberOf(config, "local-steps", [1, 1e9]);
    return { number, steps };
  }

  #adapterOf(content: Content): { adapter: Float32Array; frozen: Float32Array | undefined } {
    const { learns, frozen } = this.#layout;
    return {
      adapter: adapterOf(content, "arrays", valuesOf(learns)),
      frozen: frozen.length > 0 ? adapterOf(content, "frozen", valuesOf(frozen)) : undefined,
    };
  }

  #asked({ number }: KeptRound, is_begun: boolean): FederationAsked {
    return { type: "train", number, rounds: this.#of.terms.rounds, is_begun };
  }

  #expectRound(): KeptRound {
    if (!this.#round) throw failure("bad-state", "no round is under way");
    return this.#round;
  }

  /** Gives every entry of the run its part of flat arrays. */
  async #write({ adapter, frozen }: Pick<KeptRound, "adapter" | "frozen">): Promise<void> {
    const write = async (entries: readonly LayoutEntry[], values: Float32Array) => {
      let at = 0;
      for (const { name, rows, cols } of entries) {
        await this.#session().set_values(name, values.subarray(at, at + rows * cols));
        at += rows * cols;
      }
    };
    await write(this.#layout.learns, adapter);
    if (frozen) await write(this.#layout.frozen, frozen);
  }

  /** What the steps changed, flat. */
  async #delta({ adapter }: KeptRound): Promise<Float32Array<ArrayBuffer>> {
    const delta = new Float32Array(adapter.length);
    let at = 0;
    for (const { name } of this.#layout.learns) {
      for (const value of await this.#session().values(name)) {
        delta[at] = value - adapter[at]!;
        at += 1;
      }
    }
    return delta;
  }

  /**
   * Sends what was made of a round, and says whether somebody waited for it; what encoding has lost is added to the next one
   * then.
   */
  async #push(round: KeptRound, running: Running<FederationEvent>): Promise<boolean> {
    let is_counted = false;
    try {
      await this.#reply(round.head, { content: round.answer! }, running, round.made_at);
      await this.#store.setResidual(round.residual);
      is_counted = true;
    } catch (thrown) {
      // Nobody waits for it any more; the server says what is next.
      if (detailsOf(thrown).code !== "federation-expired") throw thrown;
      running.report({ type: "refused", detail: `round ${round.number} came too late: ${detailsOf(thrown).message}`, code: "federation-expired" });
    }
    this.#round = undefined;
    await this.#store.set(undefined);
    return is_counted;
  }

  async #refuse({ metadata }: Incoming, thrown: unknown, running: Running<FederationEvent>): Promise<void> {
    const refusal = refusalOf(thrown);
    running.report({ type: "refused", detail: refusal.reason, code: refusal.known });
    try {
      await this.#reply(metadata, { failure: { code: refusal.code, reason: refusal.reason } }, running);
    } catch (thrown) {
      if (detailsOf(thrown).code !== "federation-expired") throw thrown;
    }
  }
}

/** Does `work` again and again while the server cannot be reached, and says so; until the caller asks to stop. */
async function persistently<T>(work: () => Promise<T>, { report, signal }: Running<FederationEvent>): Promise<T> {
  for (let seconds = RETRY_SECONDS; ; seconds = Math.min(2 * seconds, LONGEST_WAIT_SECONDS)) {
    try {
      return await unlessAborted(work(), signal);
    } catch (thrown) {
      const { code, message } = detailsOf(thrown);
      if (code !== "federation-unreachable" || signal.aborted) throw thrown;
      report({ type: "unreachable", detail: message, seconds });
      await sleep(seconds, signal);
    }
  }
}

/** What a promise gives, or `cancelled` where the caller asks to stop before; the work then goes on unheard. */
async function unlessAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  throwIfAborted(signal);
  promise.catch(() => {});
  let stop = () => {};
  const stopped = new Promise<never>((_, reject) => (stop = () => reject(cancelled())));
  signal.addEventListener("abort", stop);
  try {
    return await Promise.race([promise, stopped]);
  } finally {
    signal.removeEventListener("abort", stop);
  }
}
