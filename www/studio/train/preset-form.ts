import type { RowKind } from "../chat/preference-rows.js";
import { Choice } from "../ui/choice.js";
import { element, show, write } from "../ui/dom.js";
import { Kept } from "../ui/kept.js";
import { FIELD_WORDS, type Config, type FieldName, type Fields } from "./fields.js";
import { finerIn, type FinerValues } from "./finer.js";
import { changedFrom, changedWords, fieldsOf, isPreset, presetFor, PRESETS, type PresetName } from "./presets.js";

/** The settings that presets fill. */
export interface Settings {
  read(): Fields;
  write(fields: Partial<Fields>): void;
  /** What is set of the options that have no field of their own, and what the page calls those that count now. */
  finer: { values: FinerValues; readonly words: string[] };
}

/** What is kept for the next visit: the preset, and what the person changed of it. */
export interface KeptSettings {
  preset: PresetName;
  changed: Partial<Fields>;
  /** Missing where there is nothing of it, and of what an earlier page has kept. */
  finer?: FinerValues;
}

/** Fields that other rows want otherwise, whatever a person made of them for the rows before. */
const OF_ROWS: ReadonlySet<FieldName> = new Set(["learns_from", "method", "beta", "learning_rate", "max_length"]);

/** What was kept, without what this page does not know. */
export function keptIn(found: unknown): KeptSettings | undefined {
  const { preset, changed, finer } = (found ?? {}) as Partial<KeptSettings>;
  if (!isPreset(preset)) return undefined;
  const known = Object.entries(changed ?? {}).filter(([name, value]) => name in FIELD_WORDS && ["string", "number", "boolean"].includes(typeof value));
  return { preset, changed: Object.fromEntries(known), finer: finerIn(finer) };
}

/** The cards that say in words how to train. What was chosen, and what was changed of it, is there again at the next visit. */
export class PresetForm {
  readonly #settings: Settings;
  readonly #choice: Choice;
  readonly #kept = new Kept<KeptSettings>("tabtune:settings", 1);
  #kind: RowKind | undefined;
  /** The usual settings of the chosen model; undefined until they were filled in for the first time. */
  #base: Config | undefined;
  /** What is other than the preset has it, in the words of the form. */
  #changed_words: string[] = [];
  /** Which fields are. */
  #changed: FieldName[] = [];
  /** Whether fields are being filled, which is no change by a person. */
  #is_filling = false;

  constructor(settings: Settings) {
    this.#settings = settings;
    this.#choice = new Choice("preset", () => this.#apply());
    element("back-to-preset").addEventListener("click", () => {
      this.#apply();
      // The button is gone with that.
      element("presets").querySelector<HTMLInputElement>(":checked")?.focus();
    });
    this.#mark();
  }

  get name(): PresetName {
    const { value } = this.#choice;
    return isPreset(value) ? value : "facts";
  }

  /** The usual settings are those of another model. What a person changed stays as far as the form keeps it. */
  fill(base: Config): void {
    const is_first = this.#base === undefined;
    const is_changed = this.#changed_words.length > 0;
    this.#base = base;
    if (is_first) this.#restore();
    else if (!is_changed) this.#apply();
    else this.look();
  }

  /** Rows of that kind are chosen: what suits them is chosen too, unless the person wanted something that any rows can do. */
  follow(kind: RowKind | undefined): void {
    // While that is looked up, the rows before are as good a guess as any.
    if (kind === undefined || kind === this.#kind) return;
    const is_first = this.#kind === undefined;
    this.#kind = kind;
    this.#mark();
    if (!this.#base) return;
    const { learns_from, suits } = PRESETS[this.name];
    const follows = learns_from !== "rows" && !suits.includes(kind) && !is_first;
    const now = this.#settings.read();
    const stays = this.#changed.filter((name) => !OF_ROWS.has(name)).map((name) => [name, now[name]]);
    this.#quietly(() => {
      if (follows || this.#isMisfit(kind)) this.#choice.value = presetFor(kind);
      this.#settings.write({ ...this.#preset, ...Object.fromEntries(stays) });
    });
    this.look();
  }

  /** Looks at what is other than the preset has it. */
  look(): void {
    if (!this.#base || this.#is_filling) return;
    const now = this.#settings.read();
    this.#changed = changedFrom(this.#preset, now);
    const changed = Object.fromEntries(this.#changed.map((name) => [name, now[name]]));
    const { values: finer, words } = this.#settings.finer;
    this.#kept.set({ preset: this.name, changed, ...(Object.keys(finer).length > 0 && { finer }) });
    this.#changed_words = [...changedWords(this.#changed), ...words];
    show("changed", this.#changed_words.length > 0);
    write("changed-what", this.#changed_words.join(", "));
  }

  /** Fills in what was chosen before, and what was changed of it. */
  take({ preset, changed, finer = {} }: KeptSettings): void {
    if (!this.#base) return;
    this.#quietly(() => {
      this.#choice.value = preset;
      this.#settings.write({ ...this.#preset, ...changed });
      this.#settings.finer.values = finer;
    });
    this.look();
  }

  get #preset(): Fields {
    return fieldsOf(this.name, this.#base!, this.#kind ?? "examples");
  }

  #isMisfit(kind: RowKind): boolean {
    const { learns_from } = PRESETS[this.name];
    return (learns_from === "examples" && kind === "pairs") || (learns_from === "preferences" && kind === "examples");
  }

  #apply(): void {
    if (!this.#base) return;
    this.#quietly(() => {
      this.#settings.write(this.#preset);
      this.#settings.finer.values = {};
    });
    this.look();
  }

  /** What was chosen at the last visit, once there is something to fill. */
  #restore(): void {
    const kept = keptIn(this.#kept.get());
    if (kept) this.take(kept);
    else this.#apply();
  }

  #quietly(fill: () => void): void {
    const was_filling = this.#is_filling;
    this.#is_filling = true;
    fill();
    this.#is_filling = was_filling;
  }

  /** Marks what suits the rows. */
  #mark(): void {
    const suiting = presetFor(this.#kind ?? "examples");
    for (const name of Object.keys(PRESETS)) show(`suits-${name}`, name === suiting);
  }
}
