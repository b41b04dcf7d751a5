// What strangers could send: thousands of seeded changes of each thing that is read. Each is refused with a code, or read as what it says;
// nothing crashes, hangs or takes memory.
import assert from "node:assert/strict";
import { test } from "node:test";
import { zipSync } from "fflate";
import { TabtuneError } from "../../www/package/build/errors.js";
import * as exchange from "../../www/package/build/exchange/index.js";
import { adapter, random } from "./adapters.mjs";
import { playedIndexedDB, setGlobal } from "./played-storage.mjs";

const { adapterFile, adapterLink, CARD_FILE, cardFor, checkAdapter, galleryIndex, inspectAdapter, linked, readAdapter, readCard, readGallery } = exchange;
const { sign, verify } = exchange;

setGlobal("indexedDB", playedIndexedDB());
const TIMES = 5000;
const WEIGHTS = "adapter_model.safetensors";
const encoder = new TextEncoder();
const decoder = new TextDecoder();
const own = adapter();
const DETAILS = { title: "A", words: "b\nc", rows: 10, loss_before: 2.5, date: "2026-11-28T09:00:00Z", base_model: { fingerprint: "ab".repeat(16) } };
const files = await sign(own, await cardFor(own, DETAILS));

/** What is put into texts: signs of JSON, numbers that are too large or none, names, and strings that mean something elsewhere. */
const WORDS = [
  "{", "}", "[", "]", ",", ":", '"', "\\", "null", "true", "-0", "1e999", "9007199254740993", "-1", "0.5", '"\\ud800"', "\u202e",
  "__proto__", "constructor", '"F64"', '"BF16"', "[0,64]", '"dtype"', '"data_offsets"', '"shape"', "[".repeat(200), "\u0000",
  "<img src=x onerror=alert(1)>", "../", "%2e%2e/", "javascript:", "http://", "//evil.example/", "@",
];

/** Bytes with one to four changes: a bit, a byte, a piece taken out, doubled or moved, a word put in, the end cut off. */
function mutated(bytes, next) {
  let changed = Array.from(bytes);
  for (let count = 1 + next(4); count > 0; count--) {
    const at = next(changed.length + 1);
    const length = next(24);
    const piece = changed.slice(at, at + length);
    switch (next(8)) {
      case 0:
      case 1:
        changed[at % changed.length] ^= 1 << next(8);
        break;
      case 2:
        changed[at % changed.length] = [0, 255, 1, 127, 128, next(256)][next(6)];
        break;
      case 3:
        changed.splice(at, length);
        break;
      case 4:
        changed.splice(at, 0, ...piece);
        break;
      case 5:
        changed.splice(next(changed.length + 1), 0, ...changed.splice(at, length));
        break;
      case 6:
        changed.splice(at, next(2) * length, ...encoder.encode(WORDS[next(WORDS.length)]));
        break;
      default:
        if (next(8) === 0) changed.length = at;
    }
    if (changed.length === 0) changed = [next(256)];
  }
  return Uint8Array.from(changed);
}

/** Reads so many changes: how many were refused, by code, and how many were read and then `examined`. */
async function hostile(seed, bytes, read, examined, codes) {
  const next = random(seed);
  const count = { read: 0, refused: 0 };
  let slowest = 0;
  const before = process.memoryUsage().rss;
  for (let time = 0; time < TIMES; time++) {
    const changed = mutated(bytes, next);
    const begun = process.cpuUsage();
    try {
      const value = await read(changed);
      count.read++;
      examined(value, changed);
    } catch (thrown) {
      if (!(thrown instanceof TabtuneError)) throw new Error(`change ${time} of seed ${seed}: ${thrown?.stack ?? thrown}`);
      assert.ok(codes.includes(thrown.code), `change ${time}: ${thrown.code}: ${thrown.message}`);
      assert.ok(thrown.message.length < 1500, thrown.message);
      count.refused++;
    }
    const { user, system } = process.cpuUsage(begun);
    slowest = Math.max(slowest, (user + system) / 1000);
  }
  // Time of the processor, whatever else it does meanwhile. A hang takes far longer.
  assert.ok(slowest < 5000, `${slowest} ms`);
  const grown = process.memoryUsage().rss - before;
  assert.ok(grown < 256 << 20, `${grown} bytes of memory`);
  assert.ok(count.refused > TIMES / 4, JSON.stringify(count));
  return `${count.refused} of ${TIMES} were refused, ${count.read} read; the slowest took ${slowest.toFixed(0)} ms`;
}

test("changes of a signed card", async (t) => {
  const read = (bytes) => verify({ ...files, [CARD_FILE]: bytes });
  const original = await verify(files);
  // Of a signed card nothing can be changed: what is read is what it was.
  t.diagnostic(await hostile(1, files[CARD_FILE], read, (value, bytes) => {
    assert.deepEqual(bytes, files[CARD_FILE]);
    assert.deepEqual(value, original);
  }, ["bad-adapter"]));
});

