// Models from servers that misbehave, with a network that is played: what is asked for and what is said.
import assert from "node:assert/strict";
import { afterEach, test } from "node:test";
import { detailsOf, TabtuneError } from "../../www/package/build/errors.js";
import { folderOf, openFolder } from "../../www/package/build/files.js";

const HUB = "https://hub.example";
const ID = "somebody/small-model";
const SUM = "a".repeat(64);
const TUNING = { part_bytes: 1 << 10, first_wait_ms: 1 };

/** Whether the browser says that there is a network. */
const navigator = { onLine: true };
Object.defineProperty(globalThis, "navigator", { value: navigator, configurable: true });
const { fetch } = globalThis;

afterEach(() => {
  globalThis.fetch = fetch;
  navigator.onLine = true;
});

/** Puts `answer` in the place of the network; lists what was asked of it. */
function play(answer) {
  const asked = [];
  globalThis.fetch = async (address, { headers = {}, method = "GET" } = {}) => {
    asked.push({ address, method, token: headers["Authorization"] });
    const response = answer(address, method);
    // A Response of one's own has no address.
    if (response.url === "") Object.defineProperty(response, "url", { value: address });
    return response;
  };
  return asked;
}

const json = (value, headers = {}) => new Response(JSON.stringify(value), { headers });
const item = (more) => ({ type: "file", path: "config.json", size: 2, oid: "b1", ...more });

/** A hub whose list is `list`; what it is asked for beside that is `{}`. */
const hubWith = (list) => (address) =>
  address.includes("/revision/") ? json({ sha: "c0ffee" }) : address.includes("/tree/") ? json(list) : new Response("{}");

const open = (source, options = {}) => openFolder(folderOf(source, { hub: HUB, cache: false, ...options }), {}, TUNING);
const text = async (reader, name = "config.json") => new TextDecoder().decode(await reader.read(name, 0, await reader.size(name)));

async function refused(working, code, message) {
  const thrown = await working.then(() => assert.fail("it was accepted"), (error) => error);
  assert.ok(thrown instanceof TabtuneError, String(thrown));
  assert.equal(thrown.code, code, thrown.message);
  assert.match(thrown.message, message);
}

test("an id and the addresses of a model's pages are the model", () => {
  const hub = (source, options) => {
    const { kind, id, hub, revision } = folderOf(source, options);
    return [kind, id, hub, revision];
  };
  const of = (id, revision = "main", at = "https://huggingface.co") => ["hub", id, at, revision];
  for (const source of [
    ID, ` ${ID} `, `\n${ID}\t`,
    `https://huggingface.co/${ID}`, `https://huggingface.co/${ID}//`, ` https://huggingface.co/${ID} `,
    `http://huggingface.co/${ID}`, `https://www.huggingface.co/${ID}`, `huggingface.co/${ID}`, `hf.co/${ID}`,
    `https://huggingface.co/${ID}/tree/main`, `https://huggingface.co/${ID}/blob/main/config.json`,
    `https://huggingface.co/${ID}/resolve/main/`, `https://huggingface.co/${ID}/discussions/3`,
    `https://huggingface.co/${ID}?library=transformers#usage`, new URL(`https://huggingface.co/${ID}`),
  ]) {
    assert.deepEqual(hub(source), of(ID), String(source));
  }
  assert.deepEqual(hub(`https://huggingface.co/${ID}/tree/v1.0`), of(ID, "v1.0"));
  assert.deepEqual(hub(`https://huggingface.co/${ID}/tree/refs%2Fpr%2F1`), of(ID, "refs/pr/1"));
  assert.deepEqual(hub(`https://huggingface.co/${ID}/tree/v1.0`, { revision: "v2" }), of(ID, "v2"));
  assert.deepEqual(hub(`${HUB}/${ID}/tree/v1`, { hub: `${HUB}/` }), of(ID, "v1", HUB));
  for (const page of ["https://huggingface.co/datasets/somebody/rows", "https://huggingface.co/spaces/somebody/app"]) {
    assert.throws(() => folderOf(page), ({ code, message }) => code === "bad-option" && message.includes("owner/name"));
  }
  for (const page of ["tree/v1/onnx", "tree/v1/onnx/", "blob/v1/onnx/config.json", "raw/v1/onnx/config.json?x#L1"]) {
    const wanted = `write https://huggingface.co/${ID}/resolve/v1/onnx/ `;
    const refusal = ({ code, message }) => code === "bad-option" && message.includes(wanted);
    assert.throws(() => folderOf(`https://huggingface.co/${ID}/${page}`), refusal, page);
  }
  assert.throws(() => folderOf("http://[1"), { code: "bad-option", message: /neither the id of a model on a hub nor an address/ });
});

