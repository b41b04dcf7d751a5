import type { EvalLog, Plan, RunEvent, StepLog } from "tabtune";
import type { Chart } from "./chart.js";
import { element, make, say, write } from "../ui/dom.js";
import { title } from "../shell/title.js";
import { bytes, count, duration } from "../ui/format.js";
import type { RewardChart } from "./reward-chart.js";
import type { Timeline } from "./timeline.js";
import { noticeWords } from "../shell/words.js";

/** How a run goes: status, tiles, curve and timeline. */
export class Progress {
  readonly #chart: Chart;
  readonly #rewards: RewardChart;
  readonly #timeline: Timeline;
  #countdown: ReturnType<typeof setInterval> | undefined;
  /** The last step that was told. */
  #step = 0;
  /** Whether it was asked to stop, so that a step that still ends changes no words. */
  #is_stopping = false;

  constructor(chart: Chart, rewards: RewardChart, timeline: Timeline) {
    this.#chart = chart;
    this.#rewards = rewards;
    this.#timeline = timeline;
  }

  clear(): void {
    for (const id of ["loss", "heldout-loss", "speed", "remaining", "memory"]) write(id, "–");
    write("report", "");
    element("notices").replaceChildren();
    this.#chart.clear();
    this.#rewards.clear();
    this.#timeline.clear();
    this.#step = 0;
    this.going();
    this.percent(0);
    this.stopCounting();
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

  /** A run that is about to begin, or to go on where its log ends. */
  plan({ dataset, total_steps, peak_gpu_bytes, eval_rows, notices, resumed }: Plan): void {
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
    this.begin(total_steps);
    for (const line of resumed?.log ?? []) this.line(line);
  }

  begin(total_steps: number): void {
    this.#chart.begin(total_steps);
    this.#rewards.begin(total_steps);
    this.#timeline.begin(total_steps);
  }

  line(line: StepLog | EvalLog): void {
    if ("eval_loss" in line) this.heldout(line);
    else this.#stepped(line);
  }

  heldout({ step, eval_loss }: Pick<EvalLog, "step" | "eval_loss">): void {
    write("heldout-loss", eval_loss.toFixed(3));
    this.#chart.addHeldout(step, eval_loss);
  }

  event(event: RunEvent): void {
    this.#timeline.add(event);
    this.stopCounting();
    if (event.type === "paused") say(`Paused after step ${event.step}. What was learnt is saved.`);
    if (event.type === "continued" || event.type === "rested") say("Going on…");
    if (event.type === "resting") this.#count(`Resting because ${event.detail}.`, "Looks again", event.seconds ?? 0);
    if (event.type === "device-lost") this.#count("What computes was lost.", "It is asked for again", event.seconds ?? 0);
    if (event.type === "recovered") say(`The engine is back: ${event.detail}.`);
    if (event.type === "notice" && event.detail) this.#notice(event.detail);
    if (event.type === "unresponsive" && event.reason === "ended") this.#count("The engine has ended.", "It is started again", event.seconds ?? 0);
    else if (event.type === "unresponsive") say("The engine does not answer. “Stop” ends it; what was saved stays.");
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
    write("remaining", duration(log.remaining_seconds));
    write("memory", bytes(log.peak_gpu_bytes));
    const step = log.rewound_to ?? log.step;
    const percent = (100 * step) / log.total_steps;
    this.percent(percent);
    title.percent = percent;
    if (!log.skipped) {
      this.#chart.addLoss(step, log.loss);
      this.#rewards.add(step, log);
    }
    if (log.rewound_to !== undefined) for (const chart of [this.#chart, this.#rewards]) chart.goBack(step);
    this.#timeline.reach(step);
  }
}
