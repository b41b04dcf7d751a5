// Models from a hub and from plain servers: what is asked for, what is kept, and what is said when it fails.
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { after, before, beforeEach, test } from "node:test";
import { setTimeout } from "node:timers/promises";
import { launch } from "../../tools/lib/chromium.mjs";
import { startHub, startPage, sum } from "./hub-server.mjs";

const PART = 64 << 10;
const ID = "somebody/small-model";
const TOKEN = "hf_secretsecretsecret";
const WEIGHTS = "model.safetensors";
/** Three parts and a bit. */
const WEIGHTS_BYTES = 3 * PART + 1000;

let model, server, site, browser, page;

function freshModel() {
  return {
    id: ID,
    sha: sum("sha1", randomBytes(8)),
    revision: "main",
    files: { "config.json": Buffer.from('{"model_type":"llama"}'), [WEIGHTS]: randomBytes(WEIGHTS_BYTES), "empty.txt": Buffer.alloc(0) },
    lfs: [WEIGHTS],
    etag: undefined,
  };
}

before(async () => {
  model = freshModel();
  server = await startHub(model);
  site = await startPage();
  browser = await launch({ gpu: "none" });
  page = await openPage();
});

after(async () => {
  await browser.close();
  await Promise.all([server.close(), site.close()]);
});

// Each test has a model and a cache of its own.
beforeEach(async () => {
  Object.assign(model, freshModel());
  server.reset();
  await page.evaluate(async () => {
    globalThis.taken = {};
    for (const name of await caches.keys()) await caches.delete(name);
  });
});

async function openPage() {
  const opened = await browser.newPage();
  await opened.goto(site.origin);
  await opened.waitForFunction(() => "tabtune" in globalThis);
  return opened;
}

/** Opens a folder in the page and reads files of it: { sums, sizes, events } or { error, events }. */
function load(source = ID, { names = ["config.json", WEIGHTS], options = {}, on = page } = {}) {
  const job = { source, names, options: { hub: server.hub.origin, ...options }, part_bytes: PART };
  return on.evaluate(async ({ source, names, options, part_bytes }) => {
    const { folderOf, openFolder, TabtuneError } = globalThis.tabtune;
    const events = [];
    globalThis.abort = new AbortController();
    let aborted;
    globalThis.abort.signal.addEventListener("abort", () => (aborted = performance.now()));
    // What is posted to the worker is a structured clone.
    const folder = structuredClone(folderOf(source, options));
    const reader = openFolder(folder, { report: (event) => events.push(event), signal: globalThis.abort.signal }, { part_bytes, first_wait_ms: 5 });
    const started = performance.now();
    try {
      const sums = {};
      const sizes = {};
      for (const name of names) {
        const size = (sizes[name] = await reader.size(name));
        if (size === undefined) continue;
        // Pieces that do not end where parts do, the last first.
        const piece = 50_000;
        const bytes = new Uint8Array(size);
        for (let at = Math.floor(size / piece) * piece; at >= 0; at -= piece) {
          bytes.set(await reader.read(name, at, Math.min(piece, size - at)), at);
        }
        const sum = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
        sums[name] = Array.from(sum, (byte) => byte.toString(16).padStart(2, "0")).join("");
      }
      return { sums, sizes, events, millis: performance.now() - started };
    } catch (error) {
      if (!(error instanceof TabtuneError)) throw error;
      const now = performance.now();
      return { error: { code: error.code, message: error.message }, events, millis: now - started, millis_after_abort: now - aborted };
    }
  }, job);
}

/** Loads, and asserts that every file came as the server has it. */
async function loadWell(...args) {
  const loaded = await load(...args);
  assert.equal(loaded.error, undefined);
  for (const [name, found] of Object.entries(loaded.sums)) assert.equal(found, sum("sha256", model.files[name]), name);
  assert.ok(Object.keys(loaded.sums).length > 0, "something was read");
  return loaded;
}

async function assertRefused(loading, code, message) {
  const { error, ...rest } = await loading;
  assert.ok(error, "it was accepted");
  assert.equal(error.code, code, error.message);
  assert.match(error.message, message);
  assert.ok(!error.message.includes(TOKEN), error.message);
  return rest;
}

/** Has the server cut the connection after so many bytes of the weights, which the page has then read. */
function cut(after, times, more = {}) {
  const taken = ({ name, range, bytes }) => page.waitForFunction(([key, bytes]) => globalThis.taken[key] >= bytes, [[name, range].join(), bytes]);
  server.faults.cut = { name: WEIGHTS, after, times, taken, ...more };
}

