import { failure } from "../errors.js";
import { VERSION, type FederationAsked as Asked, type FederationCall } from "../protocol.js";
import { ROUNDS, type RoundsHost } from "../rounds.js";
import type { EvalLog, Plan, TrainConfig } from "../types.js";
import { offerOf, withinBounds } from "./offer.js";
import { MAX_TERMS_BYTES, refuse, termsOf, type Terms } from "./terms.js";
import { serverAddress } from "./wire/address.js";
import type { FederationEvent, FederationOptions, Offer, Round } from "./types.js";

const OPTIONS = {
  trainer: "any",
  dataset: "any",
  eval_dataset: "any",
  bounds: "object",
  agree: "function",
  policy: "any",
  on_event: "function",
  signal: "signal",
} as const;

/**
 * A browser tab as one of those who train a model together, on Flower: the adapter comes, some steps are made on rows that
 * stay here, and what these changed goes back.
 */
export class Federation {
  readonly terms: Terms;
  /** What was agreed to. */
  readonly offer: Offer;
  readonly #host: RoundsHost;
  readonly #options: FederationOptions;
  readonly #of: FederationCall;
  readonly #plan: Plan;
  #has_left = false;

  private constructor(host: RoundsHost, of: FederationCall, options: FederationOptions, plan: Plan, offer: Offer) {
    this.#host = host;
    this.#of = of;
    this.#options = options;
    this.#plan = plan;
    this.offer = offer;
    this.terms = offer.terms;
  }

  /**
   * What a server asks of those who join, without joining: nothing but this file is asked for.
   *
   * @throws `federation-unreachable`, or `bad-option` naming the field that is not as it should be
   */
  static async terms(address: string, options: { signal?: AbortSignal } = {}): Promise<Terms> {
    return fetchTerms(serverAddress(address), options.signal);
  }

  /**
   * Prepares a run on one's rows, asks whether that is agreed to, and joins. A tab that was closed in the midst of a round goes on with
   * it: its key, its round and its steps are kept.
   *
   * @throws `bad-option` where the trainer's model was loaded otherwise than the terms say or they are beyond the bounds,
   * `cancelled` where it was not agreed to, and the codes that begin with `federation-`
   */
  static async join(address: string, options: FederationOptions): Promise<Federation> {
    const host: RoundsHost | undefined = Object(options?.trainer)[ROUNDS]?.();
    if (!host) throw refuse("Federation.join: trainer is not a Trainer of this package");
    if (host.version !== VERSION) throw failure("bad-state", `the page runs tabtune ${host.version} but its rounds ${VERSION}; reload the page`);
    host.check("Federation.join", options, OPTIONS);
    host.checkDataset("dataset", options.dataset);
    if (options.eval_dataset !== undefined) host.checkDataset("eval_dataset", options.eval_dataset);
    const base = serverAddress(address);
    const { signal, bounds = {}, policy } = options;
    const tell = telling(options);
    await host.unmetered(base, policy, (detail) => tell({ type: "waiting", detail }), signal);
    const terms = await fetchTerms(base, signal);
    withinBounds(terms, bounds);
    expectModel(host, terms);
    const plan = await host.prepare(options.dataset, options.eval_dataset, {
      ...trainOf(terms),
      run_name: runName(base),
      resume_from_checkpoint: true,
      ...(signal && { signal }),
    });
    const steps = plan.total_steps / terms.rounds;
    const of: FederationCall = { address: base, terms, rows: plan.train_rows, steps };
    const { layout, ...identity } = await host.ask("federation_open", of, { signal });
    const offer = offerOf(terms, { address: base, layout, steps, ...identity });
    withinBounds(terms, bounds, offer);
    if (options.agree && !(await options.agree(offer))) throw failure("cancelled", "the terms were not agreed to; nothing was sent");
    await host.ask("federation_join", of, { signal });
    tell({ type: "joined", detail: `${terms.name}, by ${terms.operator}`, fingerprint: offer.fingerprint });
    return new Federation(host, of, options, plan, offer);
  }

  /**
   * Takes part in rounds, one each time the caller asks for the next, until the last is over. Between them the server waits for
   * others. Aborting the signal throws `cancelled`, and joining again goes on.
   */
  async *rounds(): AsyncGenerator<Round, void, undefined> {
    while (!this.#has_left) {
      const asked = await this.#next();
      if (asked.type === "over") {
        await this.#host.ask("federation_take", this.#of, { signal: this.#options.signal });
        return;
      }
      if (asked.type === "evaluate") await this.#evaluate(asked);
      else yield await this.#train(asked);
    }
  }

  /** Tells the server that this tab takes part no longer. Its key is kept, so that it is known when it joins again. */
  async leave(): Promise<void> {
    if (this.#has_left) return;
    this.#has_left = true;
    await this.#host.ask("federation_leave", this.#of);
    await this.#host.end();
    this.#tell({ type: "left", detail: "what was learnt together so far stays in the trainer" });
  }

  #tell(event: FederationEvent): void {
    telling(this.#options)(event);
  }

  /** How a call is made that tells what happens meanwhile. */
  get #heard() {
    return { signal: this.#options.signal, report: (event: FederationEvent) => this.#tell(event) };
  }

  /** Waits for a connection that the policy allows. */
  async #affordable(): Promise<void> {
    const { policy, signal } = this.#options;
    await this.#host.unmetered(this.#of.address, policy, (detail) => this.#tell({ type: "waiting", detail }), signal);
  }

