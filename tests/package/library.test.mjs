// The library of the page without a browser: what is kept in one list, what could go, and the file that takes it all elsewhere.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { before, test } from "node:test";
import { strToU8, unzipSync, zipSync } from "fflate";
import { paths } from "../../tools/lib/paths.mjs";
import { cachedModels, forgetModel } from "../../www/package/build/hub/models.js";
import { blocksOf } from "../docs/blocks.mjs";
import { studio } from "./page-modules.mjs";
import { playedCaches, setGlobal } from "./played-storage.mjs";

const MODULES = [...["items.ts", "room.ts", "acts.ts", "run-logs.ts"].map((name) => `library/${name}`), "data/origins.ts"];
const ARCHIVE = ["archive", "into", "kinds/model", "kinds/settings", "manifest", "out", "pack", "plan", "problem", "rows", "sums"].map((name) => `library/archive/${name}.ts`);
/** Mutations of an archive that are tried. */
const MUTATIONS = 6000;

let page;
/** Rows by the names of datasets, as the played engine keeps them. */
const datasets = new Map();

const fingerprintOf = (rows) => createHash("sha256").update(JSON.stringify(rows)).digest("hex").slice(0, 32);

/** How the engine keeps a row: a question and its answer become two chats that are marked as a pair. */
function kept(row) {
  const { question, answer, system, history = [], ...rest } = row;
  if (question === undefined) return row;
  const first = system === undefined ? [] : [{ role: "system", content: system }];
  return { prompt: [...first, ...history, { role: "user", content: question }], completion: [{ role: "assistant", content: answer }], pair: true, ...rest };
}

/** Datasets in memory. */
class PlayedDataset {
  static async open(name) {
    return Object.assign(new PlayedDataset(), { name });
  }

  static list = async () => [...datasets].map(([name, rows]) => infoOf(name, rows));

  async import(source, { signal }) {
    const rows = [];
    for await (const row of source) {
      if (signal.aborted) throw new DOMException("stopped", "AbortError");
      rows.push(kept(row));
    }
    datasets.set(this.name, rows);
  }

  info = async () => infoOf(this.name, datasets.get(this.name) ?? []);
  rows = async (first, count) => datasets.get(this.name).slice(first, first + count).map((row) => ({ row }));
  discard_pending = async () => undefined;
  delete = async () => void datasets.delete(this.name);
}

/** Saved steps by the names of runs, as the played engine takes them out and in. */
const saved = new Map();

const PlayedTrainer = {
  checkpoints: async (name) => (saved.has(name) ? [{ step: 12, bytes: saved.get(name).length }] : []),
  export_run: async (name) => new Blob([saved.get(name)]),
  import_run: async (name, blob) => {
    const bytes = new Uint8Array(await blob.arrayBuffer());
    if (bytes.length === 0 || bytes[0] !== 7) throw Object.assign(new Error("it is damaged"), { code: "bad-data" });
    saved.set(name, bytes);
  },
  forget: async (name) => void saved.delete(name),
};

const infoOf = (name, rows) => ({ name, rows: rows.length, bytes: JSON.stringify(rows).length, fingerprint: rows.length > 0 ? fingerprintOf(rows) : "", files: [name], pending_rows: null, token_sets: [] });

before(async () => {
  globalThis.played = { Dataset: PlayedDataset, Trainer: PlayedTrainer };
  const settings = new Map();
  const localStorage = { getItem: (name) => settings.get(name) ?? null, setItem: (name, value) => settings.set(name, value), removeItem: (name) => settings.delete(name) };
  setGlobal("localStorage", localStorage);
  // It tells nothing of its storage.
  setGlobal("navigator", {});
  page = await studio(...MODULES, ...ARCHIVE);
});

const learnt = (id, more = {}) => ({
  version: 1,
  id,
  name: id,
  model: { kind: "hub", name: "HuggingFaceTB/SmolLM2-360M-Instruct" },
  config: { quantization: {}, lora: { r: 8 }, train: { max_steps: 60 } },
  rows: { dataset: "fragen.csv", heldout: null, is_chat: true, count: 28 },
  question: { text: "Wann?", system: null, continues: false },
  has_files: true,
  steps: 60,
  bytes: 700_000,
  weights: "a".repeat(64),
  date: 3,
  ...more,
});
const entry = (id, more, there = {}) => ({ learnt: learnt(id, more), saved_step: 0, checkpoint_bytes: 0, has_rows: true, ...there });
const shelved = (name, more = {}) => ({
  name,
  bytes: 500_000,
  kept: "2026-05-01T10:00:00.000Z",
  card: null,
  signed_by: null,
  inspection: { base_model_name_or_path: "HuggingFaceTB/SmolLM2-360M-Instruct" },
  mark: undefined,
  ...more,
});
const dataset = (name, more = {}) => ({ name, rows: 28, bytes: 9000, fingerprint: "f1", files: [name], pending_rows: null, token_sets: [], ...more });
const MODEL = { name: "HuggingFaceTB/SmolLM2-360M-Instruct", revision: "main", bytes: 90_000_000, complete: true };
const CHAT = { version: 1, id: "c1", title: "Über Räder", date: 5, turns: [{ role: "user", content: "Wann?" }, { role: "assistant", text: "Von neun bis fünf." }] };
const named = { chat: CHAT, name: CHAT.title };
const found = (more = {}) => ({ learnt: [], shelf: [], datasets: [], models: [], chats: [], logs: new Map(), open: undefined, answers: undefined, bundled: ["Bundled FAQ"], ...more });