/** What was asked of the hub or the CDN since the last time. */
const asked = (origin) => origin.requests.splice(0).map(({ method, path, range }) => `${method} ${path}${range ? ` ${range}` : ""}`);
const gets = (origin) => asked(origin).filter((line) => line.startsWith("GET"));
const statuses = (events, file) => [...new Set(events.filter((event) => event.file === file).map(({ status }) => status))];
const cached = () => page.evaluate(() => globalThis.tabtune.cachedModels());

test("what is a hub id and what an address", async () => {
  const folders = await page.evaluate(() => {
    const sources = ["owner/name", "owner/Name-1.5_b", "./owner/name", "/owner/name", "owner/name/", "name", "https://host/a", "../a/b"];
    return sources.map((source) => globalThis.tabtune.folderOf(source));
  });
  const hub = (id) => ({ kind: "hub", id, hub: "https://huggingface.co", revision: "main", token: undefined, cache: true });
  const url = (path) => ({ kind: "url", base: new URL(path, site.origin).href, cache: true });
  assert.deepEqual(folders, [
    hub("owner/name"), hub("owner/Name-1.5_b"), url("/owner/name/"), url("/owner/name/"),
    { ...url("/owner/name/"), id: "owner/name" }, url("/name/"), url("https://host/a/"), url("/a/b/"),
  ]);
});

test("a model of a hub is downloaded once", async () => {
  const { sizes, events } = await loadWell(ID, { names: ["config.json", "missing.json", WEIGHTS, "empty.txt"] });
  assert.deepEqual(sizes, { "config.json": 22, "missing.json": undefined, [WEIGHTS]: WEIGHTS_BYTES, "empty.txt": 0 });
  assert.ok(!asked(server.hub).some((line) => line.includes("missing.json")), "the list says that it is not there");
  // A plain request, which needs no preflight and works at any CDN.
  assert.deepEqual(asked(server.cdn), [`GET /${WEIGHTS}`]);

  assert.deepEqual(statuses(events, WEIGHTS), ["initiate", "download", "progress", "done"]);
  const last = events.findLast(({ status, file }) => status === "progress" && file === WEIGHTS);
  assert.deepEqual(last, { status: "progress", name: ID, file: WEIGHTS, loaded: WEIGHTS_BYTES, total: WEIGHTS_BYTES, progress: 100 });

  const again = await loadWell();
  assert.deepEqual(asked(server.cdn), []);
  assert.ok(asked(server.hub).every((line) => line.includes("/api/")), "only the list is asked for");
  assert.deepEqual(again.events.map(({ status }) => status), ["done", "done"]);
});

test("a commit's list is not asked for again", async () => {
  const options = { revision: model.sha };
  await loadWell(ID, { options });
  server.reset();
  await loadWell(ID, { options });
  assert.deepEqual([asked(server.hub), asked(server.cdn)], [[], []]);
});

test("size alone downloads nothing", async () => {
  const size = await page.evaluate(
    ([id, hub]) => globalThis.tabtune.openFolder(globalThis.tabtune.folderOf(id, { hub })).size("model.safetensors"),
    [ID, server.hub.origin],
  );
  assert.equal(size, WEIGHTS_BYTES);
  assert.deepEqual(asked(server.cdn), []);
});

test("reading past the end is refused", async () => {
  const message = await page.evaluate(
    ([id, hub]) => globalThis.tabtune.openFolder(globalThis.tabtune.folderOf(id, { hub })).read("config.json", 20, 3).catch(String),
    [ID, server.hub.origin],
  );
  assert.match(message, /config\.json: ends at byte 22, but bytes 20 to 23/);
});

test("a moved branch brings what changed, and frees what it replaces", async () => {
  await loadWell();
  model.files["config.json"] = Buffer.from('{"model_type":"qwen2"}');
  model.sha = sum("sha1", "the next commit");
  server.reset();
  await loadWell();
  assert.deepEqual(asked(server.cdn), [], "the weights are the same");
  const [{ bytes }] = await cached();
  assert.equal(bytes, WEIGHTS_BYTES + 22);
  const records = await page.evaluate(async () =>
    (await (await caches.open("tabtune-models")).keys()).filter(({ url }) => url.includes("config.json")).length);
  assert.equal(records, 2, "one record and one part");
});

