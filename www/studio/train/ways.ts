import { Trainer, type ComparedWay, type DeviceName, type LoraConfig, type WayName } from "tabtune";
import { element, make, show, write } from "../ui/dom.js";
import { bytes, count } from "../ui/format.js";
import type { Model } from "./model.js";
import type { Config } from "./settings.js";

/** What the ways are compared for. */
export interface Comparison {
  model: Model;
  config: Config;
  /** The adapter as the form has it, whatever is trained. */
  lora: LoraConfig;
  device: DeviceName;
  /** What a run takes with the settings as they stand. */
  peak: number;
}

/** Options that change nothing of what the ways take, and those that make a way. */
const WEIGHTLESS: ReadonlySet<string> = new Set(["max_steps", "learning_rate", "seed", "eval_steps", "test_size", "finetuning_type", "optim"]);

/** A bar of the picture. */
export interface Bar {
  words: string;
  bytes: number;
  is_chosen: boolean;
}

/** The bars, from the shortest. What was chosen is among them; `peak` is what it takes. */
export function barsOf(ways: readonly ComparedWay[], config: Config, peak: number): Bar[] {
  const can = (name: WayName) => ways.some(({ way, footprint }) => way === name && footprint);
  // What is quantised in its files stays in its own bits.
  const keeps_bits = can("lora") && !can("qlora");
  const chosen = wordsOf(config, keeps_bits);
  const bars = ways.flatMap(({ options, footprint }) => {
    return footprint ? [{ words: wordsOf(options, keeps_bits), bytes: footprint.peak_gpu_bytes }] : [];
  });
  if (!bars.some(({ words }) => words === chosen)) bars.push({ words: chosen, bytes: peak });
  // Of the chosen way it is known what the run itself takes, with all that was set of it.
  const told = bars.map(({ words, bytes }) => (words === chosen ? { words, bytes: peak, is_chosen: true } : { words, bytes, is_chosen: false }));
  return told.sort((a, b) => a.bytes - b.bytes);
}

/** How many values a model has: where all of them are trained, each is once more there in four bytes. */
export function parametersOf(ways: readonly ComparedWay[]): number | undefined {
  const full = ways.find(({ way }) => way === "full")?.footprint;
  return full && full.gpu_bytes.adapter / 4;
}

function wordsOf({ quantization = {}, train }: ComparedWay["options"], keeps_bits: boolean): string {
  const is_mezo = train.optim === "mezo";
  if (train.finetuning_type === "full") return is_mezo ? "MeZO, all weights" : "All weights";
  const { load_in_4bit, load_in_8bit, requantize } = quantization;
  const quantizes = !keeps_bits || requantize != null;
  const bits = quantizes && load_in_4bit ? 4 : quantizes && load_in_8bit ? 8 : undefined;
  const name = is_mezo ? "MeZO" : bits === 4 ? "QLoRA" : "LoRA";
  return `${name}, ${bits ? `${bits} bits` : "as it is"}`;
}

/** A small picture of what the ways to train a model take, with the chosen one marked. */
export class WaysPicture {
  /** What was compared last, and for what. */
  #known: { key: string; model: Model; ways: ComparedWay[] } | undefined;

  /**
   * Draws the picture; the ways are compared anew only where something counts that is not the same as before. Resolves to how
   * many values the model has, where that can be told.
   */
  async draw({ model, config, lora, device, peak }: Comparison, signal: AbortSignal): Promise<number | undefined> {
    const { train } = config;
    const { max_length, optim } = train;
    // MeZO is one of the ways, and the others are then made by AdamW.
    const by_gradient = optim === "mezo" ? "adamw_torch" : optim;
    const counting = Object.entries(train).filter(([name]) => !WEIGHTLESS.has(name));
    const key = JSON.stringify([model.hub, device, lora, by_gradient, counting]);
    if (this.#known?.key !== key || this.#known.model.source !== model.source) {
      this.hide();
      const ways = await Trainer.compare(model.source, { ...model.hub, lora, train, device, signal });
      this.#known = { key, model, ways };
    }
    const bars = barsOf(this.#known.ways, config, peak);
    const longest = Math.max(...bars.map(({ bytes }) => bytes));
    write("ways-about", `Each way to train, rows of ${count(max_length!, "token")}:`);
    element("ways-list").replaceChildren(...bars.map((bar) => item(bar, longest)));
    show("ways", true);
    return parametersOf(this.#known.ways);
  }

  /** Of another model it is not left standing. */
  hideUnlessOf({ source }: Model): void {
    if (this.#known?.model.source !== source) this.hide();
  }

  hide(): void {
    show("ways", false);
  }
}

function item({ words, bytes: taken, is_chosen }: Bar, longest: number): HTMLElement {
  const line = make("i", "");
  line.style.width = `${(100 * taken) / longest}%`;
  const made = make("li", "", make("span", "", words), make("span", "", line), make("span", "taken", bytes(taken)));
  if (is_chosen) made.setAttribute("aria-current", "true");
  return made;
}
