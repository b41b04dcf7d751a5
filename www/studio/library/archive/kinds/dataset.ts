import { Dataset, type DatasetInfo, type ImportOptions } from "tabtune";
import { rowsIn } from "../../../data/stored-rows.js";
import { remembered } from "../../../ui/remembered.js";
import type { Archive } from "../archive.js";
import { damaged, objectIn, type ArchivedItem } from "../manifest.js";
import type { ToPack } from "../pack.js";
import { shown } from "../problem.js";
import { optionsIn } from "../records.js";
import { importable, linesOf } from "../rows.js";
import { text } from "./files.js";
import type { Bringing, Kind, Planned } from "./kind.js";

/** How rows were imported. */
const OPTIONS = "options.json";

export function rowsToPack({ name, bytes, fingerprint }: DatasetInfo): ToPack {
  const files = async function* () {
    yield text(OPTIONS, remembered.get(name) ?? {});
    let number = 0;
    for await (const lines of linesOf(rowsIn(await Dataset.open(name)))) {
      yield { name: `rows-${++number}.jsonl`, content: new TextEncoder().encode(lines), is_text: true };
    }
  };
  return { kind: "dataset", id: name, name, date: null, mark: fingerprint, bytes, files };
}

/** Rows under a name. */
export const dataset: Kind = {
  turn: "first",
  by_name: true,
  sameAs: ({ mark }, here) => here.datasets.find(({ rows, fingerprint }) => mark !== "" && rows > 0 && fingerprint === mark)?.name,
  // An import that stopped holds no rows yet, and begins anew.
  taken: ({ datasets }) => ({ names: datasets.filter(({ rows }) => rows > 0).map(({ name }) => name) }),
  bring,
};

async function bring({ item, name }: Planned, { archive, signal }: Bringing): Promise<void> {
  const kept = optionsIn(await archive.needed(item, OPTIONS));
  const dataset = await Dataset.open(name);
  // The rows are read as what they are. What becomes of those that a model refuses is still as their person said.
  const options: ImportOptions = kept.on_bad_row === "skip" ? { on_bad_row: "skip" } : {};
  try {
    await dataset.import(rowsOf(archive, item), { ...options, signal });
    const { fingerprint } = await dataset.info();
    if (fingerprint !== item.mark) throw damaged(`the rows ${shown(item.name)} are not those that were packed`);
    remembered.set(name, kept);
  } catch (thrown) {
    await dataset.discard_pending().catch(() => undefined);
    await dataset.delete().catch(() => undefined);
    throw thrown;
  }
}

async function* rowsOf(archive: Archive, item: ArchivedItem): AsyncGenerator<object, void, undefined> {
  const count = archive.namesOf(item).filter((name) => /^rows-\d+\.jsonl$/.test(name)).length;
  for (let number = 1; number <= count; number++) {
    const lines = new TextDecoder().decode(await archive.needed(item, `rows-${number}.jsonl`));
    for (const line of lines.split("\n")) if (line) yield importable(rowIn(line, item.name));
  }
}

function rowIn(line: string, name: string): object {
  try {
    return objectIn(JSON.parse(line));
  } catch {
    throw damaged(`a row of ${shown(name)} is no JSON`);
  }
}
