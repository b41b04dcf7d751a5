import { cachedModels, exportModel, importModel, TabtuneError, type CachedModel, type ExportedModel, type ModelRecord } from "tabtune";
import { MissingInput } from "../../../ui/missing.js";
import { sizeWords } from "../../sizes.js";
import type { Archive } from "../archive.js";
import { damaged, objectIn, type ArchivedItem } from "../manifest.js";
import type { ToPack } from "../pack.js";
import { shown } from "../problem.js";
import { recordIn } from "../records.js";
import { text } from "./files.js";
import type { Bringing, Kind, Planned } from "./kind.js";

/** A model at a revision: what is told of it, and its files in the order of the record, in pieces that fit into memory. */
const RECORD = "record.json";
const pieceName = (file: number, piece: number) => `file-${file + 1}-${piece}`;

/** Each revision of a model that is here as a whole. */
export async function modelsToPack(models: readonly CachedModel[]): Promise<ToPack[]> {
  const packed = await Promise.all(models.map(async (model) => [model, await exported(model)] as const));
  return packed.flatMap(([model, whole]) => (whole ? [modelToPack(model, whole)] : []));
}

/** What is told of the models that are here as a whole. */
export async function modelsHere(): Promise<ModelRecord[]> {
  const models = await Promise.all((await cachedModels()).map(exported));
  return models.flatMap((model) => model?.record ?? []);
}

/** Whether a model comes with the page, so that every browser that opens it can have it. */
export function isOfThePage(name: string): boolean {
  return URL.canParse(name) && new URL(name).origin === location.origin;
}

/** What is not here as a whole, or cannot be told from another, is none that could be taken along. */
async function exported({ name, revision }: CachedModel): Promise<ExportedModel | undefined> {
  return exportModel(name, revision).catch(() => undefined);
}

function modelToPack(model: CachedModel, { record, read }: ExportedModel): ToPack {
  const { address, revision, files: told } = record;
  const files = async function* () {
    yield text(RECORD, record);
    for (const [file, { name }] of told.entries()) {
      let piece = 0;
      for await (const blob of read(name)) yield { name: pieceName(file, ++piece), content: new Uint8Array(await blob.arrayBuffer()), is_text: false };
    }
  };
  const bytes = told.reduce((sum, { size }) => sum + size, 0);
  return { kind: "model", id: `${address} ${revision}`.trim(), name: wordsOf(model), date: null, mark: "", bytes, files };
}

/** As the library calls it, with its revision where that is not the usual one. */
function wordsOf({ name, revision }: CachedModel): string {
  return revision === "" || revision === "main" ? name : `${name}, ${revision}`;
}

export const model: Kind = {
  // It may take more room than there is, and nothing else waits for it.
  turn: "last",
  sameAs: async (item, here, archive) => {
    const told = await toldOf(item, archive).catch(() => undefined);
    return told && here.models.some((other) => hasAll(other, told)) ? item.name : undefined;
  },
  taken: () => ({}),
  bring,
};

/** The record, which the package believes nothing of, and the names of the files in it. */
async function toldOf(item: ArchivedItem, archive: Pick<Archive, "needed">): Promise<{ record: ModelRecord; names: unknown[] }> {
  const record = recordIn(await archive.needed(item, RECORD));
  if (!Array.isArray(record["files"])) throw damaged(`the model ${shown(item.name)} has no files`);
  return { record: record as unknown as ModelRecord, names: record["files"].map((file) => objectIn(file)["name"]) };
}

/** Whether all files of the record are here, each of that version. */
function hasAll(here: ModelRecord, { record }: { record: ModelRecord }): boolean {
  const versions = new Map(here.files.map(({ name, version }) => [name, version]));
  return here.address === record.address && here.revision === record.revision && record.files.every(({ name, version }) => versions.get(name) === version);
}

async function bring({ item, bytes }: Planned, { archive, signal, advance }: Bringing): Promise<void> {
  const { record, names } = await toldOf(item, archive);
  const pieces = new Set(archive.namesOf(item));
  const read = async function* (name: string) {
    const file = names.indexOf(name);
    for (let piece = 1; pieces.has(pieceName(file, piece)); piece++) {
      const content = await archive.needed(item, pieceName(file, piece));
      yield new Blob([content]);
      advance(content.length);
    }
  };
  await importModel({ record, read }, { signal }).catch((thrown: unknown) => {
    throw inWords(thrown, item.name, bytes);
  });
}

/** What the package tells developers, where a person can do something about it. */
function inWords(thrown: unknown, name: string, bytes: number): unknown {
  switch (thrown instanceof TabtuneError ? thrown.code : undefined) {
    case "bad-state":
      return new MissingInput(`Another version of ${shown(name)} is here, and is not written over. Delete that one first, and import this one then.`);
    case "quota-exceeded":
      return new MissingInput(`There is not enough room for it: it takes ${sizeWords(bytes)}. Free some room, and import it then.`);
    default:
      return thrown;
  }
}