  async #next(): Promise<Asked> {
    await this.#affordable();
    return this.#host.ask("federation_next", this.#of, this.#heard);
  }

  async #train(asked: Extract<Asked, { type: "train" }>): Promise<Round> {
    const began = performance.now();
    const { signal, policy } = this.#options;
    const { number, rounds } = asked;
    const { steps } = this.#of;
    this.#tell({ type: "round", detail: `round ${number} of ${rounds}`, number, rounds, is_resumed: asked.is_begun });
    const { at } = await this.#host.ask("federation_begin", { ...this.#of, first: (number - 1) * steps }, { signal });
    this.#host.begunAt(at);
    const is_held_out = this.#plan.eval_rows > 0 && this.terms.evaluate;
    const before = is_held_out && !asked.is_begun ? (await this.#evaluation()).eval_loss : undefined;
    const losses = this.#lossesOf(number, at);
    const on_event = (event: Extract<FederationEvent, { type: "run" }>["event"]) => this.#tell({ type: "run", event });
    for await (const log of this.#host.steps(number * steps, { policy, on_event, signal })) {
      if ("eval_loss" in log) continue;
      losses.push(log.loss);
      this.#tell({ type: "step", log });
    }
    const train_loss = losses.reduce((sum, loss) => sum + loss, 0) / losses.length;
    const after = before !== undefined ? (await this.#evaluation()).eval_loss : losses.at(-1)!;
    await this.#affordable();
    const sent = await this.#host.ask("federation_send", { ...this.#of, train_loss, made: losses.length }, this.#heard);
    this.#tell({ type: "sent", detail: `what ${losses.length} steps changed`, number, bytes: sent.bytes_up });
    return {
      number,
      rounds,
      loss_before: before ?? losses[0]!,
      loss_after: after,
      is_held_out: before !== undefined,
      steps: losses.length,
      ...sent,
      seconds: (performance.now() - began) / 1000,
      next: number === rounds && !this.terms.evaluate ? "nobody" : "server",
    };
  }

  async #evaluate({ number }: Extract<Asked, { type: "evaluate" }>): Promise<void> {
    await this.#host.ask("federation_take", this.#of, { signal: this.#options.signal });
    const rows = this.#plan.eval_rows;
    const loss = rows > 0 ? (await this.#evaluation()).eval_loss : 0;
    await this.#host.ask("federation_told", { ...this.#of, held_out: rows, eval_loss: loss }, this.#heard);
    if (rows > 0) this.#tell({ type: "evaluated", detail: `what all have made of it, on ${rows} rows held out here`, number, loss, rows });
  }

  /** The losses of the steps of a round that a tab before this one has made, up to step `at`. */
  #lossesOf(number: number, at: number): number[] {
    const first = (number - 1) * this.#of.steps;
    const losses = new Map<number, number>();
    // An engine that was lost goes on from its last checkpoint by a plan of its own.
    const { resumed } = this.#options.trainer.plan ?? this.#plan;
    for (const line of resumed?.log ?? []) {
      // Where the server has asked for a round more than once, the last one counts.
      if (!("eval_loss" in line) && line.step > first && line.step <= at) losses.set(line.step, line.loss);
    }
    return [...losses.values()];
  }

  #evaluation(): Promise<EvalLog> {
    return this.#host.ask("evaluate", undefined, { signal: this.#options.signal });
  }
}

function telling({ on_event }: FederationOptions): (event: FederationEvent) => void {
  return (event) => on_event?.(event);
}

async function fetchTerms(base: string, signal: AbortSignal | undefined): Promise<Terms> {
  const file = `${base}/federation.json`;
  const unreachable = (why: unknown) =>
    failure("federation-unreachable", `${file} cannot be read (${String(why)}): is the address right, and the server running?`);
  const response = await fetch(file, { credentials: "omit", cache: "no-store", ...(signal && { signal }) }).catch((thrown: unknown) => {
    throw signal?.aborted ? failure("cancelled", "the caller asked to stop") : unreachable(thrown);
  });
  if (!response.ok) throw unreachable(`it answers ${response.status}`);
  const text = await response.text();
  if (text.length > MAX_TERMS_BYTES) throw refuse(`${file} has ${text.length} bytes, more than ${MAX_TERMS_BYTES}`);
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (thrown) {
    throw refuse(`${file} is not JSON: ${String(thrown)}`);
  }
  return termsOf(json);
}

/** The name that the run of the federation at an address is kept under, as `Trainer.checkpoints` and `Trainer.forget` take it. */
export function runName(address: string): string {
  return `federation ${serverAddress(address).replace(/^https?:\/\//, "")}`;
}

/** The options of a run over all rounds, of which each makes its part. */
function trainOf({ train, rounds }: Terms): TrainConfig {
  const { max_steps, num_train_epochs, ...others } = train;
  const all = max_steps ? { max_steps: max_steps * rounds } : { num_train_epochs: num_train_epochs! * rounds };
  return { lr_scheduler_type: "constant", save_steps: 1, save_total_limit: 2, ...others, ...all };
}

/** Throws unless the trainer's model was loaded as the terms say. */
function expectModel({ base, lora = {} }: RoundsHost, terms: Terms): void {
  if (base !== undefined && base !== terms.base_model_name_or_path) {
    throw refuse(`the federation trains ${terms.base_model_name_or_path}, and this trainer has ${base}: load the other one`);
  }
  const own = lora as Record<string, unknown>;
  for (const [name, wanted] of Object.entries(terms.lora)) {
    // Where products are averaged, ranks may differ.
    if (name === "r" && terms.aggregation === "flexlora") continue;
    const is_off = (value: unknown) => value === undefined || value === null || value === false;
    const is_same = JSON.stringify(own[name]) === JSON.stringify(wanted) || (is_off(own[name]) && is_off(wanted));
    if (!is_same) throw refuse(`lora.${name} is ${JSON.stringify(own[name])}, and the federation's is ${JSON.stringify(wanted)}: pass the terms' lora to Trainer.load`);
  }
}