test("a cut connection goes on at the very byte", async () => {
  cut(PART + 500, 2);
  await loadWell();
  const [first, second, third, ...more] = asked(server.cdn);
  assert.equal(first, `GET /${WEIGHTS}`);
  assert.match(second, new RegExp(`bytes=\\d+-${WEIGHTS_BYTES - 1}$`));
  assert.match(third, new RegExp(`bytes=\\d+-${WEIGHTS_BYTES - 1}$`));
  const start = (line) => Number(/bytes=(\d+)/.exec(line)[1]);
  assert.ok(start(second) > 0 && start(second) <= PART + 500 && start(third) > start(second), `${second}, ${third}`);
  assert.deepEqual(more, [], "no preflight either");
});

test("a closed tab goes on at the first missing part", async () => {
  cut(2 * PART + 500, 1, { hang: true });
  const tab = await openPage();
  const closed = load(ID, { on: tab }).catch(() => {});
  await untilParts(2);
  await tab.close();
  await closed;
  const [partly] = await cached();
  assert.deepEqual(partly, { name: ID, revision: "main", bytes: 22 + 2 * PART, complete: false });

  server.reset();
  const { events } = await loadWell();
  assert.deepEqual(asked(server.cdn), [`GET /${WEIGHTS} bytes=${2 * PART}-${WEIGHTS_BYTES - 1}`]);
  assert.ok(events.find(({ status, file }) => status === "progress" && file === WEIGHTS).loaded > 2 * PART, "progress goes on too");
  assert.deepEqual(await cached(), [{ name: ID, revision: "main", bytes: 22 + WEIGHTS_BYTES, complete: true }]);
});

/** Waits until exactly so many parts of the weights are kept. */
async function untilParts(count) {
  const kept = () =>
    page.evaluate(async () => {
      const keys = await (await caches.open("tabtune-models")).keys();
      return keys.filter(({ url }) => url.includes("/part?") && url.includes("safetensors")).length;
    });
  while ((await kept()) !== count) await setTimeout(20);
}

/** Loads until so many parts are kept, and then aborts. The server has to hang after them. */
async function loadParts(count, ...args) {
  const loading = load(...args);
  await untilParts(count);
  await page.evaluate(() => globalThis.abort.abort());
  const { millis_after_abort } = await assertRefused(loading, "cancelled", /stop/);
  assert.ok(millis_after_abort < 5000, "it ended at once");
}

test("after an abort, a gap between parts is filled, and nothing else", async () => {
  cut(3 * PART + 500, 1, { hang: true });
  await loadParts(3);
  await page.evaluate(async () => {
    const cache = await caches.open("tabtune-models");
    for (const { url } of await cache.keys()) if (url.includes("safetensors") && url.endsWith("index=1")) await cache.delete(url);
  });
  server.reset();
  await loadWell();
  assert.deepEqual(asked(server.cdn), [
    `GET /${WEIGHTS} bytes=${PART}-${2 * PART - 1}`,
    `GET /${WEIGHTS} bytes=${3 * PART}-${WEIGHTS_BYTES - 1}`,
  ]);
});

test("a server without ranges sends everything, and what is missing is kept", async () => {
  cut(2 * PART + 500, 1);
  server.faults.ranges = false;
  await loadWell();
  const [, range] = asked(server.cdn);
  assert.match(range, /bytes=/);
  await loadWell();
  assert.deepEqual(asked(server.cdn), []);
});

test("wrong lengths are refused and not kept", async () => {
  server.faults.shorten = { name: WEIGHTS, by: 400 };
  await assertRefused(load(), "io", /resolve\/\w+\/model\.safetensors: the download ended at byte \d+ of 197608 \(tries: 5\)/);
  const [first, ...rest] = asked(server.cdn);
  assert.equal(first, `GET /${WEIGHTS}`);
  assert.equal(rest.length, 5, "a try that brought parts does not count");
  server.faults.shorten = { name: "config.json", by: 2 };
  await page.evaluate(() => caches.delete("tabtune-models"));
  await assertRefused(load(), "io", /config\.json: the download ended at byte 20 of 22 \(tries: 5\)/);
  assert.equal((await cached())[0].bytes, 0);
});

