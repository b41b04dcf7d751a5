import type { Dataset, DataSource, ImportOptions, ImportReport, ProgressEvent } from "tabtune";
import { showBadRows } from "./bad-rows.js";
import { element, show, write } from "./dom.js";
import { count, duration } from "./format.js";

/** Imports, with progress shown. */
export async function importRows(
  dataset: Dataset,
  source: DataSource,
  options: ImportOptions,
  resume: boolean,
  signal: AbortSignal,
): Promise<ImportReport> {
  showProgress({ status: "progress", name: dataset.name, file: "", rows: 0 });
  show("importing", true);
  try {
    return await dataset.import(source, { ...options, resume, signal, progress_callback: showProgress });
  } finally {
    show("importing", false);
  }
}

function showProgress({ rows = 0, progress, remaining_seconds }: ProgressEvent): void {
  const bar = element<HTMLProgressElement>("import-progress");
  // Of a folder the size is not known before its end; the bar then only says that work goes on.
  if (progress === undefined) bar.removeAttribute("value");
  else bar.value = progress;
  const notes = [count(rows, "row")];
  if (progress !== undefined) notes.push(`${Math.floor(progress)} %`);
  if (remaining_seconds !== undefined) notes.push(`${duration(remaining_seconds)} left`);
  write("import-state", notes.join(" · "));
}

/** Says what came of an import. */
export function showReport({ rows, skipped, duplicates, bad_rows, ignored_columns }: ImportReport): void {
  const notes = [`${count(rows, "row")} kept`];
  if (skipped) notes.push(`${count(skipped, "bad row")} left out`);
  if (duplicates) notes.push(`${count(duplicates, "row")} left out that occurred twice`);
  write("import-sum", `${notes.join(" · ")}.`);
  const ignored = Object.keys(ignored_columns);
  write("import-ignored", ignored.length > 0 ? `Not used: ${ignored.join(", ")}.` : "");
  showBadRows("bad-rows", bad_rows);
  show("import-report", true);
}
