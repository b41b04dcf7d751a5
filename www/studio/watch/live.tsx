import { signal } from "@preact/signals";
import { render } from "preact";
import type { SampledStep } from "tabtune";
import { element } from "../ui/dom.js";

/** What the model is asked while it learns, and what it said before and says now. */
interface Live {
  question: string;
  before: string | undefined;
  now: string | undefined;
  /** The step of the latest answer. */
  step: number;
}

const live = signal<Live | undefined>(undefined);

/** A run begins that is asked this, or nothing. */
export function beginLive(question: string | undefined): void {
  live.value = question === undefined ? undefined : { question, before: undefined, now: undefined, step: 0 };
}

/** It was asked once more. Of several questions the first is shown. */
export function addLive({ step, samples }: SampledStep): void {
  const text = samples[0]?.text;
  if (!live.value || text == null) return;
  live.value = step === 0 ? { ...live.value, before: text } : { ...live.value, now: text, step };
}

/** Shows the answers before and now side by side, while the model learns. */
export function showLive(): void {
  render(<BeforeAndNow />, element("live"));
}

function BeforeAndNow() {
  if (!live.value) return null;
  const { question, before, now, step } = live.value;
  return (
    <>
      <p class="live-question">“{question}”</p>
      <div class="answers before-after">
        <Answer title="Before" text={before} waiting="It is asked before the first step." />
        <Answer title={step > 0 ? `Now, after step ${step.toLocaleString("en")}` : "Now"} text={now} waiting="It is asked again as it learns." />
      </div>
    </>
  );
}

function Answer({ title, text, waiting }: { title: string; text: string | undefined; waiting: string }) {
  return (
    <article>
      <h4>{title}</h4>
      <p class={text === undefined ? "answer idle" : "answer"}>{text ?? waiting}</p>
    </article>
  );
}
