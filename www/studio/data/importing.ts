import { TabtuneError, type Dataset, type DataSource, type ImportOptions, type ImportReport, type Notice, type ProgressEvent } from "tabtune";
import { element, make, show, write } from "../ui/dom.js";
import { count, duration } from "../ui/format.js";
import { remembered } from "../ui/remembered.js";

/** Imports, with progress shown. Nothing stays of an import that is refused. */
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
  } catch (thrown) {
    // What would be refused again cannot be resumed.
    const is_refused = thrown instanceof TabtuneError && ["bad-data", "bad-option", "quota-exceeded"].includes(thrown.code);
    if (is_refused) await takeBack(dataset);
    throw thrown;
  } finally {
    show("importing", false);
  }
}

/** Leaves of a dataset what was there before an import. */
async function takeBack(dataset: Dataset): Promise<void> {
  const { rows, pending_rows } = await dataset.info();
  if (pending_rows !== null) await dataset.discard_pending();
  if (rows > 0) return;
  await dataset.delete();
  remembered.forget(dataset.name);
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
export function showReport({ rows, skipped, duplicates, ignored_columns, ignored_files, notices }: ImportReport): void {
  const notes = [`${count(rows, "row")} kept`];
  if (skipped) notes.push(`${count(skipped, "bad row")} left out`);
  if (duplicates) notes.push(`${count(duplicates, "row")} left out that occurred twice`);
  write("import-sum", `${notes.join(" · ")}.`);
  const columns = Object.entries(ignored_columns).map(([column, rows]) => `${column} (${count(rows, "row")})`);
  const files = ignored_files.map(({ file, reason }) => `${file}: ${reason}`);
  const unused = [...columns, ...files];
  write("import-ignored", unused.length > 0 ? `Not used: ${unused.join(", ")}.` : "");
  element("import-notices").replaceChildren(...notices.map((notice) => make("li", "", wordsOf(notice))));
  show("import-report", true);
}

/** A notice in the words of the page, which has a table to choose columns in. */
function wordsOf({ code, message }: Notice): string {
  const empty = code === "empty-cells" && /^"(.*)" is empty in (\d+) of (\d+) rows/s.exec(message);
  return empty ? `“${empty[1]}” is empty in ${empty[2]} of ${empty[3]} rows. If it is the wrong column, choose another one above.` : message;
}
