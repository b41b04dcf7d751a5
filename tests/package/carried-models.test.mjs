// Models that are taken out of one browser's cache and put into another's: what comes of them, and of what lies. Caches and the
// network are played.
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { afterEach, beforeEach, test } from "node:test";
import { folderOf, openFolder } from "../../www/package/build/files.js";
import { exportModel } from "../../www/package/build/hub/export.js";
import { importInParts, importModel } from "../../www/package/build/hub/import.js";
import { cachedModels, forgetModel } from "../../www/package/build/hub/models.js";
import { playedCaches, setGlobal } from "./played-storage.mjs";

const HUB = "https://hub.example";
const ID = "somebody/small-model";
const PLAIN = "https://models.example/a/";
const PART = 1 << 10;
const TUNING = { part_bytes: PART, first_wait_ms: 1 };
const CACHE = "tabtune-models";

const sum = (algorithm, ...pieces) => pieces.reduce((hash, piece) => hash.update(piece), createHash(algorithm)).digest("hex");
const bytesOf = (length, seed) => Buffer.from(Uint8Array.from({ length }, (_, index) => (index * 31 + (index >> 8) * seed) & 255));

/** A model with three parts of weights and a bit, an empty file, and one that no model asks for. */
const modelOf = (seed = 1) => ({
  sha: `c0ffee${seed}`,
  files: { "config.json": Buffer.from(`{"seed":${seed}}`), "empty.txt": Buffer.alloc(0), "model.safetensors": bytesOf(3 * PART + 100, seed), "README.md": Buffer.from("words") },
});
const NAMES = ["config.json", "empty.txt", "model.safetensors"];

const { fetch } = globalThis;
let storage;

beforeEach(() => {
  storage = playedCaches();
  setGlobal("caches", storage);
  setGlobal("navigator", { onLine: true });
});

afterEach(() => {
  globalThis.fetch = fetch;
});

/** Plays a hub, and a server with the same files; lists what is asked of them. Without a model nobody answers. */
function play(model) {
  const asked = [];
  globalThis.fetch = async (address, { method = "GET" } = {}) => {
    asked.push(address);
    if (!model) throw new TypeError("Failed to fetch");
    const response = answer(model, address, method);
    Object.defineProperty(response, "url", { value: address });
    return response;
  };
  return asked;
}

function answer({ sha, files }, address, method) {
  if (address.includes("/revision/")) return Response.json({ sha });
  if (address.includes("/tree/")) return Response.json(Object.entries(files).map(([path, bytes]) => ({ type: "file", path, ...listed(path, bytes) })));
  const bytes = files[address.split("/").at(-1)];
  const headers = { ETag: `"${sum("md5", bytes ?? "")}"`, "Content-Length": String(bytes?.length) };
  return bytes ? new Response(method === "HEAD" ? null : bytes, { headers }) : new Response("", { status: 404 });
}

function listed(path, bytes) {
  const git = { size: bytes.length, oid: sum("sha1", `blob ${bytes.length}\0`, bytes) };
  return path.endsWith(".safetensors") ? { ...git, lfs: { oid: sum("sha256", bytes), size: bytes.length } } : git;
}

/** The content of files, as the engine would read it. */
async function read(source = ID, options = {}) {
  const reader = openFolder(folderOf(source, { hub: HUB, ...options }), {}, TUNING);
  const found = {};
  for (const name of NAMES) found[name] = Buffer.from(await reader.read(name, 0, await reader.size(name)));
  return found;
}

/** Downloads a model into a cache of its own, and takes it out. The record has travelled as JSON. */
async function exported({ model = modelOf(), source = ID, options = {} } = {}) {
  const mine = storage;
  setGlobal("caches", (storage = playedCaches()));
  const played = globalThis.fetch;
  play(model);
  await read(source, options);
  globalThis.fetch = played;
  const { record, read: piecesOf } = await exportModel(source === ID ? ID : PLAIN);
  const files = {};
  for (const { name } of record.files) {
    files[name] = [];
    for await (const piece of piecesOf(name)) files[name].push(piece);
  }
  const from = storage;
  setGlobal("caches", (storage = mine));
  return { record: JSON.parse(JSON.stringify(record)), read: (name) => files[name], from };
}

