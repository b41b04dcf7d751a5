import { signal, type ReadonlySignal } from "@preact/signals";
import { render } from "preact";
import type { Outcome } from "../shell/busy.js";
import { element } from "../ui/dom.js";
import { duration } from "../ui/format.js";
import { Answers, asked, BeforeAndNow, beginLive, losses } from "../watch/live.js";
import type { Made } from "../watch/samples.js";
import type { Question } from "../work/question.js";
import { barOf, textOf } from "./mirror.js";
import { QUESTIONS } from "./questions.js";

/** Questions that are asked at once. Each costs time as often as it is asked. */
const MOST = 3;

/** How often the small model is asked, and how long its answers may be: those of its rows are shorter. */
const OFTEN: Made = { sample_steps: 0.1, sample_max_new_tokens: 28 };

/** How far the run of the one button is. */
type Phase = "before" | "running" | Outcome;

const phase = signal<Phase>("before");
const chosen = signal(QUESTIONS.slice(0, 2).map(({ text }) => text));
/** What the run took, in seconds. */
const took = signal(0);

/** The one button of the place Home: it trains the bundled model and shows its answers all the while. */
export class Trying {
  #begun = 0;

  constructor() {
    const seen: Seen = { status: textOf("status"), left: textOf("remaining"), device: textOf("device-found"), bar: barOf("progress") };
    render(<Try {...seen} />, element("live"));
  }

  /** What it is to be asked as it learns, and how often. */
  get asks(): { questions: Question[]; made: Made } {
    return { questions: wanted().map(({ text }) => ({ text, system: null, continues: false })), made: OFTEN };
  }

  /** Whether it was begun since the page was opened, and so has something to look at. */
  get has_begun(): boolean {
    return phase.value !== "before";
  }

  begin(): void {
    this.#begun = performance.now();
    // What the last run said is not this one's.
    beginLive([]);
    phase.value = "running";
  }

  ended(how: Outcome): void {
    took.value = (performance.now() - this.#begun) / 1000;
    phase.value = how;
  }
}

/** What was chosen; the first question where nothing was. */
function wanted(): typeof QUESTIONS {
  const found = QUESTIONS.filter(({ text }) => chosen.value.includes(text));
  return found.length > 0 ? found : QUESTIONS.slice(0, 1);
}

/** What other parts of the page tell of the run. */
interface Seen {
  status: ReadonlySignal<string>;
  left: ReadonlySignal<string>;
  device: ReadonlySignal<string>;
  bar: ReadonlySignal<number | undefined>;
}

function Try({ status, left, device, bar }: Seen) {
  const is_running = phase.value === "running";
  return (
    <>
      {phase.value === "before" && <Choosing summary="Ask it something else" />}
      {phase.value !== "before" && (
        <div class="going">
          {is_running && <progress max={100} value={bar.value} aria-label="How far it is" />}
          <p class="going-words">
            <span>{status}</span>
            {is_running && left.value !== "–" && <span class="soft">{left} left</span>}
            {phase.value === "done" && <span class="soft">It took {duration(took.value)}.</span>}
          </p>
          <LossLine />
        </div>
      )}
      {phase.value === "before" || asked.value.length === 0 ? <Example is_coming={is_running} /> : <Answers />}
      {phase.value === "before" && <p class="hint device-line">{device}</p>}
      {phase.value === "done" && <Next />}
      {!is_running && phase.value !== "before" && <Choosing summary="Ask it something else next time" />}
    </>
  );
}

/** What it can be asked, folded away: on a phone it would push out of sight what comes of it. */
function Choosing({ summary }: { summary: string }) {
  const choose = (text: string, is_chosen: boolean) => {
    const others = chosen.value.filter((other) => other !== text);
    chosen.value = is_chosen ? [...others, text] : others;
  };
  return (
    <details>
      <summary>{summary}</summary>
      <fieldset class="asks">
        <legend>Up to three of these, while it learns</legend>
        <div class="chips">
          {QUESTIONS.map(({ text }) => {
            const is_chosen = chosen.value.includes(text);
            return (
              <label key={text} class="chip">
                <input type="checkbox" checked={is_chosen} disabled={!is_chosen && chosen.value.length >= MOST} onChange={(event) => choose(text, event.currentTarget.checked)} />
                <span>{text}</span>
              </label>
            );
          })}
        </div>
      </fieldset>
    </details>
  );
}

/** What is going to be there, from another run, until this one has answers of its own. */
function Example({ is_coming }: { is_coming: boolean }) {
  return (
    <div class={is_coming ? "example" : "example is-still"}>
      {!is_coming && <p class="hint">This is what an earlier run came to. Yours is made here, now:</p>}
      {wanted().map(({ text, before, after }) => {
        const answers = is_coming ? { before: undefined, last: undefined, now: undefined, step: 0 } : { before, last: after, now: after, step: 0, title: "After" };
        return <BeforeAndNow key={text} question={text} {...answers} />;
      })}
    </div>
  );
}

/** The loss so far, as a small line. */
function LossLine() {
  const { points, total } = losses.value;
  const [first, last] = [points[0], points.at(-1)];
  if (!first || !last) return null;
  const highest = Math.max(...points.map(([, loss]) => loss));
  const path = points.map(([step, loss]) => `${((100 * step) / total).toFixed(2)},${(23 - (22 * loss) / highest).toFixed(2)}`).join(" ");
  return (
    <div class="loss-line">
      <svg viewBox="0 0 100 24" preserveAspectRatio="none" aria-hidden="true">
        <polyline points={path} />
      </svg>
      <p class="hint">
        Loss {first[1].toFixed(2)} → {last[1].toFixed(2)}: how far its words are from those of the rows.
      </p>
    </div>
  );
}

function Next() {
  return (
    <nav class="buttons" aria-label="What comes next">
      <a class="button primary" href="#chat">Talk to it</a>
      <a class="button quiet" href="#data">Teach it your own rows</a>
      <a class="button quiet" href="#library">Keep it, download it</a>
      <a href="#train">See its curves</a>
    </nav>
  );
}
