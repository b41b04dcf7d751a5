import type { ImportOptions } from "tabtune";
import type { Learnt } from "../learnt.js";
import type { KeptLog } from "../others.js";
import type { ModelName } from "../../train/model-name.js";
import type { Config } from "../../train/settings.js";
import type { Question } from "../../work/question.js";
import { damaged, jsonIn, objectIn, textIn } from "./manifest.js";
import { ArchiveProblem } from "./problem.js";

/** Records of an archive, of which nothing is believed: only known fields of the right kind come through. */

/** What is taken of settings, by name. Keys and tokens are none of them. */
const SETTINGS = ["tabtune:giver", "tabtune:gallery", "tabtune:device"];

/** The record of something that was learnt. Its files come apart from it. */
export function learntIn(bytes: Uint8Array): Learnt {
  const { version, id, name, model, config, rows, question, steps, is_early, heldout, measured, date } = recordIn(bytes);
  return {
    version,
    id: textIn(id),
    name: textIn(name),
    model: modelIn(model),
    config: configIn(config),
    rows: rows === null ? null : rowsIn(objectIn(rows)),
    question: question === null || question === undefined ? null : questionIn(objectIn(question)),
    has_files: false,
    steps: steps === null ? null : numberIn(steps),
    ...(is_early === true && { is_early }),
    ...(heldout !== undefined && { heldout: heldoutIn(objectIn(heldout)) }),
    ...(measured !== undefined && { measured: textIn(measured) }),
    date: numberIn(date),
  };
}

/** What a run told as it learnt. */
export function logIn(bytes: Uint8Array): KeptLog {
  const { version, total, every, steps, columns } = recordIn(bytes);
  const told = Object.entries(objectIn(columns)).map(([metric, values]) => [metric, valuesIn(values)] as const);
  const counted = valuesIn(steps).map(numberIn);
  if (told.some(([, values]) => values.length !== counted.length)) throw damaged("a log in it is not whole");
  return { version, total: numberIn(total), every: numberIn(every), steps: counted, columns: Object.fromEntries(told) };
}

/** How rows were imported; options that are not known are left to the engine, which refuses them by name. */
export function optionsIn(bytes: Uint8Array): ImportOptions {
  return objectIn(jsonIn(bytes)) as ImportOptions;
}

/** Settings by name, of those that are taken along. */
export function settingsIn(bytes: Uint8Array): [name: string, value: unknown][] {
  const told = objectIn(jsonIn(bytes));
  return SETTINGS.filter((name) => Object.hasOwn(told, name)).map((name) => [name, told[name]]);
}

/** The settings that are kept and taken along. */
export function settingsOf(get: (name: string) => unknown): Record<string, unknown> {
  return Object.fromEntries(SETTINGS.map((name) => [name, get(name)] as const).filter(([, value]) => value !== undefined));
}

/** A record that this version of the page understands. */
export function recordIn(bytes: Uint8Array): Record<string, unknown> & { version: 1 } {
  const record = objectIn(jsonIn(bytes));
  const { version } = record;
  if (typeof version === "number" && version > 1) {
    throw new ArchiveProblem("later-version", "A part of this file was made by a later version of this page. Reload the page, so that it is the latest too, and try again.");
  }
  if (version !== 1) throw damaged("a record in it has no version");
  return { ...record, version };
}

function modelIn(value: unknown): ModelName {
  const { kind, name } = objectIn(value);
  return { kind: textIn(kind), name: textIn(name) };
}

/** What is in the three parts is checked by the package, when a run is to go on with it. */
function configIn(value: unknown): Config {
  const { quantization, lora, train } = objectIn(value);
  const { max_steps } = objectIn(train);
  numberIn(max_steps);
  return { quantization: objectIn(quantization), lora: objectIn(lora), train: objectIn(train) } as unknown as Config;
}

function rowsIn({ dataset, heldout, is_chat, count }: Record<string, unknown>): Learnt["rows"] {
  return { dataset: textIn(dataset), heldout: heldout === null ? null : textIn(heldout), is_chat: is_chat === true, count: count === null ? null : numberIn(count) };
}

function questionIn({ text, system, continues }: Record<string, unknown>): Question {
  // A row may be long, and is asked whole.
  if (typeof text !== "string" || (system !== null && typeof system !== "string")) throw damaged("a question in it is none");
  return { text, system, continues: continues === true };
}

function heldoutIn({ rows, before, after }: Record<string, unknown>): NonNullable<Learnt["heldout"]> {
  return { rows: numberIn(rows), before: numberIn(before), after: numberIn(after) };
}

/** Steps that a log has at most. */
const MOST_STEPS = 1_000_000;

function valuesIn(values: unknown): (number | null)[] {
  if (!Array.isArray(values) || values.length > MOST_STEPS) throw damaged("a log in it is none");
  return values.map((value) => (value === null ? null : numberIn(value)));
}

function numberIn(value: unknown): number {
  if (typeof value !== "number" || !Number.isFinite(value)) throw damaged("a number in it is none");
  return value;
}
