// Adapters that come from servers and go to a hub: the local hub takes and gives them.
import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { paths } from "../../tools/lib/paths.mjs";
import { serve } from "../../tools/lib/server.mjs";
import { TabtuneError } from "../../www/package/build/errors.js";
import * as exchange from "../../www/package/build/exchange/index.js";
import { startHub } from "../browser/hub-server.mjs";
import { adapter } from "./adapters.mjs";
import { playedIndexedDB, setGlobal } from "./played-storage.mjs";

const { adapterFile, cardFor, fetchAdapter, openGallery, readGallery, sign, signer, uploadAdapter, withCard } = exchange;

setGlobal("indexedDB", playedIndexedDB());
const WEIGHTS = "adapter_model.safetensors";
const TOKEN = "hf_secretsecretsecret";
const encoder = new TextEncoder();

async function refused(working, code, message) {
  const thrown = await Promise.resolve().then(working).then(() => assert.fail("it was accepted"), (error) => error);
  assert.ok(thrown instanceof TabtuneError, String(thrown?.stack ?? thrown));
  assert.equal(thrown.code, code, thrown.message);
  assert.match(thrown.message, message);
  assert.ok(!thrown.message.includes(TOKEN), "the token is in no message");
}

const DETAILS = {
  title: "Omas *Rezepte* <b>", license: "Apache-2.0", author: "[x](javascript:alert(1))", words: "# Not a heading\n---\n<script>",
  rows: 3, loss_before: 2, loss_after: 1,
};
const files = await sign(adapter(), await cardFor(adapter(), DETAILS));
const bytes = Object.values(files).reduce((sum, { length }) => sum + length, 0);

const model = { id: "somebody/recipes", revision: "main", sha: "0".repeat(40), files: {}, lfs: [] };
const hub = await startHub(model);
after(() => hub.close());
const place = { hub: hub.hub.origin, token: TOKEN };
const reset = () => {
  hub.reset();
  Object.assign(model, { files: {}, lfs: [] });
};

test("what is uploaded is what is fetched, whole or in parts", async () => {
  for (const part_bytes of [undefined, 100]) {
    reset();
    Object.assign(hub.faults, { token: TOKEN, ...(part_bytes && { part_bytes }) });
    const told = [];
    // Other weights each time, which the storage does not have yet.
    const own = adapter({}, undefined, { fill: part_bytes ? 0x3d : 0x3e });
    const sent = await sign(own, await cardFor(own));
    const { address, commit } = await uploadAdapter({ repo: model.id, files: sent, ...place, private: true, on_progress: (event) => told.push(event) });
    assert.equal(address, `${hub.hub.origin}/somebody/recipes`);
    assert.equal(commit, model.sha);
    assert.deepEqual(hub.created.at(-1), { type: "model", name: "recipes", organization: "somebody", private: true });
    assert.deepEqual(Object.keys(model.files).sort(), ["README.md", ...Object.keys(sent)].sort());
    assert.deepEqual(model.lfs, [WEIGHTS]);
    assert.deepEqual([told[0].status, told.at(-1).progress, told.at(-1).file], ["upload", 100, WEIGHTS]);
    assert.equal(told.length, part_bytes ? Math.ceil(sent[WEIGHTS].length / part_bytes) + 1 : 2);
    assert.ok(hub.hub.requests.every(({ authorization }) => authorization === `Bearer ${TOKEN}`));
    assert.ok(hub.cdn.requests.length > 0 && hub.cdn.requests.every(({ authorization }) => authorization === null), "the storage does not get the token");
    for (const source of [model.id, `${hub.hub.origin}/${model.id}`, `${hub.hub.origin}/${model.id}/tree/main`]) {
      const fetched = await fetchAdapter(source, place);
      assert.deepEqual(fetched.files, sent);
      assert.equal(fetched.verified.signed, "yes");
    }
  }
});

