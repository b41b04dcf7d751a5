// What the page's service worker keeps, answers and removes, in a browser that is played.
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { test } from "node:test";
import { studio } from "./page-modules.mjs";

const { Versions, answer, pathWithin, rangeIn, sayOpen } = await studio("offline/versions.ts", "offline/answer.ts", "offline/files.ts", "offline/open.ts");

const SCOPE = "https://page.example/tabtune/";
const integrityOf = (text) => `sha256-${createHash("sha256").update(text).digest("base64")}`;

/** A browser's caches, told in the order in which they were made. */
class PlayedCaches {
  named = new Map();
  full = false;
  async open(name) {
    if (!this.named.has(name)) this.named.set(name, new Map());
    const kept = this.named.get(name);
    return {
      match: async (url) => kept.get(url)?.clone(),
      put: async (url, response) => {
        if (this.full) throw new DOMException("full", "QuotaExceededError");
        kept.set(url, response);
      },
    };
  }
  keys = async () => [...this.named.keys()];
  delete = async (name) => this.named.delete(name);
}

/** A server that is given builds, and a browser that visits it. */
function playSite() {
  const caches = new PlayedCaches();
  const site = { caches, files: {}, headers: {}, asked: [], open: [], is_down: false, breaks_at: undefined };
  const fetch = async (url, { method = "GET", integrity } = {}) => {
    const path = url.slice(SCOPE.length);
    site.asked.push(`${method} ${path}`);
    if (site.is_down || path === site.breaks_at) throw new TypeError("Failed to fetch");
    const text = site.files[path];
    if (text === undefined) return new Response("not found", { status: 404 });
    if (integrity !== undefined && integrity !== integrityOf(text)) throw new TypeError("Failed to fetch: integrity");
    return new Response(method === "HEAD" ? null : text, { headers: site.headers });
  };
  const locks = { query: async () => ({ held: site.open.map((name) => ({ name })) }) };
  /** Another build is on the server; its service worker. */
  site.deploy = (version, files) => {
    site.files = files;
    const listed = Object.entries(files).map(([path, text]) => ({ path, integrity: integrityOf(text) }));
    return new Versions(SCOPE, { version, files: listed }, { caches, locks, fetch });
  };
  return site;
}

const textOf = async (response) => (await response)?.text();
const FIRST = { "": "page one", "assets/main-1.js": "one", "models/tiny/model.safetensors": "weights" };
const SECOND = { "": "page two", "assets/main-2.js": "two", "models/tiny/model.safetensors": "weights" };

test("a version is kept as a whole, and a try that broke off goes on where it was", async () => {
  const site = playSite();
  const first = site.deploy("1", FIRST);
  site.breaks_at = "models/tiny/model.safetensors";
  await assert.rejects(first.install(), /Failed to fetch/);
  site.breaks_at = undefined;
  site.asked = [];
  await first.install();
  assert.deepEqual(site.asked, ["GET models/tiny/model.safetensors"]);
  assert.equal(await textOf(first.own("")), "page one");
  assert.equal(await first.own("assets/main-2.js"), undefined);
});

test("what the server has of another build, or changes on its way, is not kept", async () => {
  const site = playSite();
  const first = site.deploy("1", FIRST);
  site.files = { ...FIRST, "": "page one, and an advertisement" };
  await assert.rejects(first.install(), /integrity/);
  site.files = { "assets/main-1.js": "one" };
  await assert.rejects(first.install(), /the server answered 404/);
});

test("of a version that finds no room nothing stays", async () => {
  const site = playSite();
  const first = site.deploy("1", FIRST);
  site.caches.full = true;
  await assert.rejects(first.install(), { name: "QuotaExceededError" });
  assert.deepEqual(await site.caches.keys(), []);
});

test("the next version takes over what is the same, with the headers that the server has now", async () => {
  const site = playSite();
  await site.deploy("1", FIRST).install();
  site.asked = [];
  site.headers = { "Cross-Origin-Embedder-Policy": "require-corp" };
  const second = site.deploy("2", SECOND);
  await second.install();
  const weights = site.asked.filter((asked) => asked.endsWith("model.safetensors"));
  assert.deepEqual(weights, ["HEAD models/tiny/model.safetensors"]);
  const taken = await second.own("models/tiny/model.safetensors");
  assert.equal(taken.headers.get("cross-origin-embedder-policy"), "require-corp");
  assert.equal(await textOf(taken), "weights");
  assert.equal(await textOf(second.own("")), "page two");
});