test("all that is kept is one list, each with what it came from and what came from it", () => {
  const items = page.itemsOf(
    found({
      learnt: [entry("shop"), entry("gift", { rows: null, steps: null, weights: "b".repeat(64) }), entry("faq", { rows: { dataset: "Bundled FAQ", heldout: null, is_chat: true, count: 151 }, model: { kind: "bundled", name: "" }, weights: undefined, date: 9 })],
      shelf: [shelved("Shop, shelved", { mark: "a".repeat(64), card: { license: "cc0-1.0", files: {} } })],
      datasets: [dataset("fragen.csv"), dataset("Bundled FAQ"), dataset("half.csv", { rows: 0, fingerprint: "", bytes: 0, pending_rows: 12 })],
      models: [MODEL, { ...MODEL, revision: "old", bytes: 10 }],
      chats: [named],
      logs: new Map([["shop", 300]]),
      open: "shop",
      answers: "2026-05-01T10:00:00.000Z",
    }),
  );
  const item = (name) => items.find((other) => other.name === name);
  const told = (name) => item(name).from.map(({ how, name, key }) => `${how} ${name}${key ? ` (${key})` : ""}`);
  assert.deepEqual(items.map(({ kind, name }) => `${kind} ${name}`), ["run shop", "adapter gift", "run faq", "adapter Shop, shelved", "dataset fragen.csv", "dataset half.csv", `model ${MODEL.name}`, "chat Über Räder"]);
  assert.deepEqual(told("shop"), ["learnt from fragen.csv (dataset/fragen.csv)", `on ${MODEL.name} (model/${MODEL.name})`]);
  assert.deepEqual(told("faq"), ["learnt from the example rows", "on the bundled model"]);
  assert.deepEqual(told("Shop, shelved"), ["what was learnt by shop (run/shop)", `made for ${MODEL.name} (model/${MODEL.name})`]);
  assert.deepEqual(item("fragen.csv").to.map(({ key }) => key), ["run/shop"]);
  assert.deepEqual(item("shop").to.map(({ key }) => key), ["adapter/2026-05-01T10:00:00.000Z"]);
  assert.deepEqual(item(MODEL.name).to.length, 3, "two things that were learnt on it, and one of the shelf");
  assert.deepEqual([item("shop").now, item("Shop, shelved").now, item("gift").now], ["open", "answers now", ""]);
  assert.equal(item("shop").bytes, 700_300, "its files and its log");
  assert.equal(item(MODEL.name).bytes, 90_000_010);
  assert.equal(item("shop").about, "28 rows · 60 steps");
  assert.deepEqual(["shop", "gift"].map((name) => item(name).is_shelved), [true, false]);
  assert.equal(item("half.csv").about, "an import of it stopped after 12 rows");

  const gone = page.itemsOf(found({ learnt: [entry("shop")] }));
  assert.deepEqual(gone[0].from.map(({ name, key }) => [name, key]), [["fragen.csv", undefined], [MODEL.name, undefined]], "what is gone is named, and leads nowhere");

  const shown = (view) => page.shownOf(items, { kind: "all", search: "", order: "name", ...view }).map(({ name }) => name);
  assert.deepEqual(shown({ search: "uber RADER" }), ["Über Räder"]);
  assert.deepEqual(shown({ search: "fragen 28" }), ["fragen.csv", "shop"], "words of what it came from count too");
  assert.deepEqual(shown({ kind: "adapter" }), ["gift", "Shop, shelved"]);
  assert.deepEqual(shown({ order: "size" }).slice(0, 3), [MODEL.name, "shop", "faq"]);
  assert.deepEqual(shown({ order: "date" }).slice(-3), ["fragen.csv", "half.csv", MODEL.name], "what has no date comes last");
  assert.deepEqual(shown({ search: "nothing like it" }), []);
  const { run, adapter, chat } = page.sumsOf(items);
  assert.deepEqual([run.count, adapter, chat.count], [2, { count: 2, bytes: 1_200_000 }, 1]);
});

test("rows are said to be read from files alone, and typed ones to be typed", () => {
  const told = (name, ...files) => {
    const [item] = page.itemsOf(found({ datasets: [dataset(name, { files })] }));
    return item.from.map(({ how, name }) => `${how} ${name}`);
  };
  assert.deepEqual(told("My rows", page.TYPED), ["typed on this page"]);
  assert.deepEqual(told("Shop", "shop.csv", page.TYPED), ["typed on this page", "read from shop.csv"], "a file to which typed ones were added");
  assert.deepEqual(told("Shop", "a.csv", "b.csv", "c.csv", "d.csv"), ["read from a.csv, b.csv, c.csv …"]);
  for (const [name, file] of [["shop.csv", "shop.csv"], ["My rows", "My rows.jsonl"], ["picks", "rows.jsonl"]]) assert.deepEqual(told(name, file), [], "that says nothing more than the name, or is no file at all");
});

test("each is offered what can be done with it, and is deleted after a question that tells the loss", () => {
  const words = (found_more) => page.itemsOf(found(found_more)).map((item) => page.offersOf(item).map(({ word }) => word).join(", "));
  const later = "Card, Download, Put on the shelf, Give away, Use its settings, Rename, Delete";
  assert.deepEqual(words({ learnt: [entry("a"), entry("b", { steps: 12 }, { saved_step: 12 }), entry("c", { has_files: false }, { saved_step: 60 })], open: "a" }), [later, `Open, Go on from step 12, ${later}`, "Open, Use its settings, Rename, Delete"]);
  const [on_shelf] = words({ learnt: [entry("a")], shelf: [shelved("x", { mark: "a".repeat(64) })] });
  assert.equal(on_shelf, "Open, Card, Download, Give away, Use its settings, Rename, Delete", "what is on the shelf is not put there again");
  assert.deepEqual(words({ shelf: [shelved("x")] }), ["Use, Card, Give away, Rename, Delete"]);
  assert.deepEqual(words({ datasets: [dataset("d"), dataset("e", { rows: 0, pending_rows: 3 })] }), ["Train on, Look at, Export, Rename, Delete", "Rename, Delete"]);
  assert.deepEqual(words({ models: [MODEL, { ...MODEL, name: "https://example.org/model" }], chats: [named] }), ["Use, Delete", "Delete", "Open, Export, Rename, Delete"]);
  const [run] = page.itemsOf(found({ learnt: [entry("shop")], shelf: [shelved("Shop", { mark: "a".repeat(64) })] }));
  assert.equal(page.deleteQuestion(run, []), "Delete “shop” from this browser? What was learnt is lost then, but for what is kept as “Shop”.");
  const [rows] = page.itemsOf(found({ datasets: [dataset("d")] }));
  assert.match(page.deleteQuestion(rows, ["shop"]), /It is needed to go on with “shop”\. Your own file stays/);
});