test("the repository's README is plain Markdown of the card", async () => {
  reset();
  await uploadAdapter({ repo: model.id, files, ...place });
  const readme = Buffer.from(model.files["README.md"]).toString();
  const [, front, body] = readme.split(/^---$/m);
  assert.deepEqual(front.trim().split("\n"), [
    'base_model: "somebody/small-model"', "base_model_relation: adapter", "library_name: peft", "tags:", "- lora", "- tabtune", "license: apache-2.0",
  ]);
  assert.match(body, /^# Omas \\\*Rezepte\\\* \\<b\\>$/m);
  assert.match(body, /^> \\# Not a heading\n> \\-\\-\\-\n> \\<script\\>$/m);
  assert.match(body, /^\| Author \| \\\[x\\\]\\\(javascript\\:alert\\\(1\\\)\\\) \|$/m);
  assert.match(body, /from_pretrained\("somebody\/recipes"\)/);
  const own = { ...adapter({ base_model_name_or_path: "./my: model" }) };
  await uploadAdapter({ repo: model.id, files: withCard(own, await cardFor(own, { license: 'my "own": licence' })), ...place });
  const other = Buffer.from(model.files["README.md"]).toString();
  assert.ok(!other.includes("base_model:"), "what is no id of the hub is not told as one");
  assert.match(other, /^license: other\nlicense_name: "my \\"own\\": licence"$/m);
});

test("what a hub answers to an upload is told without the token", async () => {
  reset();
  hub.faults.exists = true;
  await uploadAdapter({ repo: model.id, files, ...place });
  reset();
  hub.faults.refuse = [[503, { "Retry-After": "0" }]];
  await uploadAdapter({ repo: model.id, files, ...place });
  hub.faults.token = "another";
  await refused(() => uploadAdapter({ repo: model.id, files, ...place }), "io", /answered 403 \(the token may not write/);
  reset();
  hub.faults.lose = true;
  const fresh = adapter({}, undefined, { fill: 0x3f });
  await refused(() => uploadAdapter({ repo: model.id, files: fresh, ...place }), "io", /commit\/main: the server answered 400: adapter_model\.safetensors was not uploaded/);
  reset();
  const stopped = new AbortController();
  stopped.abort();
  await refused(() => uploadAdapter({ repo: model.id, files, ...place, signal: stopped.signal }), "cancelled", /asked to stop/);
  for (const [wrong, message] of [
    [{ repo: "recipes" }, /not "owner\/name"/],
    [{ repo: "a/b/c" }, /not "owner/],
    [{ token: "" }, /token is no token/],
    [{ token: "a b" }, /token is no token/],
    [{ hub: "http://hub.example" }, /has to be https/],
  ]) {
    await refused(() => uploadAdapter({ repo: model.id, files, ...place, ...wrong }), "bad-option", message);
  }
  const { [WEIGHTS]: weights } = files;
  await refused(() => uploadAdapter({ repo: model.id, files: { ...files, [WEIGHTS]: weights.slice(1) }, ...place }), "bad-adapter", /safetensors/);
  assert.deepEqual(hub.hub.requests, [], "nothing is sent of what is bad");
});

test("a hub that echoes the token, sends elsewhere or answers nonsense gets nowhere", async () => {
  let answer;
  const server = createServer((request, response) => request.resume().on("end", () => answer(request, response)));
  await new Promise((resolve) => server.listen(0, "localhost", resolve));
  const bad = `http://localhost:${server.address().port}`;
  const json = (value, status = 200) => (_, response) => response.writeHead(status, { "Content-Type": "application/json" }).end(JSON.stringify(value));
  const steps = (...all) => (request, response) => all.shift()(request, response);
  const created = json({});
  const modes = json({ files: [...Object.keys(files), "README.md"].map((path) => ({ path, uploadMode: path === WEIGHTS ? "lfs" : "regular" })) });
  const upload = (href, header) => json({ objects: [{ actions: { upload: { href, ...(header && { header }) } } }] });
  try {
    for (const [given, message, code = "io"] of [
      [json({ error: `no: ${TOKEN}` }, 400), /answered 400: no: …$/],
      [json({ error: "x".repeat(9999) }, 400), /answered 400: x{300}$/],
      [json({ error: { a: 1 } }, 400), /answered 400$/],
      [steps(created, json([])), /is no object/],
      [steps(created, json({ files: [] })), /does not take the file/],
      [steps(created, json({ files: Object.keys(files).map((path) => ({ path, uploadMode: "magic" })) })), /uploadMode is not/],
      [steps(created, modes, json({ objects: [] })), /is no object/],
      [steps(created, modes, json({ objects: [{ error: { code: 507, message: TOKEN } }] })), /storage answered 507/],
      [steps(created, modes, upload("http://evil.example/x")), /nothing is uploaded to http:\/\/evil\.example/, "bad-option"],
      [steps(created, modes, upload("javascript:alert(1)")), /nothing is uploaded to null/, "bad-option"],
      [steps(created, modes, upload(`${bad}/x`, { chunk_size: "1", "00001": `${bad}/y` })), /1 parts of 1 bytes/],
      [steps(created, modes, upload(`${bad}/x`, { chunk_size: "0" })), /0 parts of 0 bytes/],
      [(_, response) => response.writeHead(302, { Location: "http://127.0.0.1:9/" }).end(), /sends on elsewhere/],
    ]) {
      answer = given;
      await refused(() => uploadAdapter({ repo: model.id, files, hub: bad, token: TOKEN }), code, message);
    }
  } finally {
    server.closeAllConnections();
    server.close();
  }
});

test("an adapter is fetched from the address of a zip file or of a folder", async () => {
  const zip = new Uint8Array(await adapterFile(files).arrayBuffer());
  const mounts = { "/a.zip": zip };
  for (const [name, bytes] of Object.entries(files)) mounts[`/folder/${name}`] = bytes;
  for (const [name, bytes] of Object.entries(adapter())) mounts[`/bare/${name}`] = bytes;
  mounts["/half/adapter_config.json"] = files["adapter_config.json"];
  const server = await serve(mounts);
  try {
    const events = [];
    for (const path of ["a.zip", "folder/", "folder"]) {
      const on_progress = (event) => events.push(event);
      const fetched = await fetchAdapter(`${server.origin}/${path}`, { on_progress, base: { base_model_name_or_path: "somebody/small-model" } });
      assert.deepEqual(fetched.files, files);
      assert.deepEqual(fetched.fit, { fits: "yes", by: "name" });
    }
    assert.ok(events.some(({ status, file }) => status === "done" && file === "a.zip"));
    assert.equal((await fetchAdapter(`${server.origin}/bare/`)).verified.card, null);
    await refused(() => fetchAdapter(`${server.origin}/half/`), "bad-adapter", /adapter_model\.safetensors is missing in/);
    await refused(() => fetchAdapter(`${server.origin}/none/`), "bad-adapter", /adapter_config\.json is missing in/);
    await refused(() => fetchAdapter(`${server.origin}/none.zip`), "bad-adapter", /no file at/);
    await refused(() => fetchAdapter(`${server.origin}/folder/`, { limits: { bytes: 100 } }), "bad-adapter", /more than the 100 that are taken/);
    await refused(() => fetchAdapter("http://elsewhere.example/a.zip"), "bad-option", /begin with https/);
    await refused(() => fetchAdapter("https://a:b@elsewhere.example/a.zip"), "bad-option", /name or a password/);
    await refused(() => fetchAdapter(`${server.origin}/m/model.gguf`), "bad-option", /is a model and no adapter/);
  } finally {
    await server.close();
  }
});

test("no more is downloaded than the limits say, whatever a server says of its length", async () => {
  let sent = 0;
  const server = createServer((_, response) => {
    response.writeHead(200, { "Content-Type": "application/octet-stream" });
    const more = () => {
      while (!response.destroyed && response.write(Buffer.alloc(1 << 16))) sent += 1 << 16;
      sent += 1 << 16;
    };
    response.on("drain", more);
    more();
  });
  await new Promise((resolve) => server.listen(0, "localhost", resolve));
  const origin = `http://localhost:${server.address().port}`;
  try {
    await refused(() => fetchAdapter(`${origin}/a.zip`, { limits: { bytes: 1 << 20 } }), "bad-adapter", /has more than the 2228224 bytes/);
    await refused(() => openGallery(`${origin}/`), "bad-adapter", /has more than the 8388608/);
    assert.ok(sent < 64 << 20, `${sent} bytes were sent`);
  } finally {
    server.closeAllConnections();
    server.close();
  }
});

test("a hub's adapter that is too large, or none, is not downloaded", async () => {
  reset();
  Object.assign(model.files, Object.fromEntries(Object.entries(files).map(([name, bytes]) => [name, Buffer.from(bytes)])));
  await refused(() => fetchAdapter(model.id, { ...place, limits: { bytes: 10 } }), "bad-adapter", /more than the 10 that are taken/);
  assert.ok(hub.hub.requests.every(({ path }) => !path.includes("/resolve/")));
  delete model.files[WEIGHTS];
  await refused(() => fetchAdapter(model.id, place), "bad-adapter", /adapter_model\.safetensors is missing in somebody\/recipes/);
});

test("a gallery is a folder with an index that the tool writes", async (t) => {
  const folder = mkdtempSync(join(tmpdir(), "tabtune-gallery-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const put = (name, files) => {
    mkdirSync(join(folder, name));
    for (const [file, bytes] of Object.entries(files)) writeFileSync(join(folder, name, file), bytes);
  };
  const tool = (...args) => spawnSync(process.execPath, [join(paths.root, "tools/gallery.mjs"), ...args], { encoding: "utf8" });
  put("recipes", files);
  const cafe = await cardFor(adapter(), { title: "Café", words: "x".repeat(3000) });
  writeFileSync(join(folder, "cafe.zip"), new Uint8Array(await adapterFile(withCard(adapter(), cafe)).arrayBuffer()));
  mkdirSync(join(folder, "pictures"));
  const written = tool(folder, "Our town");
  assert.equal(written.status, 0, written.stderr);
  assert.match(written.stdout, /2 adapters/);

  const server = await serve({ "/town/": folder });
  try {
    const gallery = await openGallery(`${server.origin}/town`);
    assert.equal(gallery.name, "Our town");
    const places = [["cafe", `${server.origin}/town/cafe.zip`], ["recipes", `${server.origin}/town/recipes/`]];
    assert.deepEqual(gallery.entries.map(({ name, address }) => [name, address]), places);
    assert.deepEqual(await openGallery(`${server.origin}/town/index.json`).then(({ entries }) => entries), gallery.entries);
    const [first, second] = gallery.entries;
    assert.equal(second.bytes, bytes);
    assert.equal(second.card.fingerprint, (await signer()).fingerprint);
    assert.equal(second.card.base_model, "somebody/small-model");
    assert.equal(first.card.words.length, 500);
    for (const [text, found] of [["", 2], ["CAFE", 1], ["oma rezept", 1], ["small-model", 2], ["cafe rezepte", 0]]) {
      assert.equal(gallery.search(text).length, found, text);
    }
    for (const entry of gallery.entries) assert.equal((await fetchAdapter(entry)).verified.card.title, entry.card.title);
    await refused(() => fetchAdapter({ ...first, card_sha256: "0".repeat(64) }), "bad-adapter", /not the one that the gallery shows/);
    await refused(() => fetchAdapter({ ...second, bytes: 20 }), "bad-adapter", /more than the 20/);
    await refused(() => openGallery(`${server.origin}/nowhere/`), "io", /there is no gallery/);
    await refused(() => openGallery("http://elsewhere.example/"), "bad-option", /begin with https/);
  } finally {
    await server.close();
  }

  put("bare", adapter());
  put("broken", { ...files, [WEIGHTS]: files[WEIGHTS].slice(1) });
  const left = tool(folder);
  assert.equal(left.status, 1);
  assert.match(left.stderr, /bare: .*has no tabtune_card\.json/);
  assert.match(left.stderr, /broken: adapter_model\.safetensors/);
  assert.equal(JSON.parse(readFileSync(join(folder, "index.json"), "utf8")).entries.length, 2, "the others are there");
  assert.equal(tool().status, 2);
  assert.throws(() => execFileSync(process.execPath, [join(paths.root, "tools/gallery.mjs"), join(folder, "none")], { stdio: "pipe" }));
});

test("an index that is none of a gallery's is refused", async () => {
  const entry = { name: "a", path: "a.zip", bytes: 10, card_sha256: "0".repeat(64), card: {} };
  const index = (change, more = {}) => encoder.encode(JSON.stringify({ version: 1, entries: [{ ...entry, ...change }], ...more }));
  assert.equal(readGallery(index({}), "https://g.example/x/index.json").entries[0].address, "https://g.example/x/a.zip");
  for (const path of [
    "../a.zip", "/a.zip", "//evil.example/a.zip", "https://evil.example/a.zip", "a/../../b.zip", "a%2f..%2fb.zip", "a.zip?x", "a\\b.zip",
    "a.exe", "", "a//b.zip", "javascript:x/",
  ]) {
    await refused(() => readGallery(index({ path }), "https://g.example/x/index.json"), "bad-data", /entry 0: path is not/);
  }
  for (const [bytes, message] of [
    [encoder.encode("[]"), /no object/],
    [index({}, { version: 3 }), /version 3/],
    [index({}, { entries: {} }), /entries is no list/],
    [index({}, { entries: [entry, entry] }), /two entries have one name/],
    [index({}, { entries: Array.from({ length: 5001 }, (_, at) => at) }), /no list of at most 5000/],
    [index({}, { name: "a\u202eb" }), /name has control/],
    [index({ bytes: -1 }), /entry 0: bytes is no whole/],
    [index({ card_sha256: "x" }), /card_sha256 is not/],
    [index({ card: null }), /card is missing/],
    [index({ card: { title: 7 } }), /entry 0: card: title is no text/],
    [index({ card: { words: "x".repeat(501) } }), /words has 501/],
  ]) {
    await refused(() => readGallery(bytes, "https://g.example/index.json"), "bad-data", message);
  }
});