/** All that lies in the cache, by keys. */
async function kept(played = storage) {
  const entries = [...(played.caches.get(CACHE) ?? [])].map(async ([key, blob]) => [key.replace("https://tabtune.invalid/", ""), await blob.text()]);
  return Object.fromEntries((await Promise.all(entries)).sort());
}

const bring = (model, options = {}) => importInParts(model, options, PART);

/** The model with the content of a file made another one. */
const changed = (model, name, change) => ({ ...model, read: (asked) => (asked === name ? change(model.read(name)) : model.read(asked)) });

/** A byte of the last piece turned. */
async function* turned(pieces) {
  for (const piece of pieces.slice(0, -1)) yield piece;
  const bytes = new Uint8Array(await pieces.at(-1).arrayBuffer());
  bytes[0] ^= 1;
  yield new Blob([bytes]);
}

/** Refused so, and all that was in the cache is as it was. */
async function refused(working, code, message, before = {}) {
  await assert.rejects(working, (thrown) => {
    assert.equal(thrown.code, code, String(thrown));
    assert.match(thrown.message, message);
    return true;
  });
  assert.deepEqual(await kept(), before);
}

test("a model is in another cache what a download would have left, and needs no network", async () => {
  const model = modelOf();
  const { from, ...carried } = await exported({ model });
  assert.deepEqual(carried.record.files.map(({ name, size }) => [name, size]), NAMES.map((name) => [name, model.files[name].length]));
  const asked = play(undefined);
  const events = [];
  // In pieces of any size.
  const small = { ...carried, read: (name) => carried.read(name).flatMap((piece) => Array.from({ length: Math.ceil(piece.size / 700) }, (_, index) => piece.slice(index * 700, (index + 1) * 700))) };
  assert.deepEqual(await bring(small, { progress_callback: (event) => events.push(event) }), { name: ID, revision: "main", bytes: 3 * PART + 100 + 10, complete: true });
  assert.deepEqual(asked, []);
  const [there, here] = [await kept(from), await kept()];
  const list = Object.keys(there).find((key) => key.startsWith("list?"));
  assert.deepEqual(JSON.parse(here[list]), { ...JSON.parse(there[list]), brought: true });
  assert.deepEqual({ ...here, [list]: there[list] }, there);
  const last = events.findLast(({ status }) => status === "progress");
  assert.deepEqual(last, { status: "progress", name: ID, file: "model.safetensors", loaded: 3 * PART + 100, total: 3 * PART + 100, progress: 100 });
  const { "README.md": _, ...files } = model.files;
  assert.deepEqual(await read(), files);
  assert.equal(asked.length, 1, "the hub was asked once for its list");

  // Whole, as a file that a person picked.
  await forgetModel(ID);
  await importModel({ ...carried, read: (name) => [new Blob(carried.read(name))] }, {});
  assert.deepEqual(await read(), files);
  // It can go on from there.
  const { record } = await exportModel(`${HUB}/${ID}`, "main");
  assert.deepEqual(record, carried.record);
});