test("an older version stays while a page of it is open, and no longer", async () => {
  const site = playSite();
  site.caches.named.set("tabtune-models", new Map());
  await site.deploy("1", FIRST).install();
  const second = site.deploy("2", SECOND);
  await second.install();
  site.open = [`tabtune-open ${SCOPE}assets/main-1.js`, "tabtune-open https://page.example/other/assets/main-1.js", "another lock"];
  await second.tidy();
  assert.equal(await textOf(second.older("assets/main-1.js")), "one");
  site.open = [`tabtune-open ${SCOPE}assets/main-2.js`];
  await second.tidy();
  assert.equal(await second.older("assets/main-1.js"), undefined);
  assert.deepEqual(await site.caches.keys(), ["tabtune-models", `tabtune-page ${SCOPE} 2`]);
});

test("a version that waits is not removed by the one in use", async () => {
  const site = playSite();
  const first = site.deploy("1", FIRST);
  await first.install();
  await site.deploy("2", SECOND).install();
  await first.tidy();
  assert.equal((await site.caches.keys()).length, 2);
});

test("it knows what is not there in folders of its own, and nothing of others", async () => {
  const first = playSite().deploy("1", FIRST);
  assert.ok(first.lacks("models/tiny/special_tokens_map.json"));
  for (const path of ["models/tiny/model.safetensors", "models/other/config.json", "federation.json"]) assert.ok(!first.lacks(path), path);
});

test("addresses of the page are those in its folder, by whatever name its pages go", () => {
  const cases = [
    ["https://page.example/tabtune/", ""],
    ["https://page.example/tabtune/index.html?a#b", ""],
    ["https://page.example/tabtune/guides/index.html", "guides/"],
    ["https://page.example/tabtune/assets/a.js", "assets/a.js"],
    ["https://page.example/tabtune/not-index.html", "not-index.html"],
    ["https://page.example/elsewhere", undefined],
    ["https://huggingface.co/tabtune/", undefined],
  ];
  for (const [url, path] of cases) assert.equal(pathWithin(SCOPE, url), path, url);
});

test("heads and ranges are answered from the whole file, with its headers", async () => {
  const headers = { ETag: '"v"', "Content-Length": "10", "Cross-Origin-Embedder-Policy": "require-corp" };
  const kept = () => new Response("0123456789", { headers });
  const asked = async (range, method = "GET") => {
    const response = await answer(new Request(SCOPE, { method, headers: range ? { range } : {} }), kept());
    return [response.status, await response.text(), response.headers.get("content-range"), response.headers.get("content-length")];
  };
  assert.deepEqual(await asked(undefined), [200, "0123456789", null, "10"]);
  assert.deepEqual(await asked(undefined, "HEAD"), [200, "", null, "10"]);
  assert.deepEqual(await asked("bytes=2-4"), [206, "234", "bytes 2-4/10", "3"]);
  assert.deepEqual(await asked("bytes=8-"), [206, "89", "bytes 8-9/10", "2"]);
  assert.deepEqual(await asked("bytes=-3"), [206, "789", "bytes 7-9/10", "3"]);
  assert.deepEqual(await asked("bytes=7-99"), [206, "789", "bytes 7-9/10", "3"]);
  assert.deepEqual(await asked("bytes=10-"), [416, "", "bytes */10", "0"]);
  assert.deepEqual(await asked("bytes=0-1,4-5"), [200, "0123456789", null, "10"]);
  const part = await answer(new Request(SCOPE, { headers: { range: "bytes=0-0" } }), kept());
  assert.deepEqual([part.headers.get("etag"), part.headers.get("cross-origin-embedder-policy")], ['"v"', "require-corp"]);
  for (const odd of ["bytes=-", "bytes=5-2", "lines=1-2"]) assert.equal(rangeIn(odd, 10), undefined, odd);
  assert.equal(rangeIn("bytes=-0", 10), "none");
});

test("an open page holds a lock that names its script", () => {
  const asked = [];
  const locks = { request: (name, { mode }, held) => asked.push([name, mode, typeof held().then]) };
  const { navigator } = globalThis;
  Object.defineProperty(globalThis, "navigator", { value: { locks }, configurable: true });
  sayOpen("https://page.example/assets/index-1.js");
  Object.defineProperty(globalThis, "navigator", { value: navigator, configurable: true });
  assert.deepEqual(asked, [["tabtune-open https://page.example/assets/index-1.js", "shared", "function"]]);
});
