import type { EvalLog, Plan, RunEvent, StepLog } from "tabtune";
import { element, make, say, write } from "../ui/dom.js";
import type { Outcome } from "../shell/busy.js";
import { tellUndone } from "../shell/errors.js";
import { title } from "../shell/title.js";
import { noticeWords } from "../shell/words.js";
import { bytes, count, duration } from "../ui/format.js";
import type { Curves } from "./curves.js";
import { addLoss } from "./live.js";
import type { Machine } from "./machine.js";
import type { Other } from "./others.js";
import { Remaining, type Pauses } from "./remaining.js";
import type { RewardChart } from "./reward-chart.js";
import type { Telling } from "./telling.js";
import type { Timeline } from "./timeline.js";

/** What is shown of a run beside its status and tiles. */
export interface Parts {
  curves: Curves;
  rewards: RewardChart;
  timeline: Timeline;
  machine: Machine;
  telling: Telling;
}

const NO_PAUSES: Pauses = { eval_steps: undefined, sample_steps: undefined };

/** How a run goes: status, tiles, curves and timeline. */
export class Progress {
  readonly #parts: Parts;
  #countdown: ReturnType<typeof setInterval> | undefined;
  #remaining = new Remaining(NO_PAUSES);
  /** The last step that was told. */
  #step = 0;
  /** Whether it was asked to stop, so that a step that still ends changes no words. */
  #is_stopping = false;

  constructor(parts: Parts) {
    this.#parts = parts;
  }