test("a corrupt byte is found, whether it came just now or before", async () => {
  server.faults.corrupt = { name: WEIGHTS, at: PART + 7 };
  const named = new RegExp(`model\\.safetensors: its sha256 is [0-9a-f]{64}, but the hub gives ${sum("sha256", model.files[WEIGHTS])}`);
  await assertRefused(load(), "io", named);
  assert.equal((await cached())[0].bytes, 22, "its parts are gone");
  // Again, in a part that an earlier load left.
  cut(2 * PART + 500, 1, { hang: true });
  await loadParts(2);
  server.reset();
  await assertRefused(load(), "io", named);
  await loadWell();
});

test("what was checked is not checked again", async () => {
  await loadWell();
  await page.evaluate(async () => {
    const cache = await caches.open("tabtune-models");
    const { url } = (await cache.keys()).find(({ url }) => url.includes("safetensors") && url.endsWith("index=0"));
    const bytes = new Uint8Array(await (await cache.match(url)).arrayBuffer());
    bytes[0] ^= 1;
    await cache.put(url, new Response(bytes));
  });
  const { sums } = await load();
  assert.notEqual(sums[WEIGHTS], sum("sha256", model.files[WEIGHTS]));
});

test("a busy hub is asked again, and waited for", async () => {
  server.faults.refuse = [[500], [503]];
  await loadWell();
  await page.evaluate(() => caches.delete("tabtune-models"));
  server.faults.refuse = [[429, { "Retry-After": "1" }], [429, { "Retry-After": new Date(Date.now() + 1000).toUTCString() }]];
  const { millis } = await loadWell();
  assert.ok(millis >= 1000, `${millis} ms`);
  await page.evaluate(() => caches.delete("tabtune-models"));
  server.faults.refuse = Array(9).fill([500]);
  await assertRefused(load(), "io", /api\/models\/somebody\/small-model\/revision\/main: the server answered 500 \(tries: 5\)/);
  server.faults.refuse = [[429, { "Retry-After": "3600" }]];
  await assertRefused(load(), "io", /answered 429 and asks to wait 3600 s \(tries: 1\)/);
});

test("without a hub everything comes from the cache", async () => {
  await loadWell();
  server.reset();
  server.faults.down = true;
  await loadWell();
  // The browser itself asks again once where an old connection turns out to be closed.
  assert.ok(gets(server.hub).length <= 2, "one try is enough where a list is known");
  await page.evaluate(() => caches.delete("tabtune-models"));
  await assertRefused(load(), "io", /api\/models\/somebody\/small-model.*Failed to fetch.*tries: 5/);
});

test("a token goes to the hub and nowhere else", async () => {
  server.faults.token = TOKEN;
  await loadWell(ID, { options: { token: TOKEN } });
  const { requests } = server.hub;
  assert.ok(requests.filter(({ method }) => method === "GET").every(({ authorization }) => authorization === `Bearer ${TOKEN}`));
  assert.deepEqual(server.cdn.requests.map(({ method, authorization }) => [method, authorization]), [["GET", null]]);
  const kept = await page.evaluate(async () => {
    const cache = await caches.open("tabtune-models");
    const small = (await cache.keys()).filter(({ url }) => !url.includes("/part?"));
    return (await Promise.all(small.map(async (key) => key.url + (await (await cache.match(key)).text())))).join("\n");
  });
  assert.ok(kept.includes(ID) && !kept.includes(TOKEN));
});

test("refusals say what to do", async () => {
  server.faults.token = TOKEN;
  const page_of_model = new RegExp(`licence must first be accepted at ${server.hub.origin}/${ID}`);
  await assertRefused(load(), "io", /401: a token of the hub is needed/);
  await assertRefused(load(), "io", page_of_model);
  await assertRefused(load(ID, { options: { token: "hf_wrong" } }), "io", /403: the token was refused/);
  await assertRefused(load(ID, { options: { token: "hf_wrong" } }), "io", page_of_model);
  server.reset();
  await assertRefused(load("somebody/else"), "io", /has no model somebody\/else with a revision main, or it is private/);
  await assertRefused(load(ID, { options: { revision: "v9" } }), "io", /has no model somebody\/small-model with a revision v9/);
  assert.equal(gets(server.hub).length, 2, "what another try would not change is not tried again");
});