test("what is not what it was is refused by its name, and leaves nothing", async () => {
  const carried = await exported();
  await refused(bring(changed(carried, "model.safetensors", turned)), "bad-model", /^model\.safetensors: its sha256 is [0-9a-f]{64}, but the hub's list gives .*export the model once more$/);
  await refused(bring(changed(carried, "config.json", turned)), "bad-model", /^config\.json: its git's sha1 is [0-9a-f]{40}, but/);
  await refused(bring(changed(carried, "model.safetensors", (pieces) => pieces.slice(0, -1))), "bad-model", /^model\.safetensors: it ends at byte 3072 of 3172/);
  await refused(bring(changed(carried, "model.safetensors", (pieces) => [...pieces, new Blob(["x"])])), "bad-model", /^model\.safetensors: it has more than the 3172 bytes/);
  await refused(bring(changed(carried, "empty.txt", () => [new Blob(["x"])])), "bad-model", /^empty\.txt: it has more than the 0 bytes/);
  await refused(bring(changed(carried, "empty.txt", () => ["text"])), "bad-option", /^read must give Blobs, but for empty\.txt/);
  const gone = Object.assign(new Blob(["x"]), { slice: () => ({ arrayBuffer: () => Promise.reject(new DOMException("gone", "NotReadableError")) }) });
  await refused(bring(changed(carried, "config.json", () => [gone])), "io", /^config\.json could not be read .*gone/);
  await refused(bring(changed(carried, "model.safetensors", () => assert.fail("own words"))).catch((thrown) => Promise.reject(Object.assign(thrown, { code: "own" }))), "own", /own words/);

  const controller = new AbortController();
  const stopped = changed(carried, "model.safetensors", async function* (pieces) {
    yield pieces[0];
    controller.abort();
    yield pieces[1];
  });
  await refused(bring(stopped, { signal: controller.signal }), "cancelled", /stop/);
  await refused(bring(carried, { signals: 1 }), "bad-option", /signals is not an option of importModel/);
  await refused(bring({ record: carried.record }), "bad-option", /\{ record, read \}/);

  storage.room.bytes = 3000;
  await refused(bring(carried), "quota-exceeded", /small-model: 3182 more bytes are needed, but the browser has an unknown number free/);
  storage.room.bytes = Infinity;
  setGlobal("navigator", { storage: { estimate: async () => ({ quota: 5000, usage: 4000 }) } });
  await refused(bring(changed(carried, "config.json", () => assert.fail("nothing is read"))), "quota-exceeded", /3182 more bytes are needed, but the browser has 1000 free/);
});

test("what is here stays, and is not asked for", async () => {
  const carried = await exported();
  const asked = [];
  const heard = { ...carried, read: (name) => (asked.push(name), carried.read(name)) };
  await bring(carried);
  const before = await kept();
  await bring(heard);
  assert.deepEqual([asked, await kept()], [[], before]);

  // Weights of which a part is missing, or was never downloaded, are filled up.
  const cache = await storage.open(CACHE);
  const key = (kind, index) => [...storage.caches.get(CACHE).keys()].find((other) => other.includes(`/${kind}?`) && other.includes("safetensors") && (index === undefined || other.endsWith(`index=${index}`)));
  const record = JSON.parse(await (await cache.match(key("file"))).text());
  await cache.delete(key("part", 1));
  await bring(heard);
  assert.deepEqual([asked.splice(0), await kept()], [["model.safetensors"], before]);
  await cache.delete(key("part", 3));
  await cache.put(key("file"), Response.json({ ...record, state: "begun" }));
  await bring(heard);
  assert.deepEqual([asked.splice(0), await kept()], [["model.safetensors"], before]);

  // Nobody can say which of the two is wrong.
  await cache.put(key("file"), Response.json({ ...record, state: "begun" }));
  await cache.delete(key("part", 2));
  await cache.put(key("part", 0), new Response(Buffer.alloc(PART)));
  const damaged = await kept();
  await refused(bring(heard), "bad-model", /model\.safetensors: its sha256 is .*the part of it that was downloaded here, is damaged: take that away with forgetModel/, damaged);

  await forgetModel(ID);
  play(modelOf(2));
  await read();
  const other = await kept();
  await refused(bring(carried), "bad-state", /small-model: another version of it is here, with another config\.json, .*forgetModel/, other);
  // The same files at a later commit, of which the list here is the one that counts.
  const later = { ...modelOf(), sha: "later" };
  await forgetModel(ID);
  play(later);
  await read();
  const listed = await kept();
  await bring(carried);
  assert.deepEqual(await kept(), listed);
});

test("a list that was brought is believed until the hub is reached, a commit's too", async () => {
  for (const revision of ["main", "c0ffee1"]) {
    setGlobal("caches", (storage = playedCaches()));
    // Somebody says that the commit has other weights than it has.
    const lie = { ...modelOf(7), sha: "c0ffee1" };
    await bring(await exported({ model: lie, options: { revision } }));
    play(undefined);
    assert.deepEqual((await read(ID, { revision }))["model.safetensors"], lie.files["model.safetensors"]);
    const truth = modelOf(1);
    play(truth);
    assert.deepEqual((await read(ID, { revision }))["model.safetensors"], truth.files["model.safetensors"]);
    const text = JSON.stringify(await kept());
    assert.ok(!text.includes("brought") && !text.includes(sum("sha256", lie.files["model.safetensors"])), "of the lie nothing is left");

    // And where it said the truth, the hub's word is kept, and nothing is downloaded.
    setGlobal("caches", (storage = playedCaches()));
    await bring(await exported({ model: truth, options: { revision } }));
    const asked = play(truth);
    await read(ID, { revision });
    assert.ok(asked.length > 0 && asked.every((address) => address.includes("/api/")), asked.join("\n"));
    assert.ok(!JSON.stringify(await kept()).includes("brought"));
    asked.length = 0;
    await read(ID, { revision });
    assert.equal(asked.length, revision === "main" ? 2 : 0, "what a commit holds never changes");
  }
});

test("a folder of another server comes along without sums, and counts while the server says so", async () => {
  const model = modelOf();
  const { from, ...carried } = await exported({ model, source: PLAIN });
  assert.deepEqual([carried.record.address, carried.record.revision, carried.record.list], [PLAIN, "", null]);
  assert.equal((await bring(carried)).name, PLAIN);
  assert.deepEqual(await kept(), await kept(from));
  const asked = play(model);
  const { "README.md": _, ...files } = model.files;
  assert.deepEqual(await read(PLAIN), files);
  assert.equal(asked.length, 3, "each was asked for by its head alone");
  await refused(bring(await exported({ model: modelOf(2), source: PLAIN })), "bad-state", /another version of it is here/, await kept());
  await forgetModel(PLAIN);
  await refused(bring(changed(carried, "model.safetensors", (pieces) => pieces.slice(1))), "bad-model", /model\.safetensors: it ends at byte 2148 of 3172/);
});

test("a record that is none is refused", async () => {
  const carried = await exported();
  const { record } = carried;
  const wrong = async (message, change, code = "bad-model") => {
    const copy = structuredClone(record);
    const told = change(copy);
    await refused(bring({ ...carried, record: told === undefined ? copy : told, read: () => assert.fail("nothing is read") }), code, message);
  };
  const file = (name, more) => (copy) => void Object.assign(copy.files.find((other) => other.name === name), more);
  for (const none of [null, 3, "record", []]) await wrong(/version is no number/, () => none);
  await wrong(/later version of tabtune; update/, (copy) => void (copy.version = 2), "bad-state");
  for (const address of [null, "", ID, `ftp://hub.example/${ID}`, `https://user:pass@hub.example/${ID}`, `https://hub.example/${ID}?x`, `https://hub.example/${ID}#`, `https://HUB.example/${ID}`, "https://hub.example/a/../b/c", "https://hub.example/x", "javascript:alert(1)/"]) {
    await wrong(/its address is none of a model/, (copy) => void (copy.address = address));
  }
  for (const revision of [null, "", 7, "x".repeat(300)]) await wrong(/its revision is none/, (copy) => void (copy.revision = revision));
  await wrong(/names no commit/, (copy) => void (copy.list = null));
  await wrong(/names no commit/, (copy) => void (copy.list.sha = "../evil"));
  await wrong(/a hub's list, and its address is on no hub/, (copy) => void Object.assign(copy, { address: PLAIN, revision: "" }));
  for (const files of [null, {}, []]) await wrong(/its files are none/, (copy) => void (copy.files = files));
  for (const name of ["../config.json", "a/b", "", ".", "a..b", "x\u0000", null, "config.json?", `${"x".repeat(300)}.json`]) await wrong(/is no name of a file/, file("config.json", { name }));
  await wrong(/config\.json is in it twice/, (copy) => void copy.files.push(copy.files[0]));
  for (const size of [-1, 1.5, "9", null, 2 ** 50]) await wrong(/the size of config\.json is none/, file("config.json", { size }));
  for (const version of ["", null, "x".repeat(2000)]) await wrong(/the version of config\.json is none/, file("config.json", { version }));
  await wrong(/its list has no such config\.json/, file("config.json", { size: 8 }));
  await wrong(/its list has no such other\.json/, file("config.json", { name: "other.json" }));
  await wrong(/its list has no such constructor/, file("config.json", { name: "constructor" }));
  await wrong(/the sha256 of model\.safetensors is none/, (copy) => void (copy.list.files["model.safetensors"].sha256 = "0".repeat(64)));
  await wrong(/no sum by which model\.safetensors could be checked/, (copy) => void delete copy.list.files["model.safetensors"].sha256);
  await wrong(/its weights are not, or not all/, (copy) => void copy.files.pop());
  await wrong(/its weights are not, or not all/, (copy) => void Object.assign(copy, { address: PLAIN, revision: "", list: null, files: [{ name: "model-00001-of-00002.safetensors", version: "1", size: 1 }] }));

  // What could never be asked for is no part of what is kept.
  record.list.files["../x"] = record.list.files["a b"] = { size: 1, version: "v" };
  await bring(carried);
  assert.ok(!JSON.stringify(await kept()).includes("../x"));
});

test("what is not here whole is not exported", async () => {
  const not = (asked, code, message) => assert.rejects(exportModel(...asked), (thrown) => thrown.code === code && message.test(thrown.message));
  await not([ID], "bad-option", /^somebody\/small-model is not in this browser's cache; cachedModels tells/);
  play(modelOf());
  await read();
  await read(ID, { revision: "v1" });
  await not([ID], "bad-option", /here more than once: say which of https:\/\/hub\.example\/somebody\/small-model main, https:.* v1$/);
  await not([ID, "v2"], "bad-option", /^somebody\/small-model, v2 is not in/);
  const { record, read: piecesOf } = await exportModel(ID, "v1");
  assert.equal(record.revision, "v1");
  assert.throws(() => piecesOf("README.md"), { code: "bad-option", message: /"README\.md" is no file of somebody/ });
  const cache = await storage.open(CACHE);
  for (const key of storage.caches.get(CACHE).keys()) if (key.endsWith("index=2")) await cache.delete(key);
  await not([ID, "main"], "io", /^model\.safetensors is no longer whole in the browser's cache: load the model once more/);
  await forgetModel(ID);
  globalThis.fetch = undefined;
  play(modelOf());
  const reader = openFolder(folderOf(ID, { hub: HUB }), {}, TUNING);
  await reader.read("config.json", 0, 3);
  await not([ID], "bad-state", /is downloaded in part: load it once more/);
  assert.equal((await cachedModels())[0].complete, false);
});

test("what transformers.js has cached comes along, and is not brought where it has it", async () => {
  const model = modelOf();
  const share = async (played) => (await played.open("transformers-cache")).put(`${HUB}/${ID}/resolve/main/model.safetensors`, new Response(model.files["model.safetensors"]));
  play(model);
  await share(storage);
  await read();
  assert.equal((await cachedModels())[0].bytes, 10, "the weights lie elsewhere");
  const { record, read: piecesOf } = await exportModel(ID);
  const carried = { record, read: piecesOf };
  const from = storage;
  const into = playedCaches();
  /** The cache that is exported from while it is, and the other one else. */
  const across = { ...carried, async *read(name) {
    setGlobal("caches", from);
    for await (const piece of piecesOf(name)) yield piece;
    setGlobal("caches", into);
  } };
  setGlobal("caches", (storage = into));
  assert.equal((await bring(across)).bytes, 3 * PART + 110);
  await forgetModel(ID);
  await share(into);
  play(model);
  await read();
  const asked = [];
  await bring({ record, read: (name) => (asked.push(name), []) });
  assert.deepEqual(asked, []);
});