  clear(): void {
    for (const id of ["loss", "heldout-loss", "speed", "remaining", "memory"]) write(id, "–");
    write("report", "");
    element("notices").replaceChildren();
    for (const part of [this.#parts.curves, this.#parts.rewards, this.#parts.timeline, this.#parts.machine]) part.clear();
    this.#step = 0;
    this.going();
    this.percent(0);
    this.stopCounting();
  }

  /** What was learnt earlier is opened: its curves are shown, if they are kept. */
  opened(run: Other): void {
    void this.#parts.curves.open(run);
  }

  percent(percent: number): void {
    element<HTMLProgressElement>("progress").value = percent;
  }

  /** Work whose end cannot be told: the bar only says that it goes on. */
  working(words: string): void {
    if (!this.#is_stopping) say(words);
    element("progress").removeAttribute("value");
  }

  /** Work begins, so that words hold again. */
  going(): void {
    this.#is_stopping = false;
  }

  /** It was asked to stop; a step that has begun is done first. */
  stopping(is_in_step: boolean): void {
    this.#is_stopping = true;
    this.stopCounting();
    say(is_in_step ? `Finishing step ${(this.#step + 1).toLocaleString("en")}…` : "Stopping…");
  }

  /** A run that is about to begin, or to go on where its log ends; without a name its curves are not kept. */
  plan({ dataset, total_steps, peak_gpu_bytes, eval_rows, notices, resumed }: Plan, run?: Other, pauses = NO_PAUSES): void {
    const { rows, kept, truncated, dropped, tokens } = dataset;
    const used = kept === rows ? count(rows, "row") : `${kept.toLocaleString("en")} of ${count(rows, "row")}`;
    const notes = [used, count(tokens, "token"), count(total_steps, "step")];
    if (truncated) notes.push(`${count(truncated, "row")} cut to the longest length`);
    if (dropped) notes.push(`${count(dropped, "row")} left out: nothing to learn in ${dropped === 1 ? "it" : "them"}`);
    if (eval_rows) notes.push(`${count(eval_rows, "row")} held out`);
    write("report", notes.join(" · "));
    for (const notice of [...notices, ...dataset.notices]) this.#notice(noticeWords(notice));
    write("memory", bytes(peak_gpu_bytes));
    this.percent(0);
    this.begin(total_steps, run);
    this.#remaining = new Remaining(pauses);
    for (const line of resumed?.log ?? []) this.line(line);
    this.#remaining.waited();
    if (run) void this.#parts.machine.begin();
  }

  begin(total_steps: number, run?: Other): void {
    this.#parts.curves.begin(total_steps, run);
    this.#parts.rewards.begin(total_steps);
    this.#parts.timeline.begin(total_steps);
  }

  line(line: StepLog | EvalLog): void {
    this.#remaining.line(line);
    if ("eval_loss" in line) this.heldout(line);
    else this.#stepped(line);
  }

  heldout({ step, eval_loss }: Pick<EvalLog, "step" | "eval_loss">): void {
    write("heldout-loss", eval_loss.toFixed(3));
    this.#parts.curves.addHeldout(step, eval_loss);
  }

  event(event: RunEvent): void {
    this.#parts.timeline.add(event);
    this.stopCounting();
    if (event.type === "sampled") this.#remaining.sampled();
    // Rests and losses are nothing that comes again with every so many steps.
    else if (event.type !== "checkpoint") this.#remaining.waited();
    if (event.type === "paused") say(`Paused after step ${event.step}. What was learnt is saved.`);
    if (event.type === "continued" || event.type === "rested") say("Going on…");
    if (event.type === "resting") {
      const words = `Resting because ${event.detail}.`;
      this.#count(words, "Looks again", event.seconds ?? 0);
      this.#parts.telling.tell(words);
    }
    if (event.type === "device-lost") this.#count("What computes was lost.", "It is asked for again", event.seconds ?? 0);
    if (event.type === "recovered") say(`The engine is back: ${event.detail}.`);
    if (event.type === "notice" && event.detail) this.#notice(event.detail);
    if (event.type === "unresponsive" && event.reason === "ended") this.#count("The engine has ended.", "It is started again", event.seconds ?? 0);
    else if (event.type === "unresponsive") say("The engine does not answer. “Stop” ends it; what was saved stays.");
  }

  /** The work is over. */
  ended(how: Outcome): void {
    if (how !== "done") tellUndone(how);
    if (how !== "done") this.percent(0);
    this.#parts.machine.end();
    title.percent = undefined;
    const words = how === "failed" ? element("error-hint").textContent : element("status").textContent;
    if (how !== "stopped") this.#parts.telling.tell(words || "Done.");
  }

  /** Something worth knowing of the run, which stays to be read. */
  #notice(message: string): void {
    element("notices").append(make("li", "", message));
  }

  stopCounting(): void {
    clearInterval(this.#countdown);
    write("countdown", "");
  }

  /** Why it waits is read out once; the seconds beside it are for the eye alone. */
  #count(status: string, next: string, seconds: number): void {
    say(status);
    const until = Date.now() + 1000 * seconds;
    const tell = () => write("countdown", `${next} in ${Math.max(0, Math.ceil((until - Date.now()) / 1000))} s.`);
    tell();
    this.#countdown = setInterval(tell, 1000);
  }

  #stepped(log: StepLog): void {
    this.#step = log.step;
    if (!this.#is_stopping) write("status", `Step ${log.step} of ${log.total_steps}`);
    // What is not finite did not count, and has no place on the curve.
    write("loss", log.skipped ? "–" : log.loss.toFixed(3));
    write("speed", Math.round(log.tokens_per_second).toLocaleString("en"));
    write("remaining", duration(this.#remaining.after(log)));
    write("memory", bytes(log.peak_gpu_bytes));
    const step = log.rewound_to ?? log.step;
    const percent = (100 * step) / log.total_steps;
    this.percent(percent);
    title.percent = percent;
    this.#parts.curves.add(log);
    if (!log.skipped) {
      this.#parts.rewards.add(step, log);
      addLoss(step, log.loss, log.total_steps);
    }
    if (log.rewound_to !== undefined) this.#parts.rewards.goBack(step);
    this.#parts.timeline.reach(step);
  }
}