test("an id with a slash at its end is an address, and where there is no model the hub's is told of", async () => {
  globalThis.location = new URL("https://page.example/app/");
  try {
    for (const source of ["models/tiny/", " models/tiny// "]) {
      const { kind, base, id } = folderOf(source);
      assert.equal(kind, "url");
      assert.match(base, /^https:\/\/page\.example\/app\/models\/tiny\/+$/);
      assert.equal(id, "models/tiny");
    }
    assert.equal(folderOf("./models/tiny/").id, undefined);
    for (const cache of [true, false]) {
      const asked = play(() => new Response("", { status: 404 }));
      const there = open(`${ID}/`, { cache });
      await refused(there.size("config.json"), "bad-model", /config\.json is missing in https:\/\/page\.example\/app\/somebody\/small-model\/: .* owner\/name: "somebody\/small-model"$/);
      await refused(there.size("adapter_config.json"), "bad-model", /^adapter_config\.json is missing in .*owner\/name/);
      assert.equal(await there.size("tokenizer.json"), undefined);
      assert.ok(asked.every(({ address }) => address.startsWith("https://page.example/")));
      assert.equal(await open(`./${ID}/`, { cache }).size("config.json"), undefined);
    }
  } finally {
    delete globalThis.location;
  }
});

test("any other address is a folder's", () => {
  for (const [source, base] of [
    ["https://models.example/a", "https://models.example/a/"],
    ["https://models.example/somebody/small-model/", "https://models.example/somebody/small-model/"],
    ["https://models.example/a?token=1#top", "https://models.example/a/"],
    [" https://models.example/a/b/c ", "https://models.example/a/b/c/"],
    ["https://huggingface.co/gpt2", "https://huggingface.co/gpt2/"],
    [`https://huggingface.co/${ID}/resolve/main/onnx`, `https://huggingface.co/${ID}/resolve/main/onnx/`],
  ]) {
    assert.deepEqual(folderOf(source), { kind: "url", base, cache: true }, source);
  }
});

test("names that leave the folder are refused before anything is asked", async () => {
  const asked = play(() => new Response("{}"));
  for (const source of ["https://models.example/a/", ID]) {
    for (const name of [
      "https:127.0.0.1:8399", "http:localhost:80", "//evil.example/x", "..", "../x", "..%2f..%2fsecret", "a..b", "x/..", "x\\y",
      "config.json?x=1", "config.json#x", "data:,AAAA", "", ".", "a b", "a\u0000",
    ]) {
      await refused(open(source).size(name), "bad-model", /no name of a file/);
    }
  }
  assert.deepEqual(asked, []);
  await open("https://models.example/a/").size("model-00001-of-00002.safetensors");
  assert.deepEqual(asked.map(({ address }) => address), ["https://models.example/a/model-00001-of-00002.safetensors"]);
});

test("a server may not lead to this machine or off https", async () => {
  const led = (to) => () => Object.defineProperties(new Response("{}"), { url: { value: to }, redirected: { value: true } });
  for (const [source, to] of [
    ["https://models.example/a/", "http://models.example/a/config.json"],
    ["https://models.example/a/", "https://localhost:8399/admin"],
    ["http://models.example/a/", "http://127.0.0.1:8399/admin"],
    ["http://models.example/a/", "http://[::1]/admin"],
  ]) {
    play(led(to));
    await refused(open(source).size("config.json"), "io", /config\.json: the server sent on to /);
  }
  for (const [source, to] of [
    ["https://models.example/a/", "https://files.example/config.json"],
    ["http://localhost:1/a/", "http://localhost:2/config.json"],
  ]) {
    play(led(to));
    assert.equal(await open(source).size("config.json"), 2);
  }
});

test("a list of files without end is left", async () => {
  let page = 0;
  const asked = play((address) => {
    if (address.includes("/revision/")) return json({ sha: "c0ffee" });
    return json([item({ path: `${page++}.txt` })], { Link: `<${HUB}/api/models/${ID}/tree/c0ffee?cursor=${page}>; rel="next"` });
  });
  await refused(open(ID).size("config.json"), "io", /list of files has no end/);
  assert.ok(asked.length <= 101, `${asked.length} requests`);
});

test("an answer without end is left", async () => {
  let sent = 0;
  const endless = () =>
    new ReadableStream({
      pull(controller) {
        controller.enqueue(new Uint8Array(1 << 20).fill(0x20));
        sent += 1 << 20;
      },
    });
  play((address) => (address.includes("/revision/") ? json({ sha: "c0ffee" }) : new Response(endless())));
  await refused(open(ID).size("config.json"), "io", /longer than \d+ bytes/);
  assert.ok(sent < 64 << 20, `${sent} bytes`);
});