test("what can go at least loss is offered first", () => {
  const twin = { weights: "c".repeat(64) };
  const items = page.itemsOf(
    found({
      learnt: [entry("first", { ...twin, date: 1 }), entry("second", { ...twin, date: 2 }), entry("open twin", { ...twin, date: 3 }), entry("over", { weights: "d" }, { checkpoint_bytes: 40, saved_step: 60 }), entry("begun", { weights: "e", steps: 5 }, { checkpoint_bytes: 90, saved_step: 5 }), entry("all weights", { has_files: false, weights: undefined }, { checkpoint_bytes: 700, saved_step: 60 })],
      shelf: [shelved("kept as well", { mark: "c".repeat(64) })],
      datasets: [dataset("one.csv", { fingerprint: "f2" }), dataset("half.csv", { fingerprint: "f3", pending_rows: 3 })],
      models: [MODEL],
      open: "open twin",
    }),
  );
  const told = page.suggestionsFor(items).map(({ name, bytes, loss }) => [name, bytes, loss.split(/[:;.]/)[0]]);
  assert.deepEqual(told, [
    ["first", 700_000, "Nothing"],
    ["second", 700_000, "Nothing"],
    ["Saved steps of begun", 90, "The run cannot go on any more"],
    ["Saved steps of over", 40, "Nothing"],
    [MODEL.name, 90_000_000, "Nothing but time"],
    ["Stopped import of half.csv", undefined, "The import cannot go on where it stopped"],
  ], "what is in use stays, and so does a model that is its checkpoint alone");
  assert.deepEqual(page.suggestionsFor(page.itemsOf(found({ chats: [named], learnt: [entry("a")] }))), []);
});

test("a record is known again by what it says, in whatever order", async () => {
  const sums = [{ id: "c", turns: [{ role: "user", text: "a" }] }, { turns: [{ text: "a", role: "user" }], id: "c" }, { id: "c", turns: [{ role: "user", text: "b" }] }].map(page.sumOf);
  const [one, same, other] = await Promise.all(sums);
  assert.equal(one, same);
  assert.notEqual(one, other);
  const kept = [{ id: "c", turns: [], revision: "1" }, { id: "c", turns: [], revision: "2" }, { id: "c", turns: [{}], revision: "2" }].map(page.sumOfChat);
  const [before, again, after] = await Promise.all(kept);
  assert.equal(before, again, "a chat that is kept once more says nothing new");
  assert.notEqual(before, after);
});

test("the logs of runs are taken along as numbers by step", async () => {
  const kept = new Map();
  class Log {
    constructor(total) {
      this.total = total;
    }
    column = (metric) => Array.from(this.columns[metric], (value) => (Number.isNaN(value) ? null : value));
    fill(steps, every, columns) {
      Object.assign(this, { steps: [...steps], every, columns });
    }
  }
  const store = { get: async (id) => kept.get(id), put: async (id, log) => void kept.set(id, log), delete: async (id) => void kept.delete(id) };
  const logs = page.logsOf(store, (total) => new Log(total), ["loss", "seconds"]);
  const told = { version: 1, total: 60, every: 2, steps: [2, 4], columns: { loss: [0.5, null], seconds: [1.25, 2.5] } };
  await logs.write("shop", { ...told, columns: { ...told.columns, unknown: [1, 2] } });
  assert.deepEqual(await logs.read("shop"), told);
  assert.equal(await logs.read("nobody"), undefined);
  await logs.delete("shop");
  assert.equal(kept.size, 0);
});

// ---- the file --------------------------------------------------------------------------------------

const CONFIG = strToU8(JSON.stringify({ peft_type: "LORA", r: 8 }));
const weightsOf = (seed) => Uint8Array.from({ length: 600 }, (_, index) => (index * 31 + seed * 7) & 255);
const sumOf = (bytes) => createHash("sha256").update(bytes).digest("hex");
const adapterOf = (seed) => ({ "adapter_config.json": CONFIG, "adapter_model.safetensors": weightsOf(seed) });

const ROWS = [
  { prompt: [{ role: "user", content: "Wann?" }], completion: [{ role: "assistant", content: "Um neun." }], pair: true },
  { prompt: [{ role: "system", content: "Sei kurz." }, { role: "user", content: "A" }, { role: "assistant", content: "B" }, { role: "user", content: "C" }], completion: [{ role: "assistant", content: "<b>D</b>\u2028" }], pair: true },
  { messages: [{ role: "user", content: "Hallo" }, { role: "assistant", content: "Guten Tag" }] },
  { prompt: "bare", completion: " text" },
  { text: "Nur Text.\nZwei Zeilen." },
  { prompt: [{ role: "user", content: "x" }], completion: [{ role: "assistant", content: "y" }], pair: true, label: false },
  { prompt: "p", chosen: "a", rejected: "b" },
];

