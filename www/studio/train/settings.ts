import type { LoraConfig, TrainConfig } from "tabtune";
import { signal } from "@preact/signals";
import type { RowKind } from "../chat/preference-rows.js";
import type { ReadRows } from "../data/data.js";
import { showError } from "../shell/errors.js";
import { served } from "../shell/served.js";
import { Choice } from "../ui/choice.js";
import { element } from "../ui/dom.js";
import { MissingInput } from "../ui/missing.js";
import { bitsOf, CHECKS, IN_BITS, NUMBERS, WORDS, type Bits, type Config, type Fields } from "./fields.js";
import { Finer, finerOf, type Refused } from "./finer.js";
import { everyTenth } from "./finer-list.js";
import ownModelConfig from "./own-model.config.json";
import { LONGER_ROWS, misfit, Preferences, SHORTER_STEPS, withPreferences } from "./preferences.js";
import { PresetForm, type Settings } from "./preset-form.js";
import { fewestRows, fieldsIn, MEZO } from "./presets.js";

export type { Config };

/** Whether a run trains all weights of its model, and no adapter. */
export function trainsAll({ train }: Pick<Config, "train">): boolean {
  return train.finetuning_type === "full";
}

/** For a model of one's own: what usually works with LoRA, small enough for a laptop. */
const FOR_A_FOLDER = ownModelConfig as Config;

/** What is held out of a person's own rows unless they say otherwise, where there are so many rows. */
const HELD_OUT = { percent: 10, min_rows: 20 };

/** All weights want steps that are so many times smaller than LoRA's. */
const SMALLER_STEPS = 10;

/** Plain gradient descent goes as far as its gradient is long, which is clipped to 1. */
const SGD_RATE = 0.1;

const NOTHING_TO_KEEP_BY =
  "“Keep the best” needs rows that are held out, and none of these are. Say a share of them in the settings, add a file of held-out rows, or switch it off.";

const TRAIN_FIELDS = ["max_steps", "learning_rate", "per_device_train_batch_size", "max_length", "seed"] as const;

/** How a run is set up: a preset in words and, folded away, every setting, filled with defaults for the chosen model. */
export class SettingsForm {
  readonly #details = element<HTMLDetailsElement>("settings");
  readonly #on_change: () => void;
  readonly #trained = new Choice("trained", () => this.#fillWay());
  readonly #optim = new Choice("optim", () => this.#fillHow());
  readonly #preferences = new Preferences(() => this.#fillWay());
  readonly #presets: PresetForm;
  readonly #finer = new Finer();
  readonly #refused = signal<Refused | undefined>(undefined);
  #base: Config = FOR_A_FOLDER;
  #filled: Promise<void> = Promise.resolve();
  #has_own_rows = false;
  /** Whether the person said which share is held out. */
  #share_is_said = false;

