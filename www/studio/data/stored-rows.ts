import type { Dataset } from "tabtune";

/** Rows that are asked for at once. */
const AT_ONCE = 1000;

/** The rows of a dataset from `first` on, up to the one before `end`, as they are kept; none of one that is empty. */
export async function* rowsIn(dataset: Dataset, first = 0, end = Infinity): AsyncGenerator<object, void, undefined> {
  const last = Math.min(end, (await dataset.info()).rows);
  for (let place = first; place < last; place += AT_ONCE) {
    for (const { row } of await dataset.rows(place, Math.min(AT_ONCE, last - place))) yield row;
  }
}

/** All of them as JSON lines, which TRL and this page read. */
export async function jsonlOf(dataset: Dataset): Promise<Blob> {
  const parts: Blob[] = [];
  let lines: string[] = [];
  const pack = () => {
    // What lies in a Blob is the browser's to put somewhere, so that many rows are not in memory as text.
    parts.push(new Blob(lines));
    lines = [];
  };
  for await (const row of rowsIn(dataset)) {
    // That a question and its answer are a pair is for the engine to know.
    const { pair: _, ...told } = row as Record<string, unknown>;
    if (lines.push(`${JSON.stringify(told)}\n`) === AT_ONCE) pack();
  }
  pack();
  return new Blob(parts, { type: "application/jsonl" });
}
