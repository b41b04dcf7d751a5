import { Dataset, Trainer } from "tabtune";
import { count } from "../ui/format.js";
import type { Learnt, LearntStore } from "./learnt.js";
import { OPTIM_NAMES } from "../train/fields.js";
import { finerNotes } from "../train/finer.js";
import { METHOD_NAMES } from "../train/preferences.js";
import { trainsAll } from "../train/settings.js";

/** The lock of whoever brings things into the library, whose beginnings are not to be taken for leavings. */
export const BRINGING = "tabtune-library";

/** Something that was learnt, with what is there of it. */
export interface LearntEntry {
  learnt: Learnt;
  /** The step of the run's last checkpoint; 0 where there is none. */
  saved_step: number;
  /** What its checkpoints take. */
  checkpoint_bytes: number;
  has_rows: boolean;
}

/** What was learnt, and runs that were not finished, the latest first. What has not come to its first checkpoint is none of it. */
export async function entriesIn(store: LearntStore): Promise<LearntEntry[]> {
  const [all, datasets] = await Promise.all([store.all(), Dataset.list()]);
  const names = new Set(datasets.map(({ name }) => name));
  const entries = await Promise.all(all.map(async (learnt) => entryOf(await store.measure(learnt), names)));
  return entries.filter(({ learnt, saved_step }) => learnt.has_files || saved_step > 0);
}

/** Names of the runs that could not go on, or be opened, without a dataset. */
export function needing(entries: readonly LearntEntry[], dataset: string): string[] {
  const needs = entries.filter((entry) => entry.learnt.rows?.dataset === dataset && canGoOn(entry));
  return needs.map(({ learnt }) => learnt.name);
}

/** Removes runs that ended before their first step. What another tab has begun, or has just kept, is left to it. */
export async function tidy(store: LearntStore): Promise<void> {
  await navigator.locks.request(BRINGING, { ifAvailable: true }, async (lock) => {
    if (!lock) return;
    for (const learnt of await store.all()) {
      if (learnt.has_files || (await Trainer.checkpoints(learnt.id)).some(({ step }) => step > 0)) continue;
      const is_gone = await Trainer.forget(learnt.id).then(() => true, () => false);
      if (is_gone && !(await store.get(learnt.id))?.has_files) await store.delete(learnt.id);
    }
  });
}

/** Whether a run has made all of its steps, or ended because it got no better. */
export function isOver({ learnt, saved_step }: LearntEntry): boolean {
  return learnt.is_early || Math.max(saved_step, learnt.steps ?? 0) >= learnt.config.train.max_steps!;
}

/** What can be done with it: "open" its files; "reopen" the last checkpoint, which has all weights; "go on" with its run. */
export function waysOf(entry: LearntEntry): ("open" | "reopen" | "go on")[] {
  const { learnt, saved_step, has_rows } = entry;
  const is_over = isOver(entry);
  const ways: ("open" | "reopen" | "go on")[] = [];
  if (learnt.has_files) ways.push("open");
  // All weights are kept as the last checkpoint of their run alone, and so was any run before there was this list.
  if (!learnt.has_files && is_over && has_rows) ways.push("reopen");
  if (saved_step > 0 && !is_over && has_rows) ways.push("go on");
  return ways;
}

/** What is to be said of a run beside its rows and its model. */
export function notesOf(entry: LearntEntry): string[] {
  const { learnt, saved_step } = entry;
  const { steps, config } = learnt;
  const notes = [];
  if (trainsAll(config)) notes.push("all weights");
  else if (config.lora.use_dora) notes.push("DoRA");
  const { optim } = config.train;
  if (optim && optim !== "adamw_torch" && Object.hasOwn(OPTIM_NAMES, optim)) notes.push(OPTIM_NAMES[optim]);
  const { method } = config.train;
  if (method && method !== "sft") notes.push(METHOD_NAMES[method]);
  if (learnt.rows) notes.push(...finerNotes(config));
  const done = learnt.has_files ? steps : saved_step;
  const is_whole = isOver(entry) && !learnt.is_early;
  if (done !== null) notes.push(is_whole ? count(done, "step") : `${done.toLocaleString("en")} of ${count(config.train.max_steps!, "step")}`);
  if (learnt.is_early) notes.push("ended early");
  if (learnt.measured) notes.push(learnt.measured);
  return notes;
}

/** Whether a run has saved steps that are worth something beside its files. */
export function canGoOn(entry: LearntEntry): boolean {
  return entry.saved_step > 0 && !(entry.learnt.has_files && isOver(entry));
}

async function entryOf(learnt: Learnt, datasets: Set<string>): Promise<LearntEntry> {
  const is_whole = learnt.has_files && (learnt.is_early || learnt.steps === learnt.config.train.max_steps);
  const checkpoints = is_whole || !learnt.rows ? [] : await Trainer.checkpoints(learnt.id);
  const checkpoint_bytes = checkpoints.reduce((sum, { bytes }) => sum + bytes, 0);
  const has_rows = learnt.rows !== null && datasets.has(learnt.rows.dataset);
  return { learnt, saved_step: checkpoints.at(-1)?.step ?? 0, checkpoint_bytes, has_rows };
}
