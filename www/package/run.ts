import { EngineGone, failure, TabtuneError, throwIfAborted } from "./errors.js";
import type { Companion, CompanionHost, Tell } from "./evaluation/host.js";
import { locks } from "./locks.js";
import { Guard, type Objection } from "./policy.js";
import { sleep } from "./sleep.js";
import type { EvalLog, Plan, RunEvent, RunPolicy, StepLog } from "./types.js";

/** A line of a run's log. */
export type Line = StepLog | EvalLog;

/** What a run asks of the trainer whose model it is. */
export interface RunHost extends CompanionHost {
  /** The next step; with `pipelined` the GPU may have the one after it already. */
  step(pipelined: boolean): Promise<StepLog | undefined>;
  evaluate(): Promise<EvalLog>;
  /** Saves a checkpoint; the logs of steps that had been on their way come with it. */
  save(): Promise<{ logs: StepLog[]; checkpoint: StepLog["checkpoint"] | null }>;
  /** Loads everything again after the device was lost. Returns where the run goes on. */
  restart(): Promise<Taken>;
}

/** Where a run is taken up. */
export interface Taken {
  /** The last step that is done. */
  step: number;
  /** Whether the evaluation after it is still to come. */
  owes_evaluation: boolean;
}

/** Where a run that was prepared is taken up. */
export function takenUp({ resumed }: Plan): Taken {
  const last = resumed?.log.at(-1);
  return { step: resumed?.step ?? 0, owes_evaluation: last !== undefined && "eval_due" in last && last.eval_due };
}

export interface RunSettings {
  /** The name under which checkpoints are kept; without one there are none. */
  name: string | undefined;
  policy: RunPolicy | undefined;
  on_event: ((event: RunEvent) => void) | undefined;
  signal: AbortSignal | undefined;
  can_restart: boolean;
  /** A processor that plays the GPU is under pressure by the training itself. */
  ignores_pressure: boolean;
  companion: Companion | undefined;
}

/** Waits before a lost device is asked for again; after the last the run stops. */
export const RESTART_SECONDS: readonly number[] = [1, 4, 16];

/** How far a run has been told, which outlives the loop: after an abort the caller may go on. */
export interface Told {
  /** The last step that the caller has seen. */
  last: number;
  /** The last step that the engine has made; after a restart it makes again some that were told. */
  at: number;
  /** The last step whose evaluation the caller has seen. */
  evaluated: number;
  /** Whether an evaluation comes before the next step. */
  owes_evaluation: boolean;
  /** Steps that ended while a checkpoint was saved, still to be told. */
  ready: StepLog[];
}

/** Nothing told yet of a run that is taken up. */
export function toldOf({ step, owes_evaluation }: Taken): Told {
  return { last: step, at: step, evaluated: owes_evaluation ? step - 1 : step, owes_evaluation, ready: [] };
}

/** Another engine goes on where its checkpoint is: what was told of a run stays told. */
export function takeUp(told: Told, { step, owes_evaluation }: Taken): void {
  told.ready.length = 0;
  told.at = step;
  told.owes_evaluation = owes_evaluation;
}

/** The loop of a run: its steps, and whatever a browser tab does to it. */
export class Run {
  readonly #host: RunHost;
  readonly #settings: RunSettings;
  /** Where the lines go beside the caller: to tabs that watch. */
  readonly #channel: BroadcastChannel | undefined;
  readonly #told: Told;
  #paused: { until: Promise<void>; end(): void } | undefined;
  /** The save that is under way. A step that was asked for meanwhile would be told before those that come with it. */
  #saving: Promise<void> | undefined;
  /** Restarts since the last step that came through. */
  #restarts = 0;
  #is_restarting = false;
  #is_over = false;

  constructor(host: RunHost, settings: RunSettings, told: Told) {
    this.#host = host;
    this.#settings = settings;
    this.#told = told;
    if (settings.name !== undefined) this.#channel = new BroadcastChannel(nameOf(settings.name));
  }