test("nothing is kept with cache: false, and everything checked", async () => {
  await loadWell(ID, { options: { cache: false } });
  await loadWell(ID, { options: { cache: false } });
  assert.deepEqual(asked(server.cdn), [`GET /${WEIGHTS}`, `GET /${WEIGHTS}`]);
  assert.deepEqual(await page.evaluate(() => caches.keys()), []);
  server.faults.corrupt = { name: WEIGHTS, at: 5 };
  await assertRefused(load(ID, { options: { cache: false } }), "io", /sha256/);
  server.reset();
  await loadWell(`${server.hub.origin}/plain/`, { options: { cache: false } });
  assert.deepEqual(await page.evaluate(() => caches.keys()), []);
});

test("a full cache: Blobs serve, and where they cannot, the error counts bytes", async () => {
  const quota = await openPage();
  await quota.evaluate(() => {
    const put = Cache.prototype.put;
    Cache.prototype.put = function (key, response) {
      if (/part\?.*index=[123]$/.test(key)) return Promise.reject(new DOMException("full", "QuotaExceededError"));
      return put.call(this, key, response);
    };
  });
  await loadWell(ID, { on: quota });
  assert.equal((await cached())[0].complete, false);
  await quota.evaluate(() => {
    Blob.prototype.slice = () => {
      throw new DOMException("gone", "NotReadableError");
    };
  });
  const counted = new RegExp(`model\\.safetensors: ${WEIGHTS_BYTES - PART} more bytes are needed, but the browser has \\d+ free`);
  await assertRefused(load(ID, { names: [WEIGHTS], on: quota }), "quota-exceeded", counted);
  await quota.close();
});

test("the browser's own quota", async () => {
  const session = await page.context().newCDPSession(page);
  await session.send("Storage.overrideQuotaForOrigin", { origin: site.origin, quotaSize: 2 * PART });
  try {
    await loadWell();
    assert.equal((await cached())[0]?.complete ?? false, false);
  } finally {
    await session.send("Storage.overrideQuotaForOrigin", { origin: site.origin });
  }
  await loadWell();
  assert.equal((await cached())[0].complete, true);
});

test("files that transformers.js cached are used", async () => {
  const put = (bytes) =>
    page.evaluate(
      async ([address, bytes]) => (await caches.open("transformers-cache")).put(address, new Response(new Uint8Array(bytes))),
      [`${server.hub.origin}/${ID}/resolve/main/${WEIGHTS}`, [...bytes]],
    );
  await put(model.files[WEIGHTS]);
  const { events } = await loadWell();
  assert.deepEqual(statuses(events, WEIGHTS), ["done"]);
  await loadWell();
  assert.deepEqual(asked(server.cdn), []);
  assert.deepEqual(await cached(), [{ name: ID, revision: "main", bytes: 22, complete: true }]);

  await page.evaluate(() => caches.delete("tabtune-models"));
  await put(randomBytes(WEIGHTS_BYTES));
  await loadWell();
  assert.equal(asked(server.cdn).length, 1, "of the right length, but another file");
  await page.evaluate(() => caches.delete("tabtune-models"));
  await put(model.files[WEIGHTS].subarray(0, 500));
  await loadWell();
  assert.equal(asked(server.cdn).length, 1, "of another length");
});

test("storage is listed and freed", async () => {
  await loadWell();
  model.etag = '"1"';
  const plain = `${server.hub.origin}/plain/`;
  await loadWell(plain, { names: ["config.json"] });
  assert.deepEqual(await cached(), [
    { name: ID, revision: "main", bytes: 22 + WEIGHTS_BYTES, complete: true },
    { name: plain, revision: "", bytes: 22, complete: false },
  ]);
  await page.evaluate((id) => globalThis.tabtune.forgetModel(id), ID);
  assert.deepEqual((await cached()).map(({ name }) => name), [plain]);
  await page.evaluate((name) => globalThis.tabtune.forgetModel(name), plain);
  assert.deepEqual(await cached(), []);
});