/** Stores in memory, and what an archive is packed from and brought into. */
function storesOf() {
  const [records, files, shelf, chats, logs, settings] = [new Map(), new Map(), new Map(), new Map(), new Map(), new Map()];
  const talks = { all: async () => [...chats.values()], put: async (one) => void chats.set(one.id, one), nameOf: ({ title }) => title, read: (value) => (Array.isArray(value.turns) ? value : undefined) };
  const logged = { read: async (id) => logs.get(id), write: async (id, log) => void logs.set(id, log), delete: async (id) => void logs.delete(id) };
  const store = {
    files: async (id) => files.get(id),
    put: async (one) => void records.set(one.id, one),
    keep: async (one, its) => {
      files.set(one.id, its);
      records.set(one.id, { ...one, has_files: true, bytes: Object.values(its).reduce((sum, { length }) => sum + length, 0), weights: sumOf(its["adapter_model.safetensors"]) });
    },
    delete: async (id) => void (records.delete(id), files.delete(id)),
  };
  const played = { put: async (name, its) => void shelf.set(name, its), open: async (name) => shelf.get(name) };
  return { records, files, shelf, chats, logs, settings, sources: { learnt: store, shelf: played, logs: logged }, stores: { learnt: store, shelf: played, chats: talks, logs: logged, settings: { get: (name) => settings.get(name), set: (name, value) => settings.set(name, value) } } };
}

/** Where an archive goes in memory. */
function sinkOf() {
  const pieces = [];
  return { pieces, states: [], write: async (piece) => void pieces.push(piece.slice()), close: async function () { this.states.push("closed"); }, abort: async function () { this.states.push("aborted"); }, blob: () => new Blob(pieces) };
}

const here = async ({ records, shelf, chats }, marks = []) => ({
  learnt: [...records.values()],
  saved: new Map([...saved.keys()].map((name) => [name, 12])),
  shelf: [...shelf].map(([name, files]) => ({ ...shelved(name), mark: sumOf(files["adapter_model.safetensors"]) })),
  datasets: [...datasets].map(([name, rows]) => infoOf(name, rows)),
  models: await page.modelsHere(),
  chats: [...chats.values()].map((chat, index) => ({ id: chat.id, mark: marks[index] ?? "" })),
});

const following = () => ({ signal: new AbortController().signal, report: () => undefined });

const CARRIED = "somebody/small-model";
const CARRIED_FILES = { "config.json": strToU8('{"model_type":"llama"}'), "model.safetensors": weightsOf(5) };

/** Puts a downloaded model where the package keeps them. */
async function keepModel() {
  const folder = `https://hub.example/${CARRIED}`;
  const key = (kind, fields) => `https://tabtune.invalid/${kind}?${new URLSearchParams(fields)}`;
  const cache = await caches.open("tabtune-models");
  const listed = {};
  for (const [file, content] of Object.entries(CARRIED_FILES)) {
    const sha256 = file.endsWith(".safetensors") ? sumOf(content) : undefined;
    const version = sha256 ?? createHash("sha1").update(`blob ${content.length}\0`).update(content).digest("hex");
    const [size, part_bytes] = [content.length, 256];
    listed[file] = { size, version, sha256 };
    await cache.put(key("file", { folder, file, version }), Response.json({ folder, file, version, size, part_bytes, state: "whole" }));
    for (let index = 0; index * part_bytes < size; index++) {
      await cache.put(key("part", { folder, file, version, bytes: part_bytes, index }), new Response(content.slice(index * part_bytes, (index + 1) * part_bytes)));
    }
  }
  await cache.put(key("list", { folder, revision: "main" }), Response.json({ sha: "c0ffee", files: listed }));
}

/** A library with one of everything, packed. What was packed of models is no longer in the cache. */
async function packed({ signal = new AbortController().signal, sink = sinkOf(), weights = 1 } = {}) {
  const from = storesOf();
  setGlobal("caches", playedCaches());
  await keepModel();
  datasets.clear();
  datasets.set("fragen.csv", ROWS);
  localStorage.setItem("tabtune:import:fragen.csv", JSON.stringify({ pairs: "chat", on_bad_row: "skip" }));
  await from.stores.learnt.keep(learnt("shop"), adapterOf(weights));
  from.shelf.set("Shelved", { ...adapterOf(2), "tabtune_card.json": strToU8('{"signature":"of  these   bytes"}') });
  from.chats.set(CHAT.id, CHAT);
  from.logs.set("shop", { version: 1, total: 60, every: 1, steps: [1, 2], columns: { loss: [0.1 + 0.2, null] } });
  const items = page.itemsOf(
    found({ learnt: [{ ...entry("shop"), learnt: from.records.get("shop") }], shelf: [shelved("Shelved", { mark: sumOf(weightsOf(2)) })], datasets: [infoOf("fragen.csv", ROWS)], chats: [named], models: [MODEL, ...(await cachedModels())] }),
  );
  const all = await Promise.all(items.map((item) => page.toPack(item, from.sources)));
  const settings = page.settingsToPack({ "tabtune:giver": { license: "cc0-1.0", author: "Ada" } });
  const reports = [];
  await page.pack({ items: [...all.flat(), settings], models: [{ name: MODEL.name, revision: "main", bytes: MODEL.bytes }], page: "0.0.0", signal, report: (percent) => reports.push(percent) }, sink).finally(() => setGlobal("caches", playedCaches()));
  return { from, sink, reports };
}

