import { signal, type ReadonlySignal } from "@preact/signals";
import { FIELD_WORDS, WORDS, type Config, type FieldName } from "./fields.js";
import { keyOf, OPTIONS, type Option } from "./finer-list.js";
import { isValueOf, textOf } from "./finer-text.js";

/** Values of the package's options that were set beside the fields, by their parts and names: "lora.bias". */
export type FinerValues = Readonly<Record<string, unknown>>;

/** What the package refused, and which option it named. */
export interface Refused {
  key: string;
  message: string;
}

/** What was set of the options that have no field of their own. */
export class Finer {
  readonly #values = signal<FinerValues>({});
  readonly #plain = signal<Config>({ quantization: {}, lora: {}, train: {} });

  get values(): ReadonlySignal<FinerValues> {
    return this.#values;
  }

  /** The settings without these. */
  get plain(): ReadonlySignal<Config> {
    return this.#plain;
  }

  /** The fields say something else. */
  follow(plain: Config): void {
    this.#plain.value = plain;
  }

  set(values: FinerValues): void {
    this.#values.value = values;
  }

  /** Sets one option; without a value, or with the usual one, it is as usual. */
  put(option: Option, value: unknown): void {
    const { [keyOf(option)]: _, ...others } = this.#values.value;
    const is_usual = value === undefined || isSame(value, usualIn(option, this.#plain.value));
    this.#values.value = is_usual ? others : { ...others, [keyOf(option)]: value };
  }

  /** The settings with these, as far as such a run has them. */
  into(plain: Config): Config {
    const config = structuredClone(plain);
    for (const option of setIn(this.#values.value, plain)) {
      const part = config[option.part] as Record<string, unknown>;
      const value = this.#values.value[keyOf(option)];
      // The words, which have a field, may learn whole too.
      const saved = option.name === "modules_to_save" ? (part[option.name] ?? []) : undefined;
      part[option.name] = saved ? [...new Set([...(saved as string[]), ...(value as string[])])] : value;
    }
    return config;
  }

  /** What the page calls those that count. */
  words(plain: Config): string[] {
    return setIn(this.#values.value, plain).map(({ words }) => words);
  }
}

/** What of kept values this page knows. */
export function finerIn(found: unknown): FinerValues {
  const given = typeof found === "object" && found !== null ? (found as Record<string, unknown>) : {};
  const known = OPTIONS.filter((option) => Object.hasOwn(given, keyOf(option)) && isValueOf(option.kind, given[keyOf(option)]));
  return Object.fromEntries(known.map((option) => [keyOf(option), given[keyOf(option)]]));
}

/** What holds where nothing is set: what the settings have, or the package. */
export function usualIn(option: Option, plain: Config): unknown {
  const said = (plain[option.part] as Record<string, unknown>)[option.name];
  return option.name === "modules_to_save" ? [] : (said ?? option.usual(plain));
}

/** The values in a run's settings that are other than the usual ones; `plain` has what the fields say of the same run. */
export function finerOf(config: Config, plain: Config): FinerValues {
  return Object.fromEntries(otherIn(config, (option) => usualIn(option, plain)).map(({ option, value }) => [keyOf(option), value]));
}

/** How many of them a list tells. */
const MOST_TOLD = 3;

/** The same of a run of whatever model, in a few words each. */
export function finerNotes(config: Config): string[] {
  // The bundled model's usual warm-up is another one, and tells nobody anything.
  const told = otherIn(config, (option) => option.usual(config)).filter(({ option }) => option.name !== "warmup_steps");
  const notes = told.slice(0, MOST_TOLD).map(({ option, value }) => `${option.words}: ${shown(option, value)}`);
  const left = told.length - notes.length;
  return left > 0 ? [...notes, `${left} other finer settings`] : notes;
}

/** What the page calls the option that a message of the package names first; undefined where it names none. */
export function namedIn(message: string): { key: string; words: string } | undefined {
  for (const [key, , name] of message.matchAll(/\b(lora|train|quantization)\.(\w+)/g)) {
    const words = OPTIONS.find((option) => keyOf(option) === key)?.words ?? FIELD_WORDS[name as FieldName];
    if (words) return { key, words };
  }
  return undefined;
}

function setIn(values: FinerValues, plain: Config): Option[] {
  return OPTIONS.filter((option) => Object.hasOwn(values, keyOf(option)) && option.isOf(plain));
}

function otherIn(config: Config, usual: (option: Option) => unknown): { option: Option; value: unknown }[] {
  return OPTIONS.flatMap((option) => {
    const said = (config[option.part] as Record<string, unknown> | undefined)?.[option.name];
    // Words that learn are told by a field of their own.
    const value = option.name === "modules_to_save" && Array.isArray(said) ? said.filter((name) => name !== WORDS) : said;
    const is_other = option.isOf(config) && isValueOf(option.kind, value) && !isSame(value, usual(option));
    return is_other ? [{ option, value }] : [];
  });
}

function shown({ kind }: Option, value: unknown): string {
  const chosen = kind.is === "choice" ? kind.of.find(([each]) => each === value)?.[1] : undefined;
  return chosen ?? textOf(kind, value).replaceAll("\n", ", ");
}

function isSame(one: unknown, other: unknown): boolean {
  const [a, b] = [one, other].map((value) => (typeof value === "number" ? Number(value.toPrecision(6)) : value));
  return JSON.stringify(a) === JSON.stringify(b);
}