test("a folder at an address: kept while the server says that it is the same", async () => {
  const plain = `${server.hub.origin}/plain/`;
  model.etag = '"1"';
  const { sizes } = await loadWell(plain, { names: ["config.json", "missing.json", WEIGHTS] });
  assert.equal(sizes["missing.json"], undefined);
  assert.deepEqual(gets(server.hub), ["GET /plain/config.json", `GET /plain/${WEIGHTS}`]);
  const { events } = await loadWell(plain);
  assert.deepEqual(gets(server.hub), []);
  assert.deepEqual(events.map(({ status, name }) => [status, name]), [["done", plain], ["done", plain]]);

  model.etag = 'W/"1"';
  await loadWell(plain);
  assert.deepEqual(gets(server.hub), [], "a weak tag is the same tag");

  model.etag = '"2"';
  model.files[WEIGHTS] = randomBytes(WEIGHTS_BYTES);
  cut(2 * PART + 500, 1, { hang: true });
  await loadParts(2, plain, { names: [WEIGHTS] });
  assert.deepEqual(gets(server.hub), [`GET /plain/${WEIGHTS}`], "a changed file starts anew");
  await loadWell(plain, { names: [WEIGHTS] });
  assert.deepEqual(gets(server.hub), [`GET /plain/${WEIGHTS} bytes=${2 * PART}-${WEIGHTS_BYTES - 1}`]);
  assert.equal((await cached())[0].bytes, WEIGHTS_BYTES + 22, "the old version is gone");
});

test("a file that changes while it is downloaded", async () => {
  const plain = `${server.hub.origin}/plain/`;
  model.etag = '"1"';
  cut(2 * PART + 500, 1, { then: () => (model.etag = '"2"') });
  await assertRefused(load(plain, { names: [WEIGHTS] }), "io", /model\.safetensors: the file changed on the server/);
  await loadWell(plain, { names: [WEIGHTS] });
});

test("servers that say no version, and pages in place of files", async () => {
  const plain = `${server.hub.origin}/plain/`;
  server.faults.html = true;
  const { sizes, events } = await loadWell(plain, { names: ["config.json", "missing.json", WEIGHTS] });
  assert.equal(sizes["missing.json"], undefined);
  assert.deepEqual(statuses(events, WEIGHTS), ["initiate", "download", "progress", "done"]);
  assert.deepEqual(await cached(), [], "nothing that could not be told from a later version is kept");
  model.files["config.json"] = Buffer.from("{}");
  await loadWell(plain, { names: ["config.json"] });
  cut(PART, 2);
  await loadWell(plain);
});

test("a worker reads as the page does", async () => {
  const read = (name, start, len) =>
    page.evaluate(
      ([id, hub, name, start, len]) => {
        const worker = new Worker("/worker.js", { type: "module" });
        worker.postMessage({ folder: globalThis.tabtune.folderOf(id, { hub }), name, start, len });
        return new Promise((resolve, reject) => {
          worker.onmessage = ({ data }) => resolve(typeof data === "string" ? data : [...data]);
          worker.onerror = ({ message }) => reject(new Error(message));
        }).finally(() => worker.terminate());
      },
      [ID, server.hub.origin, name, start, len],
    );
  assert.deepEqual(await read(WEIGHTS, PART - 5, 10), [...model.files[WEIGHTS].subarray(PART - 5, PART + 5)]);
  assert.match(await read("missing.json", 0, 1), /missing\.json: there is no such file/);
  await loadWell();
  assert.equal(asked(server.cdn).length, 1, "both have the same cache, whatever the size of its parts");
});

test("picked files and directories are read as they are", async () => {
  const read = await page.evaluate(async () => {
    const { folderOf, openFolder } = globalThis.tabtune;
    const directory = await navigator.storage.getDirectory();
    const writable = await (await directory.getFileHandle("a.txt", { create: true })).createWritable();
    await writable.write("hello");
    await writable.close();
    const found = [];
    for (const source of [[new File(["hello"], "a.txt")], directory]) {
      const reader = openFolder(folderOf(source));
      found.push([await reader.size("b.txt"), await reader.size("a.txt"), new TextDecoder().decode(await reader.read("a.txt", 1, 3))]);
    }
    return found;
  });
  assert.deepEqual(read, [[undefined, 5, "ell"], [undefined, 5, "ell"]]);
});

test("the browser is asked once to keep large downloads", async () => {
  const asks = await page.evaluate(() => {
    const { keepLargeDownloads } = globalThis.tabtune;
    let asks = 0;
    navigator.storage.persist = async () => ++asks > 0;
    const seen = [];
    const event = { name: "a/b", file: "c", loaded: 1 };
    const large = { status: "progress", total: 1 << 30 };
    for (const more of [{ status: "done" }, { status: "progress", total: 1000 }, large, large]) {
      keepLargeDownloads({ ...event, ...more });
      seen.push(asks);
    }
    return seen;
  });
  assert.deepEqual(asks, [0, 0, 1, 1]);
});