test("everything comes out of the file as it went in, to the byte", async () => {
  const { from, sink, reports } = await packed();
  assert.deepEqual(sink.states, ["closed"]);
  assert.ok(reports.at(-1) === 100 && reports.every((percent, index) => percent >= (reports[index - 1] ?? 0)));
  // Other programs read it too.
  const bytes = new Uint8Array(await sink.blob().arrayBuffer());
  const files = unzipSync(bytes);
  const manifest = JSON.parse(new TextDecoder().decode(files["manifest.json"]));
  for (const { path, bytes, sha256 } of manifest.items.flatMap((item) => item.files)) assert.deepEqual([files[path].length, sumOf(files[path])], [bytes, sha256]);
  const rows = manifest.items.find(({ kind }) => kind === "dataset").files.filter(({ path }) => path.endsWith(".jsonl"));
  assert.deepEqual(rows.flatMap(({ path }) => new TextDecoder().decode(files[path]).trim().split("\n")).map((line) => JSON.parse(line)), ROWS);

  datasets.clear();
  localStorage.removeItem("tabtune:import:fragen.csv");
  const into = storesOf();
  const archive = await page.Archive.open(sink.blob());
  assert.deepEqual(archive.manifest.models, [{ name: MODEL.name, revision: "main", bytes: MODEL.bytes }]);
  const plan = await page.planFor(archive, await here(into));
  assert.deepEqual(plan.map(({ item, is_here, name }) => [item.kind, is_here, name]), [["run", false, "shop"], ["adapter", false, "Shelved"], ["dataset", false, "fragen.csv"], ["model", false, CARRIED], ["chat", false, "Über Räder"], ["settings", false, "Settings"]]);
  assert.deepEqual(await page.bring(archive, plan, plan, into.stores, following()), []);
  assert.deepEqual(into.records.get("shop"), from.records.get("shop"));
  assert.deepEqual(into.files.get("shop"), from.files.get("shop"));
  assert.deepEqual(into.shelf.get("Shelved"), from.shelf.get("Shelved"), "with the card, whose very bytes are signed");
  assert.deepEqual(into.chats.get("c1"), CHAT);
  assert.deepEqual(into.logs.get("shop"), from.logs.get("shop"));
  assert.deepEqual(into.settings.get("tabtune:giver"), { license: "cc0-1.0", author: "Ada" });
  assert.deepEqual(datasets.get("fragen.csv"), ROWS);
  assert.deepEqual(JSON.parse(localStorage.getItem("tabtune:import:fragen.csv")), { pairs: "chat", on_bad_row: "skip" });

  assert.deepEqual(await cachedModels(), [{ name: CARRIED, revision: "main", bytes: 622, complete: true }]);

  const again = await page.planFor(archive, await here(into, [archive.manifest.items.find(({ kind }) => kind === "chat").mark]));
  assert.deepEqual(again.map(({ is_here }) => is_here), [true, true, true, true, true, false], "it is all here now; settings are looked at one by one");
  into.settings.set("tabtune:giver", { license: "mit", author: "Bob" });
  await page.bring(archive, again, again.filter(({ is_here }) => !is_here), into.stores, following());
  assert.equal(into.settings.get("tabtune:giver").license, "mit", "what was set here stays");
});