test("what is odd in a hub's list is an error with a code", async () => {
  for (const [entry, message] of [
    [null, /entry without a path/],
    [7, /entry without a path/],
    [[], /entry without a path/],
    [item({ path: null }), /entry without a path/],
    ...[-7, "lots", 629.5, 1e300, null, undefined, NaN, 2 ** 53].map((size) => [item({ size }), /says that config\.json has .+ bytes/]),
    [item({ lfs: { oid: SUM, size: -1 } }), /says that config\.json has -1 bytes/],
    [item({ lfs: { size: 3 } }), /no checksum of config\.json/],
    [item({ lfs: { oid: "../x", size: 3 } }), /no checksum of config\.json/],
    [item({ lfs: 1 }), /no checksum of config\.json/],
    [item({ oid: undefined }), /no checksum of config\.json/],
  ]) {
    play(hubWith([entry]));
    await refused(open(ID).size("config.json"), "io", message);
  }
  for (const answer of [null, {}, "list", 3]) {
    play(hubWith(answer));
    await refused(open(ID).size("config.json"), "io", /no list of files/);
  }
  for (const answer of [null, 3, [], {}, { sha: null }]) {
    play(() => json(answer));
    await refused(open(ID).size("config.json"), "io", /does not say which commit main is/);
  }
});

test("entries that are no files need nothing but a path, and names of objects are names", async () => {
  play(hubWith([{ type: "directory", path: "onnx" }, item({ lfs: null }), item({ path: "__proto__" })]));
  const reader = open(ID);
  assert.equal(await reader.size("config.json"), 2);
  assert.equal(await reader.size("toString"), undefined);
  assert.equal(await reader.size("__proto__"), 2);
});

test("a commit that is none stays within the model's addresses", async () => {
  const asked = play((address) => {
    if (address.includes("/revision/")) return json({ sha: "../../../../evil" });
    return address.includes("/tree/") ? json([item()]) : new Response("{}");
  });
  await text(open(ID));
  assert.ok(asked.every(({ address }) => new URL(address).pathname.includes(ID)), JSON.stringify(asked));
});

test("a token goes to the hub's origin alone", async () => {
  const asked = play((address) => {
    if (address.includes("/revision/")) return json({ sha: "c0ffee" });
    const next = { Link: '<https://evil.example/list>; rel="next"' };
    if (address.startsWith(HUB) && address.includes("/tree/")) return json([item({ path: "a.txt" })], next);
    return address.startsWith(HUB) ? new Response("{}") : json([item()]);
  });
  await text(open(ID, { token: "hf_secret" }));
  assert.ok(asked.some(({ address }) => address.startsWith("https://evil.example")));
  for (const { address, token } of asked) {
    assert.equal(token, address.startsWith(`${HUB}/`) ? "Bearer hf_secret" : undefined, address);
  }
  const elsewhere = play(() => new Response("{}"));
  await text(open("https://models.example/a", { token: "hf_secret" }));
  assert.ok(elsewhere.every(({ token }) => token === undefined));
});

test("of a file that is only looked at, the same bytes are asked for once", async () => {
  const bytes = Uint8Array.from({ length: 2 << 20 }, (_, index) => index % 251);
  const played = play((_, method) => new Response(method === "HEAD" ? "" : bytes, { headers: { "Content-Length": String(bytes.length) } }));
  const files = openFolder(folderOf("https://models.example/a", { cache: false }), { peek: true }, TUNING);
  for (const [start, len] of [[8, 4], [1000, 3], [8, 4]]) {
    assert.deepEqual(await files.read("model.safetensors", start, len), bytes.slice(start, start + len));
  }
  assert.deepEqual(played.map(({ method }) => method), ["HEAD", "GET", "GET"]);
});

test("no network is told in words, with a code", async () => {
  const fails = (message) => () => {
    throw new TypeError(message);
  };
  const asked = play(fails("Failed to fetch"));
  await refused(open(ID).size("config.json"), "io", /small-model.*: no answer came; the network may be down.*Failed to fetch.*tries: 5/);
  assert.equal(asked.length, 5);
  navigator.onLine = false;
  await refused(open(ID).size("config.json"), "io", /: you are offline/);
  await refused(open("https://models.example/a").size("config.json"), "io", /: you are offline/);
});

test("a request of the engine or the page that fails is no internal error", () => {
  for (const message of ["Failed to fetch", "NetworkError when attempting to fetch resource.", "Load failed"]) {
    const { code, message: told } = detailsOf(new TypeError(message));
    assert.equal(code, "io");
    assert.match(told, /network/);
    assert.ok(told.includes(message));
  }
  navigator.onLine = false;
  assert.match(detailsOf(new TypeError("Failed to fetch")).message, /you are offline/);
  assert.equal(detailsOf(new TypeError("x is undefined")).code, "internal");
});