  /** `on_change` is told when a field changed. */
  constructor(on_change: () => void) {
    this.#on_change = on_change;
    this.#presets = new PresetForm(this.#forPresets());
    this.#details.addEventListener("input", () => this.#look());
    this.#details.addEventListener("change", () => {
      this.#look();
      on_change();
    });
    element("finer").addEventListener("toggle", () => void this.#drawFiner().catch(showError), { once: true });
    this.#field("held_out_percent").addEventListener("input", () => (this.#share_is_said = true));
  }

  /** Fills the fields for the bundled model or one of one's own: the one that was asked for last. */
  fill(bundled: boolean): Promise<void> {
    const filling: Promise<void> = configFor(bundled).then((config) => (this.#filled === filling ? this.#fillFor(config) : this.#filled));
    return (this.#filled = filling);
  }

  /** Resolves once the fields are those for the chosen model. */
  get filled(): Promise<void> {
    return this.#filled;
  }

  #fillFor(config: Config): void {
    this.#base = config;
    const { train, lora, quantization } = this.#base;
    for (const name of TRAIN_FIELDS) this.#field(name).valueAsNumber = train[name] ?? FOR_A_FOLDER.train[name]!;
    this.#field("r").valueAsNumber = lora.r ?? 8;
    this.#field("use_dora").checked = lora.use_dora ?? false;
    this.#field("learns_words").checked = lora.modules_to_save?.includes(WORDS) ?? false;
    this.#fillHow();
    this.#bits.value = bitsOf(quantization);
    this.#field("packing").checked = train.packing ?? false;
    this.#field("assistant_only_loss").checked = train.assistant_only_loss ?? false;
    this.#fillShare();
    this.#presets.fill({ quantization, lora, train: { ...FOR_A_FOLDER.train, ...train } });
  }

  /** The bundled rows come with rows that are held out; of one's own a share is. */
  ownRows(has_own_rows: boolean): void {
    this.#has_own_rows = has_own_rows;
    this.#fillShare();
  }

  /** Rows of that kind are chosen; undefined while it is not known. */
  follow(kind: RowKind | undefined): void {
    this.#presets.follow(kind);
  }

  /** What the person still has to say for rows of that kind. */
  missing(kind: RowKind): string | undefined {
    return misfit(this.#preferences.method, kind, this.#optim.value);
  }

  /** Changes fields as a person would. */
  change(fields: Partial<Fields>): void {
    // A choice fills in what goes with it, so that those come first.
    this.#preferences.choose(fields);
    if (fields.trained) this.#trained.value = fields.trained;
    if (fields.optim) this.#optim.value = fields.optim;
    if (fields.bits) this.#bits.value = fields.bits;
    for (const name of NUMBERS) {
      const value = fields[name];
      if (value !== undefined) this.#field(name).value = String(value);
    }
    for (const name of CHECKS) this.#field(name).checked = fields[name] ?? this.#field(name).checked;
    this.#look();
    this.#on_change();
  }

  /** Fills in the settings of an earlier run. */
  async take(config: Config): Promise<void> {
    await this.#filled;
    const { test_size = 0 } = config.train;
    if (test_size > 0) {
      this.#share_is_said = true;
      this.#field("held_out_percent").valueAsNumber = Number((100 * test_size).toPrecision(6));
    }
    const changed = fieldsIn(config);
    const preset = changed.learns_from === "preferences" ? "prefer" : "facts";
    this.#presets.take({ preset, changed });
    // What is other than usual is known once the fields say the rest.
    this.#presets.take({ preset, changed, finer: finerOf(config, this.#plain) });
  }

  /** Tells which option the package has refused of the settings as they stand, where it said so. */
  refuse(refused: Refused | undefined): void {
    this.#refused.value = refused;
  }

  /** The settings as they stand, or undefined where a field is wrong; the browser then points at it. */
  async read(): Promise<Config | undefined> {
    await this.#filled;
    const form = element<HTMLFormElement>("setup");
    if (!form.checkValidity()) {
      // The browser points at no field that is folded away.
      const folds = this.#details.querySelectorAll("details");
      for (const fold of [this.#details, ...folds]) fold.open ||= fold.querySelector(":invalid") !== null;
      form.reportValidity();
      return undefined;
    }
    return this.#values();
  }

  /** The settings as they stand, or undefined where a field is wrong; the person is not told. */
  peek(): Config | undefined {
    return element<HTMLFormElement>("setup").checkValidity() ? this.#values() : undefined;
  }

  /** The settings for the chosen model as they were before anything was changed. */
  get standard(): Config {
    return structuredClone(this.#base);
  }

  /** The same for these rows, which it must fit: of few, none is held out unless the person said so. */
  forRows({ train, ...config }: Config, { count, kind, heldout }: Pick<ReadRows, "count" | "kind" | "heldout">): Config {
    const { method, optim } = train;
    const wrong = misfit(method === "sft" ? undefined : method, kind, optim);
    if (wrong) throw new MissingInput(wrong);
    const holds_out = this.#share_is_said || (count ?? 0) >= HELD_OUT.min_rows;
    const test_size = holds_out ? (train.test_size ?? 0) : 0;
    if (train.load_best_model_at_end && !heldout && test_size === 0) throw new MissingInput(NOTHING_TO_KEEP_BY);
    return { ...config, train: { ...train, test_size } };
  }

  /** The adapter as the form has it, whether one is trained or not. */
  get lora(): LoraConfig {
    const { train, quantization } = this.#plain;
    return this.#finer.into({ quantization, lora: this.#plainLora, train: { ...train, finetuning_type: "lora" } }).lora;
  }

  get #plainLora(): LoraConfig {
    const { lora } = structuredClone(this.#base);
    const alpha_by_rank = (lora.lora_alpha ?? 8) / (lora.r ?? 8);
    const r = this.#field("r").valueAsNumber;
    const use_dora = this.#field("use_dora").checked;
    const modules_to_save = this.#field("learns_words").checked ? [WORDS] : [];
    return { ...lora, r, lora_alpha: alpha_by_rank * r, use_dora, modules_to_save };
  }

  get #trains_all(): boolean {
    return this.#trained.value === "all";
  }

  /** What the fields say that a preset has a say in. */
  get #fields(): Fields {
    const numbers = Object.fromEntries(NUMBERS.map((name) => [name, this.#field(name).valueAsNumber]));
    const checks = Object.fromEntries(CHECKS.map((name) => [name, this.#field(name).checked]));
    const choices = { trained: this.#trained.value, optim: this.#optim.value, bits: this.#bits.value, ...this.#preferences.chosen };
    return { ...numbers, ...checks, ...choices } as Fields;
  }

  /** What goes with the choice of what is trained, and from what. */
  #fillWay(): void {
    const rows = this.#field("per_device_train_batch_size");
    rows.min = String(fewestRows(this.#preferences.method));
    rows.valueAsNumber = Math.max(rows.valueAsNumber, Number(rows.min));
    this.#field("learning_rate").value = String(Number(this.#usualRate().toPrecision(6)));
    this.#fillLength();
    // What nobody sees keeps no run from starting.
    this.#field("r").disabled = this.#trains_all;
  }

  /** Unless the person chose another one. */
  #fillLength(): void {
    const usual = this.#base.train.max_length ?? FOR_A_FOLDER.train.max_length!;
    const lengths = [usual, LONGER_ROWS * usual];
    const field = this.#field("max_length");
    if (lengths.includes(field.valueAsNumber)) field.valueAsNumber = lengths[this.#preferences.method ? 1 : 0]!;
  }

  /** What goes with the choice of how it learns. */
  #fillHow(): void {
    this.#fillWay();
    const usual = this.#base.train.max_steps ?? FOR_A_FOLDER.train.max_steps!;
    const field = this.#field("max_steps");
    if (this.#optim.value === "mezo") field.valueAsNumber = MEZO.more_steps * usual;
    else if (field.valueAsNumber === MEZO.more_steps * usual) field.valueAsNumber = usual;
  }

  #usualRate(): number {
    const examples = this.#base.train.learning_rate ?? FOR_A_FOLDER.train.learning_rate!;
    const rate = this.#preferences.method ? examples / SHORTER_STEPS : examples;
    if (this.#optim.value === "sgd") return SGD_RATE;
    if (this.#optim.value === "mezo") return rate * (this.#trains_all ? MEZO.all_rate : MEZO.adapter_rate);
    return rate * (this.#trains_all ? 1 / SMALLER_STEPS : 1);
  }

  #fillShare(): void {
    if (!this.#share_is_said) this.#field("held_out_percent").valueAsNumber = this.#has_own_rows ? HELD_OUT.percent : 0;
  }

  #values(): Config {
    return this.#finer.into(this.#plain);
  }

  /** What the fields say, without the finer settings. */
  get #plain(): Config {
    const { train: base, quantization } = structuredClone(this.#base);
    const train = this.#trainValues(base);
    if (this.#trains_all) return { train: { ...train, finetuning_type: "full" }, lora: {}, quantization: IN_BITS.own };
    return { train, lora: this.#plainLora, quantization: { ...quantization, ...IN_BITS[this.#bits.value as Bits] } };
  }

  /** Something was changed. */
  #look(): void {
    this.#finer.follow(this.#plain);
    this.#presets.look();
  }

  /** Hardly anyone opens it, so that its fields are fetched then. */
  async #drawFiner(): Promise<void> {
    const { drawFiner } = await import("./finer-form.js");
    drawFiner(element("finer-part"), { finer: this.#finer, refused: this.#refused });
  }

  #forPresets(): Settings {
    const finer = this.#finer;
    const plain = () => this.#plain;
    return {
      read: () => this.#fields,
      write: (fields) => this.change(fields),
      finer: {
        get values() {
          return finer.values.value;
        },
        set values(values) {
          finer.set(values);
        },
        get words() {
          return finer.words(plain());
        },
      },
    };
  }

  #trainValues(train: TrainConfig): Config["train"] {
    train.optim = this.#optim.value as NonNullable<TrainConfig["optim"]>;
    for (const name of TRAIN_FIELDS) train[name] = this.#field(name).valueAsNumber;
    train.eval_steps = everyTenth(train.max_steps!);
    train.packing = this.#field("packing").checked;
    train.assistant_only_loss = this.#field("assistant_only_loss").checked;
    train.test_size = this.#field("held_out_percent").valueAsNumber / 100;
    if (this.#field("keeps_best").checked) train.load_best_model_at_end = true;
    return withPreferences(train, this.#preferences.options);
  }

  get #bits(): HTMLSelectElement {
    return this.#details.querySelector<HTMLSelectElement>("[name=bits]")!;
  }

  #field(name: string): HTMLInputElement {
    return this.#details.querySelector<HTMLInputElement>(`[name="${name}"]`)!;
  }
}

async function configFor(bundled: boolean): Promise<Config> {
  if (!bundled) return FOR_A_FOLDER;
  const response = await served("data/faq.config.json");
  const { quantization = {}, lora = {}, train = {} } = (await response.json()) as Partial<Config>;
  return { quantization, lora, train };
}
