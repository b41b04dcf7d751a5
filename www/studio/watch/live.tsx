import { signal } from "@preact/signals";
import { render } from "preact";
import type { SampledStep, SampleGrid } from "tabtune";
import { changedWords } from "./changed.js";

/** A question that a model is asked while it learns, and what it said before, last and now. */
export interface Asked {
  question: string;
  before: string | undefined;
  last: string | undefined;
  now: string | undefined;
  /** The step of the answer now. */
  step: number;
}

/** What the run is asked that goes on, or came to its end last. */
export const asked = signal<Asked[]>([]);

/** Its losses by step, and how many steps there are in all. */
export const losses = signal<{ points: [step: number, loss: number][]; total: number }>({ points: [], total: 1 });

/** Points that a small line has at most. */
const MOST_POINTS = 500;

/** A run begins that is asked these. */
export function beginLive(questions: string[]): void {
  asked.value = questions.map((question) => ({ question, before: undefined, last: undefined, now: undefined, step: 0 }));
  losses.value = { points: [], total: 1 };
}

/** It was asked once more. */
export function addLive({ step, samples }: SampledStep): void {
  asked.value = asked.value.map((one, index) => withAnswer(one, step, samples[index]?.text));
}

/** What a run was answered that goes on from a checkpoint. */
export function fillLive({ steps, texts }: SampleGrid): void {
  for (const [column, step] of steps.entries()) {
    asked.value = asked.value.map((one, row) => withAnswer(one, step, texts[row]?.[column] ?? undefined));
  }
}

/** A step's loss, of which a small line keeps no more than it can show. */
export function addLoss(step: number, loss: number, total: number): void {
  const earlier = losses.value.points.filter(([before]) => before < step);
  const kept = earlier.length < MOST_POINTS ? earlier : earlier.filter((_, place) => place % 2 === 0);
  losses.value = { points: [...kept, [step, loss]], total };
}

function withAnswer(one: Asked, step: number, text: string | undefined): Asked {
  if (text === undefined) return one;
  if (step === 0) return { ...one, before: text };
  return { ...one, last: one.now ?? one.before, now: text, step };
}

/** Shows the answers of the run before and now, side by side while the model learns. */
export function showLive(box: HTMLElement): void {
  render(<Answers />, box);
}

/** All questions of the run with their answers. */
export function Answers() {
  return (
    <>
      {asked.value.map((one) => (
        <BeforeAndNow key={one.question} {...one} />
      ))}
    </>
  );
}

/** A question with what the model said before it learnt, and what it says now. */
export function BeforeAndNow({ question, before, last, now, step, title }: Asked & { title?: string }) {
  const parts = now === undefined ? [] : changedWords(last ?? "", now);
  return (
    <section class="live-asked">
      <h4 class="live-question">“{question}”</h4>
      <div class="answers before-after">
        <article>
          <h5>Before</h5>
          <p class={before === undefined ? "answer idle" : "answer"}>{before ?? "It is asked before the first step."}</p>
        </article>
        <article>
          <h5>{title ?? (step > 0 ? `Now, after step ${step.toLocaleString("en")}` : "Now")}</h5>
          {now === undefined ? (
            <p class="answer idle">It is asked again as it learns.</p>
          ) : (
            <p class="answer">
              {parts.map(({ text, is_new }, place) =>
                is_new ? <New key={`${step} ${place}`} text={text} /> : <span key={place}>{text}</span>,
              )}
            </p>
          )}
        </article>
      </div>
    </section>
  );
}

/** Words that were not there in the answer before. */
function New({ text }: { text: string }) {
  const words = text.trimEnd();
  return (
    <>
      <mark class="new-words">{words}</mark>
      {text.slice(words.length)}
    </>
  );
}