test("changes of a card that nobody signed", async (t) => {
  const card = encoder.encode(JSON.stringify(await cardFor(own, DETAILS)));
  t.diagnostic(await hostile(2, card, async (bytes) => readCard(bytes), (value, bytes) => {
    const written = JSON.parse(decoder.decode(bytes));
    for (const [name, field] of Object.entries(value)) {
      if (name === "base_model") continue;
      assert.deepEqual(field, written[name], name);
      assert.ok(typeof field !== "string" || !/[\u202e\u0000]/.test(field));
    }
  }, ["bad-adapter"]));
});

test("changes of a safetensors header", async (t) => {
  const weights = own[WEIGHTS];
  const length = Number(new DataView(weights.buffer).getBigUint64(0, true));
  const header = weights.subarray(8, 8 + length);
  // The length goes along with the header, or stays as it was.
  const next = random(33);
  const read = (changed) => {
    const bytes = new Uint8Array(8 + changed.length + weights.length - 8 - length);
    new DataView(bytes.buffer).setBigUint64(0, BigInt(next(8) === 0 ? length : changed.length), true);
    bytes.set(changed, 8);
    bytes.set(weights.subarray(8 + length), 8 + changed.length);
    return inspectAdapter({ ...own, [WEIGHTS]: bytes });
  };
  t.diagnostic(await hostile(3, header, read, (told) => {
    assert.equal(told.tensors, 2);
    assert.equal(told.parameters * 4, weights.length - 8 - length, "all bytes are those of tensors");
    assert.equal(told.adapted, 1);
  }, ["bad-adapter", "not-finite"]));
});

test("changes of a whole safetensors file and of a config", async (t) => {
  const weights = (bytes) => inspectAdapter({ ...own, [WEIGHTS]: bytes });
  t.diagnostic(await hostile(4, own[WEIGHTS], weights, (told) => assert.equal(told.adapted, 1), ["bad-adapter", "not-finite"]));
  const config = (bytes) => inspectAdapter({ ...own, "adapter_config.json": bytes });
  t.diagnostic(await hostile(5, own["adapter_config.json"], config, (told) => {
    assert.deepEqual([told.r, told.ranks], [2, [2]]);
    assert.ok(told.lora_alpha > 0 && Number.isFinite(told.lora_alpha));
  }, ["bad-adapter"]));
  // With its card all of it is found.
  const carded = (bytes) => checkAdapter({ ...files, [WEIGHTS]: bytes });
  t.diagnostic(await hostile(6, files[WEIGHTS], carded, (_, bytes) => assert.deepEqual(bytes, files[WEIGHTS]), ["bad-adapter", "not-finite"]));
});

test("changes of a zip file, stored and deflated", async (t) => {
  const stored = new Uint8Array(await adapterFile(files).arrayBuffer());
  const deflated = zipSync(files, { level: 9 });
  for (const [seed, zip] of [[7, stored], [8, deflated]]) {
    t.diagnostic(await hostile(seed, zip, (bytes) => readAdapter(new Blob([bytes])), (value) => assert.deepEqual(value, files), ["bad-adapter"]));
  }
});

test("changes of a gallery's index", async (t) => {
  const checked = await checkAdapter(files);
  const exhibits = ["a", "b"].map((name) => ({ name, path: `${name}/`, bytes: 1000, adapter: checked }));
  const index = encoder.encode(await galleryIndex(exhibits, "Town"));
  const address = "https://gallery.example/town/index.json";
  t.diagnostic(await hostile(9, index, async (bytes) => readGallery(bytes, address), (gallery, bytes) => {
    const written = JSON.parse(decoder.decode(bytes));
    assert.equal(gallery.entries.length, written.entries.length);
    for (const [at, entry] of gallery.entries.entries()) {
      assert.ok(entry.address.startsWith("https://gallery.example/town/"), entry.address);
      assert.match(entry.card_sha256, /^[0-9a-f]{64}$/);
      assert.equal(entry.name, written.entries[at].name);
      for (const [name, field] of Object.entries(entry.card)) assert.equal(field, written.entries[at].card[name]);
    }
    gallery.search("a");
  }, ["bad-data"]));
});

test("changes of a link", async (t) => {
  const link = encoder.encode(adapterLink("https://page.example/", "https://a.example/some%20folder/?x=1&y=%2F"));
  const before = "https://page.example/".length;
  // The page's own address is the browser's.
  const read = async (bytes) => linked(`https://page.example/${decoder.decode(bytes).replace(/[^\x20-\x7e]/g, "%")}`);
  t.diagnostic(await hostile(10, link.subarray(before), read, (value) => {
    if (value === undefined) return;
    const url = new URL(value);
    assert.equal(url.protocol, "https:");
    assert.deepEqual([url.username, url.password, url.hash], ["", "", ""]);
    assert.ok(value.length <= 2048);
  }, ["bad-option"]));
});