test("the guide's program reads the file", async (t) => {
  const { sink } = await packed();
  const [script] = blocksOf("docs/guides/keep-and-move.md").filter(({ name }) => name === "read.mjs");
  const folder = mkdtempSync(join(tmpdir(), "tabtune-guide-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  symlinkSync(join(paths.root, "node_modules"), join(folder, "node_modules"));
  const [program, file] = ["read.mjs", "library.tabtune"].map((name) => join(folder, name));
  writeFileSync(program, script.text);
  const read = (bytes) => {
    writeFileSync(file, bytes);
    return spawnSync(process.execPath, [program, file], { encoding: "utf8" });
  };
  const whole = new Uint8Array(await sink.blob().arrayBuffer());
  assert.equal(read(whole).stdout, "run shop\nadapter Shelved\ndataset fragen.csv\nmodel somebody/small-model\nchat Über Räder\nsettings Settings\n");
  const weights = Buffer.from(whole).indexOf(Buffer.from(weightsOf(1)));
  assert.match(read(whole.with(weights, whole[weights] ^ 1)).stderr, /items\/1\/adapter_model\.safetensors was changed/);
});

test("what has the name of something else gets a number, and what names it follows", async () => {
  const { sink } = await packed();
  const archive = await page.Archive.open(sink.blob());
  datasets.clear();
  datasets.set("fragen.csv", [{ text: "other rows" }]);
  const into = storesOf();
  await into.stores.learnt.keep(learnt("shop"), adapterOf(9));
  into.shelf.set("Shelved", adapterOf(8));
  into.chats.set("c1", { ...CHAT, title: "went on" });
  const plan = await page.planFor(archive, await here(into));
  assert.deepEqual(plan.map(({ name, id }) => [name, id]).slice(0, 5), [["shop (2)", "shop (2)"], ["Shelved (2)", "2026-05-01T10:00:00.000Z"], ["fragen.csv (2)", "fragen.csv (2)"], [CARRIED, `https://hub.example/${CARRIED} main`], ["Über Räder", "c1 (2)"]]);
  assert.deepEqual(await page.bring(archive, plan, plan, into.stores, following()), []);
  assert.deepEqual(into.files.get("shop"), adapterOf(9), "what was here is as it was");
  assert.equal(into.records.get("shop (2)").rows.dataset, "fragen.csv (2)");
  assert.deepEqual(into.logs.get("shop (2)").steps, [1, 2]);
  assert.deepEqual([into.chats.get("c1").title, into.chats.get("c1 (2)").title], ["went on", "Über Räder (2)"]);

  // The same rows under another name are the rows that the run means.
  datasets.clear();
  datasets.set("Fragen", ROWS);
  const other = storesOf();
  const known = await page.planFor(archive, await here(other));
  assert.deepEqual(known.filter(({ is_here }) => is_here).map(({ name }) => name), ["Fragen", CARRIED]);
  await page.bring(archive, known, known.filter(({ is_here }) => !is_here), other.stores, following());
  assert.equal(other.records.get("shop").rows.dataset, "Fragen");
});

test("what cannot be kept is not there in part, and the rest is", async () => {
  const { sink } = await packed();
  const archive = await page.Archive.open(sink.blob());
  datasets.clear();
  const into = storesOf();
  const full = new DOMException("There is no room.", "QuotaExceededError");
  into.stores.learnt.keep = async () => {
    throw full;
  };
  const plan = await page.planFor(archive, await here(into));
  const failed = await page.bring(archive, plan, plan, into.stores, following());
  assert.deepEqual(failed, [{ name: "shop", thrown: full }]);
  assert.deepEqual([into.records.size, into.logs.size, into.shelf.size, into.chats.size, datasets.size], [0, 0, 1, 1, 1]);

  // Stopped in the middle of the rows.
  datasets.clear();
  const stopped = storesOf();
  const controller = new AbortController();
  const { import: importing } = PlayedDataset.prototype;
  PlayedDataset.prototype.import = async function (source, options) {
    controller.abort();
    return importing.call(this, source, options);
  };
  await assert.rejects(page.bring(archive, plan, plan, stopped.stores, { ...following(), signal: controller.signal }), { name: "AbortError" });
  PlayedDataset.prototype.import = importing;
  assert.deepEqual([datasets.size, stopped.records.size, stopped.shelf.size], [0, 0, 0]);

  // Rows that the engine would read as others are taken away again.
  const lying = await rebuilt(sink, (manifest) => void (manifest.items.find(({ kind }) => kind === "dataset").mark = "f".repeat(32)));
  const wrong = await page.Archive.open(lying);
  const planned = await page.planFor(wrong, await here(storesOf()));
  const [{ name, thrown }] = await page.bring(wrong, planned, planned.filter(({ item }) => item.kind === "dataset"), storesOf().stores, following());
  assert.deepEqual([name, thrown.code, datasets.size], ["fragen.csv", "damaged", 0]);

  const aborting = sinkOf();
  const ended = AbortSignal.abort();
  await assert.rejects(packed({ sink: aborting, signal: ended }), { name: "AbortError" });
  assert.deepEqual(aborting.states, ["aborted"], "of an export that is stopped nothing stays");
});

test("a run that is not over goes along with its saved steps, also where it has nothing else", async () => {
  saved.clear();
  const steps = new Uint8Array((16 << 20) + 5).fill(7);
  for (const name of ["shop", "all"]) saved.set(name, steps);
  const from = storesOf();
  await from.stores.learnt.keep(learnt("shop", { steps: 12 }), adapterOf(1));
  const there = { saved_step: 12, checkpoint_bytes: steps.length };
  const items = page.itemsOf(found({ learnt: [{ ...entry("shop", {}, there), learnt: from.records.get("shop") }, entry("all", { has_files: false, weights: undefined, steps: 0 }, there)] }));
  const all = await Promise.all(items.map((item) => page.toPack(item, from.sources)));
  const sink = sinkOf();
  await page.pack({ items: all.flat(), models: [], page: "0.0.0", ...following() }, sink);
  const archive = await page.Archive.open(sink.blob());
  const pieces = ["steps-1", "steps-2"];
  assert.deepEqual(archive.manifest.items.map(({ kind, mark }) => [kind, mark.slice(0, 2)]), [["run", sumOf(weightsOf(1)).slice(0, 2)], ["steps", "12"]]);
  assert.deepEqual(archive.manifest.items.map((item) => archive.namesOf(item)), [["record.json", "adapter_config.json", "adapter_model.safetensors", ...pieces], ["record.json", ...pieces]]);
  assert.equal(archive.manifest.version, 2);

  saved.clear();
  const into = storesOf();
  const plan = await page.planFor(archive, await here(into));
  assert.deepEqual(await page.bring(archive, plan, plan, into.stores, following()), []);
  assert.deepEqual([...saved].map(([name, bytes]) => [name, Buffer.compare(bytes, steps)]), [["shop", 0], ["all", 0]]);
  assert.deepEqual([...into.records.values()].map(({ id, has_files }) => [id, has_files]), [["shop", true], ["all", false]]);
  assert.deepEqual((await page.planFor(archive, await here(into))).map(({ is_here }) => is_here), [true, true]);
  const earlier = { ...(await here(into)), saved: new Map([["all", 11]]) };
  assert.deepEqual((await page.planFor(archive, earlier)).map(({ is_here, id }) => [is_here, id]), [[true, "shop"], [false, "all (2)"]]);

  // What the package refuses leaves nothing behind.
  saved.clear();
  for (const name of ["shop", "all"]) saved.set(name, new Uint8Array(3));
  const damaged = sinkOf();
  await page.pack({ items: (await Promise.all(items.map((item) => page.toPack(item, from.sources)))).flat(), models: [], page: "0.0.0", ...following() }, damaged);
  saved.clear();
  const wrong = await page.Archive.open(damaged.blob());
  const empty = storesOf();
  const planned = await page.planFor(wrong, await here(empty));
  const failed = await page.bring(wrong, planned, planned, empty.stores, following());
  assert.deepEqual(failed.map(({ name, thrown }) => [name, thrown.code]), [["shop", "bad-data"], ["all", "bad-data"]]);
  assert.deepEqual([empty.records.size, empty.files.size, saved.size], [0, 0, 0]);
});

test("a model goes along in pieces, and is brought as its sums say, or not at all", async () => {
  const { sink } = await packed();
  const archive = await page.Archive.open(sink.blob());
  const item = archive.manifest.items.find(({ kind }) => kind === "model");
  assert.deepEqual([archive.manifest.version, item.name, archive.namesOf(item)], [2, CARRIED, ["record.json", "file-1-1", "file-2-1", "file-2-2", "file-2-3"]]);
  const bringModel = async (zip, options = {}) => {
    const opened = await page.Archive.open(zip);
    const plan = (await page.planFor(opened, await here(storesOf()))).filter((planned) => planned.item.kind === "model");
    return { plan, failed: await page.bring(opened, plan, plan, storesOf().stores, { ...following(), ...options }) };
  };
  const pathOf = (name) => item.files.find(({ path }) => path.endsWith(`/${name}`)).path;

  // Someone has changed the weights, and told the sum of what they have made of them.
  const other = weightsOf(6).slice(0, 256);
  const changed = (manifest) => void (manifest.items.flatMap(({ files }) => files).find(({ path }) => path === pathOf("file-2-1")).sha256 = sumOf(other));
  const { failed: refused } = await bringModel(await rebuilt(sink, changed, { [pathOf("file-2-1")]: other }));
  assert.deepEqual(refused.map(({ name, thrown }) => [name, thrown.code]), [[CARRIED, "bad-model"]]);
  assert.match(refused[0].thrown.message, /^model\.safetensors: its sha256 is/);
  // A piece is missing.
  const path = pathOf("file-2-3");
  const without = await rebuilt(sink, (manifest) => void manifest.items.forEach((one) => (one.files = one.files.filter((file) => file.path !== path))), { [path]: undefined });
  assert.match((await bringModel(without)).failed[0].thrown.message, /^model\.safetensors: it ends at byte 512 of 600/);
  // It is stopped after its first piece.
  const controller = new AbortController();
  await assert.rejects(bringModel(sink.blob(), { signal: controller.signal, report: () => controller.abort() }), { name: "AbortError" });
  assert.deepEqual(await cachedModels(), [], "of none anything is left");

  const percents = [];
  assert.deepEqual((await bringModel(sink.blob(), { report: (percent) => percents.push(percent) })).failed, []);
  assert.ok(percents.length > 4 && percents.at(-1) === 100 && percents.every((percent, index) => percent >= (percents[index - 1] ?? 0)), String(percents));
  assert.ok((await bringModel(sink.blob())).plan[0].is_here);
  // Not, where one of its files is another one here.
  const cache = await caches.open("tabtune-models");
  for (const { url } of await cache.keys()) if (url.includes("config.json")) await cache.delete(url);
  assert.ok(!(await bringModel(sink.blob())).plan[0].is_here);
  assert.equal((await cachedModels())[0].bytes, 622);

  // A file without models is one that older pages read too.
  const old = sinkOf();
  const settings = page.settingsToPack({ "tabtune:device": "cpu" });
  await page.pack({ items: [settings], models: [], page: "0.0.0", ...following() }, old);
  assert.equal((await page.Archive.open(old.blob())).manifest.version, 1);
  await assert.rejects(page.pack({ items: [{ ...settings, bytes: 2 ** 32 }], models: [], page: "0.0.0", ...following() }, sinkOf()), /more than 4 GB/);

  // Another version is here, and there is no room.
  const listed = [...(await cache.keys())].find(({ url }) => url.includes("/list?")).url;
  const list = await (await cache.match(listed)).json();
  list.files["config.json"].version = "0".repeat(40);
  await cache.put(listed, Response.json(list));
  assert.match((await bringModel(sink.blob())).failed[0].thrown.message, /^Another version of “somebody\/small-model” is here.*Delete that one first/);
  await forgetModel(CARRIED);
  const estimate = async () => ({ quota: 100, usage: 0 });
  setGlobal("navigator", { storage: { estimate } });
  assert.match((await bringModel(sink.blob())).failed[0].thrown.message, /^There is not enough room for it: it takes 1 kB\. Free some room/);
  setGlobal("navigator", {});
  await bringModel(sink.blob());

  // What is here in part is none that could be taken along.
  for (const { url } of await cache.keys()) if (url.includes("index=0")) await cache.delete(url);
  const [kept] = page.itemsOf(found({ models: await cachedModels() }));
  assert.deepEqual(await page.toPack(kept, {}), []);
});

/** The archive with its manifest changed, and files added or taken out. */
async function rebuilt(sink, change = () => undefined, more = {}) {
  const files = unzipSync(new Uint8Array(await sink.blob().arrayBuffer()));
  const manifest = JSON.parse(new TextDecoder().decode(files["manifest.json"]));
  const result = change(manifest);
  files["manifest.json"] = strToU8(JSON.stringify(result ?? manifest));
  Object.assign(files, more);
  for (const [name, content] of Object.entries(files)) if (content === undefined) delete files[name];
  return new Blob([zipSync(files, { level: 0 })]);
}

async function codeOf(zip) {
  try {
    await readAll(await page.Archive.open(zip));
    return "read";
  } catch (thrown) {
    assert.ok(thrown instanceof page.ArchiveProblem, `${thrown?.stack}`);
    return thrown.code;
  }
}

/** All that an archive holds, checked. */
async function readAll(archive) {
  const all = [];
  for (const item of archive.manifest.items) for (const name of archive.namesOf(item)) all.push([name, Buffer.from(await archive.read(item, name)).toString("base64")]);
  return JSON.stringify([archive.manifest, all]);
}

test("a file that lies, or is of a later page, is refused by a code", async () => {
  const { sink } = await packed();
  const refused = async (code, change, more) => assert.equal(await codeOf(await rebuilt(sink, change, more)), code, `${change}`);
  await refused("read", () => undefined);
  await refused("later-version", (manifest) => void (manifest.version = 3));
  await refused("not-an-archive", (manifest) => void (manifest.format = "other"));
  await refused("unlisted", () => undefined, { "items/9/more.json": strToU8("{}") });
  await refused("damaged", () => undefined, { "items/1/record.json": undefined });
  for (const path of ["../../etc/passwd", "/items/1/record.json", "items/1/../2/x", "items/1/a/b", "items\\1\\x", "items/1/", "items/0/x", "C:x"]) {
    await refused("damaged", (manifest) => void (manifest.items[0].files[0].path = path));
  }
  await refused("damaged", (manifest) => void (manifest.items[0].files[0].bytes += 1));
  await refused("damaged", (manifest) => void (manifest.items[0].files[0].sha256 = "0".repeat(64)));
  await refused("damaged", (manifest) => void manifest.items.push(manifest.items[0]));
  await refused("damaged", (manifest) => void (manifest.items[0].kind = "program"));
  await refused("damaged", (manifest) => void (manifest.items[0].name = { toString: "x" }));
  await refused("damaged", (manifest) => void (manifest.items[0].files = []));
  await refused("damaged", () => []);
  const bytes = new Uint8Array(await sink.blob().arrayBuffer());
  assert.equal(await codeOf(new Blob([bytes.subarray(0, -1)])), "cut-off");
  assert.equal(await codeOf(new Blob([bytes, "x"])), "cut-off");
  assert.equal(await codeOf(new Blob(["PK"])), "not-an-archive");
  assert.equal(await codeOf(new Blob([strToU8("a,b\n1,2\n".repeat(99))])), "not-an-archive");
  assert.equal(await codeOf(new Blob([zipSync({ "notes.txt": strToU8("hello") })])), "not-an-archive");
  // A little that becomes very much.
  const bomb = zipSync({ "manifest.json": strToU8("{}"), "items/1/zeros.json": new Uint8Array(65 << 20) }, { level: 1 });
  assert.ok(bomb.length < 1_000_000);
  assert.equal(await codeOf(new Blob([bomb])), "too-large");
  const many = zipSync(Object.fromEntries(Array.from({ length: 3 }, (_, index) => [`items/${index + 1}/zeros.json`, new Uint8Array(30 << 20)])), { level: 1 });
  assert.equal(await codeOf(new Blob([many])), "too-large");

  // Records of a later page, and of nobody's.
  const bringing = async (path, content) => {
    const record = strToU8(JSON.stringify(content));
    const zip = await rebuilt(sink, (manifest) => void Object.assign(manifest.items.flatMap(({ files }) => files).find((file) => file.path === path), { bytes: record.length, sha256: sumOf(record) }), { [path]: record });
    const archive = await page.Archive.open(zip);
    const into = storesOf();
    const plan = await page.planFor(archive, { ...(await here(into)), datasets: [] });
    const failed = await page.bring(archive, plan, plan.filter(({ item }) => item.files.some((file) => file.path === path)), into.stores, following());
    return failed.map(({ thrown }) => thrown.code ?? thrown.message);
  };
  assert.deepEqual(await bringing("items/1/record.json", learnt("shop")), []);
  assert.deepEqual(await bringing("items/1/record.json", { ...learnt("shop"), version: 2 }), ["later-version"]);
  for (const wrong of [null, [], { ...learnt("shop"), name: 5 }, { ...learnt("shop"), config: {} }, { ...learnt("shop"), date: "today" }, { ...learnt("shop"), rows: 3 }, { ...learnt("shop"), model: "x" }]) {
    assert.deepEqual(await bringing("items/1/record.json", wrong), ["damaged"], JSON.stringify(wrong));
  }
  assert.deepEqual(await bringing("items/5/chat.json", { ...CHAT, turns: "none" }), ["damaged"]);
});

/** Numbers that look random, and are the same for a seed everywhere (mulberry32). */
function numbers(seed) {
  let state = seed;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32) * below);
  };
}