  /** Lets no step begin until {@link resume}; what was done so far is saved at once. */
  async pause(): Promise<void> {
    if (this.#paused) return;
    let end = () => {};
    const until = new Promise<void>((resolve) => (end = resolve));
    this.#paused = { until, end };
    await this.#save();
    // Meanwhile it may have been resumed.
    if (this.#paused?.until === until) this.#tell({ type: "paused", reason: "asked" });
  }

  resume(): void {
    if (!this.#paused) return;
    this.#paused.end();
    this.#paused = undefined;
    this.#tell({ type: "continued" });
  }

  /** The lines of the run, until its last step. */
  async *lines(): AsyncGenerator<Line, void, undefined> {
    const { policy, signal, ignores_pressure, companion } = this.#settings;
    const guard = policy && (await Guard.start(policy, ignores_pressure));
    const page = watchPage((hidden) => this.#shown(hidden));
    const unpause = () => this.#paused?.end();
    signal?.addEventListener("abort", unpause);
    const pipelined = !policy || policy.duty_cycle === 1;
    const told = this.#told;
    const tell: Tell = (event) => this.#tell(event);
    try {
      if (guard) this.#tell({ type: "policy", detail: described(guard, ignores_pressure) });
      this.#tell({ type: told.last > 0 ? "resumed" : "started" });
      while (true) {
        throwIfAborted(signal);
        if (policy && guard) await this.#restWhile(policy, guard);
        await this.#saving;
        // Whoever paused it meanwhile, during a rest too, is waited for.
        if (this.#paused) {
          await this.#paused.until;
          continue;
        }
        let line: Line | undefined;
        try {
          const is_here = told.at === told.last && told.ready.length === 0 && !told.owes_evaluation;
          if (is_here) await companion?.between(this.#host, told.last, tell);
          if (is_here && companion?.stops) await this.#save();
          else line = told.ready.shift() ?? (await this.#next(pipelined && !companion?.waits(told.at + 1)));
          if (!line) await companion?.end(this.#host, told.last, tell);
        } catch (thrown) {
          const is_lost = thrown instanceof TabtuneError && thrown.code === "device-lost";
          if (!is_lost || !this.#settings.can_restart) throw thrown;
          await this.#restart(thrown);
          continue;
        }
        if (!line) break;
        if ("eval_loss" in line) {
          told.owes_evaluation = false;
          if (line.step <= told.evaluated) continue;
          told.evaluated = line.step;
          companion?.evaluated(line);
          this.#publish(line);
          yield line;
          continue;
        }
        guard?.stepped(line.step_millis);
        told.at = line.rewound_to ?? line.step;
        told.owes_evaluation = line.eval_due && line.rewound_to === undefined;
        // After a restart some steps are done again, to the same numbers.
        if (line.step > told.last || line.rewound_to !== undefined) {
          this.#restarts = 0;
          told.last = line.step;
          this.#note(line);
          this.#publish(line);
          yield line;
        }
        // A slow GPU that is let cool is faster in the end than one that throttles.
        if (policy && !pipelined) await sleep((line.step_millis / 1000) * (1 / policy.duty_cycle - 1), signal);
      }
      this.#end({ type: "finished" });
    } catch (thrown) {
      const { code, message } = thrown instanceof TabtuneError ? thrown : failure("internal", String(thrown));
      // Whoever stops a run may want to go on with it tomorrow.
      if (code === "cancelled") await this.#save().catch(() => {});
      this.#end({ type: "stopped", reason: code, detail: message });
      throw thrown;
    } finally {
      this.#end({ type: "stopped", reason: "left" });
      signal?.removeEventListener("abort", unpause);
      page.end();
      guard?.end();
      this.#channel?.close();
    }
  }

  /** The next line, as the engine has it. */
  #next(pipelined: boolean): Promise<Line | undefined> {
    return this.#told.owes_evaluation ? this.#host.evaluate() : this.#host.step(pipelined);
  }

  /** Told once of each long silence of the engine. */
  silent(seconds: number): void {
    const detail = `the engine has not answered for ${Math.round(seconds)} s; stopping ends it and keeps what was saved`;
    this.#tell({ type: "unresponsive", reason: "silent", detail, seconds });
  }

  /** Whether the engine is being asked for again. */
  get is_restarting(): boolean {
    return this.#is_restarting;
  }

  /** Asks for the device again, a few times at most. */
  async #restart(cause: TabtuneError): Promise<void> {
    this.#is_restarting = true;
    try {
      await this.#tryAgain(cause);
    } finally {
      this.#is_restarting = false;
    }
  }

  async #tryAgain(cause: TabtuneError): Promise<void> {
    let error = cause;
    while (this.#restarts < RESTART_SECONDS.length) {
      const seconds = RESTART_SECONDS[this.#restarts++]!;
      const lost =
        error instanceof EngineGone
          ? ({ type: "unresponsive", reason: "ended" } as const)
          : ({ type: "device-lost" } as const);
      this.#tell({ ...lost, detail: error.message, seconds });
      await sleep(seconds, this.#settings.signal);
      try {
        const { step, owes_evaluation } = await this.#host.restart();
        takeUp(this.#told, { step, owes_evaluation });
        this.#tell({ type: "recovered", detail: `the run goes on after step ${step}` });
        return;
      } catch (thrown) {
        if (!isOfLostDevice(thrown)) throw thrown;
        error = thrown;
      }
    }
    const kept = this.#settings.name === undefined ? "" : "; what was saved can be resumed";
    throw failure("device-lost", `the device was lost ${RESTART_SECONDS.length + 1} times in a row (${error.message})${kept}`);
  }

  /** Rests as long as the policy objects; the state is saved first, in case that nobody comes back. */
  async #restWhile(policy: RunPolicy, guard: Guard): Promise<void> {
    let objection: Objection | undefined = guard.objection();
    if (!objection) return;
    await this.#save();
    while (objection) {
      this.#tell({ type: "resting", ...objection, seconds: policy.rest_seconds });
      await sleep(policy.rest_seconds, this.#settings.signal);
      await this.#paused?.until;
      guard.rested();
      objection = guard.objection();
    }
    this.#tell({ type: "rested" });
  }

  /** Saves what was learnt so far. While there is no engine to ask, the last checkpoint is all there is. */
  async #save(): Promise<void> {
    if (this.#is_restarting) return;
    const saving = this.#saveNow();
    this.#saving = saving.catch(() => {});
    await saving;
  }

  async #saveNow(): Promise<void> {
    try {
      const { logs, checkpoint } = await this.#host.save();
      this.#told.ready.push(...logs);
      if (checkpoint) this.#noteCheckpoint(checkpoint);
    } catch (thrown) {
      // A lost device shows at the next step too, and is dealt with there.
      if (!(thrown instanceof TabtuneError) || thrown.code !== "device-lost") throw thrown;
    }
  }

  /** A hidden page may never come back, so it saves; it goes on at the pace that the browser gives it. */
  #shown(hidden: boolean): void {
    this.#tell({ type: hidden ? "hidden" : "visible" });
    if (hidden) this.#save().catch(() => {});
  }

  #note(log: StepLog): void {
    if (log.notice) this.#tell({ type: "notice", reason: log.notice.code, detail: log.notice.message });
    if (log.checkpoint) this.#noteCheckpoint(log.checkpoint);
    if (log.skipped) {
      const { step, loss, grad_norm, projected_grad: slope } = log;
      const how = slope === undefined ? `the gradient's norm ${grad_norm}` : `its slope ${slope}`;
      this.#tell({ type: "skipped", reason: "not-finite", detail: `step ${step} was not applied: the loss is ${loss}, ${how}` });
    }
    if (log.rewound_to !== undefined) {
      this.#told.ready.length = 0;
      this.#settings.companion?.rewound(log.rewound_to);
      this.#told.evaluated = Math.min(this.#told.evaluated, log.rewound_to);
      const detail = `back to step ${log.rewound_to} with half the learning rate`;
      this.#tell({ type: "rewound", reason: "not-finite", detail });
      this.#told.last = log.rewound_to;
    }
  }

  #noteCheckpoint({ step, error, cleared }: NonNullable<StepLog["checkpoint"]>): void {
    if (cleared) this.#tell({ type: "storage-cleared", detail: "the browser has removed the checkpoints before this one" });
    if (error) this.#tell({ type: "checkpoint-failed", reason: error.code, detail: error.message });
    else this.#tell({ type: "checkpoint", detail: `up to step ${step}` });
  }

  /** The last event of the run, unless there was one. */
  #end(event: Omit<RunEvent, "time" | "step">): void {
    this.#tell(event);
    this.#is_over = true;
  }

  #tell(event: Omit<RunEvent, "time" | "step">): void {
    if (this.#is_over) return;
    const told = { ...event, time: Date.now(), step: this.#told.last };
    this.#settings.on_event?.(told);
    this.#channel?.postMessage({ event: told } satisfies Broadcast);
  }

  #publish(line: Line): void {
    this.#channel?.postMessage({ line } satisfies Broadcast);
  }
}

/** What a tab that has the run tells those that watch it. */
export type Broadcast = { line: Line } | { event: RunEvent };

/** The name of the lock that the tab with the run holds, and of the channel on which it tells of it. */
export function nameOf(run_name: string): string {
  return `tabtune-run:${run_name}`;
}

/** The lines of a run that another tab has, from now until it ends. */
export async function* watched(
  run_name: string,
  on_event: ((event: RunEvent) => void) | undefined,
  signal: AbortSignal | undefined,
): AsyncGenerator<Line, void, undefined> {
  const channel = new BroadcastChannel(nameOf(run_name));
  const lines: Line[] = [];
  let over = false;
  let wake = () => {};
  channel.onmessage = ({ data }: MessageEvent<Broadcast>) => {
    if ("line" in data) lines.push(data.line);
    else {
      on_event?.(data.event);
      over ||= data.event.type === "finished" || data.event.type === "stopped";
    }
    wake();
  };
  const aborted = () => wake();
  signal?.addEventListener("abort", aborted);
  // A tab that was closed says nothing, but lets go of its lock.
  const left = new AbortController();
  locks()
    .request(nameOf(run_name), { mode: "shared", signal: left.signal }, () => {
      over = true;
      wake();
    })
    .catch(() => {});
  try {
    while (true) {
      throwIfAborted(signal);
      const line = lines.shift();
      if (line) yield line;
      else if (over) return;
      else await new Promise<void>((resolve) => (wake = resolve));
    }
  } finally {
    left.abort();
    signal?.removeEventListener("abort", aborted);
    channel.close();
  }
}

/** Whether a failure may be gone when the device is back. */
export function isOfLostDevice(thrown: unknown): thrown is TabtuneError {
  return thrown instanceof TabtuneError && RETRIED.includes(thrown.code);
}

const RETRIED: readonly string[] = ["device-lost", "webgpu-unavailable"];

/** Tells when the page is hidden or shown, and keeps the screen awake while it is visible. */
function watchPage(shown: (hidden: boolean) => void): { end(): void } {
  if (typeof document === "undefined") return { end() {} };
  let lock: { release(): Promise<void> } | undefined;
  let over = false;
  const wake = async () => {
    if (document.hidden) return;
    // A refusal (low battery, no permission) leaves things as they are.
    const held = await (navigator as { wakeLock?: { request(type: string): Promise<typeof lock> } }).wakeLock
      ?.request("screen")
      .catch(() => undefined);
    if (over) void held?.release();
    else lock = held;
  };
  const changed = () => {
    shown(document.hidden);
    void wake();
  };
  const leaving = () => shown(true);
  document.addEventListener("visibilitychange", changed);
  addEventListener("pagehide", leaving);
  void wake();
  return {
    end() {
      over = true;
      document.removeEventListener("visibilitychange", changed);
      removeEventListener("pagehide", leaving);
      void lock?.release();
    },
  };
}

function described(guard: Guard, ignores_pressure: boolean): string {
  const names = { battery: "battery", network: "kind of connection", pressure: "pressure" };
  const said = (wanted: boolean) =>
    Object.entries(guard.signals)
      .filter(([name, is_there]) => is_there === wanted && !(ignores_pressure && name === "pressure"))
      .map(([name]) => names[name as keyof typeof names]);
  const missing = said(false);
  const known = [...said(true), "speed of the steps"].join(", ");
  const untold = missing.length > 0 ? `; this browser does not tell: ${missing.join(", ")}` : "";
  const ignored = ignores_pressure ? "; not at pressure, which a run without a GPU causes itself" : "";
  return `looks at: ${known}${untold}${ignored}`;
}
