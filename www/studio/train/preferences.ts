import type { TrainConfig } from "tabtune";
import { Choice } from "../ui/choice.js";
import { element } from "../ui/dom.js";
import type { RowKind } from "../chat/preference-rows.js";
import type { Fields } from "./fields.js";

/** The ways to learn from preferences. */
export type Method = Exclude<NonNullable<TrainConfig["method"]>, "sft">;

export const METHOD_NAMES: Record<Method, string> = { dpo: "DPO", orpo: "ORPO", simpo: "SimPO", cpo: "CPO", kto: "KTO" };

/** What such a run is told beside the usual. */
export type PreferenceOptions = Pick<TrainConfig, "method" | "beta" | "simpo_gamma">;

/** Such steps are that much shorter than those of examples: the model is to be pushed a little, not taught anew. */
export const SHORTER_STEPS = 10;

/** What is picked in a chat has all in it that was said before. */
export const LONGER_ROWS = 2;

/** TRL's, but SimPO's, which its authors choose from 2 to 2.5 (Meng et al. 2024), with a margin of half of it. */
export const BETA = { usual: 0.1, simpo: 2 };

const MISFITS = {
  pairs: "The chosen rows are pairs of answers. Choose “Preferences” under “What it learns from”.",
  examples:
    "Preferences are learnt from pairs or ratings, and the chosen rows are examples. Pick some answers in the chat, " +
    "or choose “Examples” under “What it learns from”.",
  ratings: "Ratings of single answers are learnt by KTO. Choose it under “How preferences count”.",
  mezo: "MeZO learns from examples alone. Choose another one under “How it learns”.",
};

/** What does not go together with rows of that kind; undefined where all does. */
export function misfit(method: Method | undefined, kind: RowKind, optim: string | undefined): string | undefined {
  if (method === undefined) return kind === "pairs" ? MISFITS.pairs : undefined;
  if (kind === "examples") return MISFITS.examples;
  if (kind === "ratings" && method !== "kto") return MISFITS.ratings;
  return optim === "mezo" ? MISFITS.mezo : undefined;
}

/** The options of a run with how preferences count, and without those that examples alone have. */
export function withPreferences(train: TrainConfig, preferences: PreferenceOptions): TrainConfig {
  if (preferences.method === undefined) return train;
  // Of preferences the answers count, and KTO has each row compared with its neighbours.
  const { assistant_only_loss: _, completion_only_loss: __, ...rest } = train;
  return { ...rest, ...preferences, ...(preferences.method === "kto" && { packing: false }) };
}

/** The part of the settings that says what is learnt from, and how preferences count. */
export class Preferences {
  readonly #source: Choice;
  readonly #method: Choice;
  readonly #beta = element<HTMLInputElement>("beta");

  /** `on_change` is told when something else is chosen. */
  constructor(on_change: () => void) {
    this.#source = new Choice("learns_from", () => {
      this.#update();
      on_change();
    });
    this.#method = new Choice("method", () => {
      this.#beta.valueAsNumber = this.#method.value === "simpo" ? BETA.simpo : BETA.usual;
      on_change();
    });
    this.#update();
  }

  /** How preferences are learnt; undefined where examples are. */
  get method(): Method | undefined {
    return this.#source.value === "preferences" ? (this.#method.value as Method) : undefined;
  }

  get options(): PreferenceOptions {
    const { method } = this;
    if (method === undefined) return {};
    const beta = this.#beta.valueAsNumber;
    return { method, beta, ...(method === "simpo" && { simpo_gamma: beta / 2 }) };
  }

  /** The switches as they stand. */
  get chosen(): Pick<Fields, "learns_from" | "method"> {
    return { learns_from: this.#source.value as Fields["learns_from"], method: this.#method.value as Method };
  }

  choose({ learns_from, method }: Partial<Fields>): void {
    if (method) this.#method.value = method;
    if (learns_from) this.#source.value = learns_from;
  }

  /** What nobody sees keeps no run from starting. */
  #update(): void {
    this.#beta.disabled = this.method === undefined;
  }
}