test("whatever becomes of the bytes, the file is refused by a code or says the same", async () => {
  const { sink } = await packed();
  const whole = new Uint8Array(await sink.blob().arrayBuffer());
  const told = await readAll(await page.Archive.open(new Blob([whole])));
  const codes = {};
  const next = numbers(23);
  for (let round = 0; round < MUTATIONS; round++) {
    const zip = await mutated(whole, next);
    let code;
    try {
      code = (await readAll(await page.Archive.open(zip))) === told ? "same" : "other";
    } catch (thrown) {
      assert.ok(thrown instanceof page.ArchiveProblem, `round ${round}: ${thrown?.stack}`);
      ({ code } = thrown);
    }
    assert.notEqual(code, "other", `round ${round}`);
    codes[code] = (codes[code] ?? 0) + 1;
  }
  assert.ok(codes.damaged > 1000 && codes["cut-off"] > 100 && codes.same > 10, JSON.stringify(codes));
});

/** Bytes turned, cut off, doubled or put elsewhere; half of the time where the structure of the zip is. */
async function mutated(whole, next) {
  const at = () => (next(2) === 0 ? next(whole.length) : whole.length - 1 - next(Math.min(whole.length, 1500)));
  const bytes = whole.slice();
  switch (next(5)) {
    case 0:
    case 1:
      for (let turns = 1 + next(3); turns > 0; turns--) bytes[at()] ^= 1 << next(8);
      return new Blob([bytes]);
    case 2:
      return new Blob([bytes.subarray(0, next(bytes.length))]);
    case 3: {
      const [from, to] = [at(), at()];
      return new Blob([bytes.subarray(0, to), bytes.subarray(from, from + 1 + next(64)), bytes.subarray(to)]);
    }
    default: {
      const [from, to] = [at(), at()];
      bytes.copyWithin(to, from, from + 1 + next(32));
      return new Blob([bytes]);
    }
  }
}
