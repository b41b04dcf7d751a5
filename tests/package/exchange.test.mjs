// Adapters that people pass on: cards, signatures, what is told of them, files, links and the shelf.
import assert from "node:assert/strict";
import { test } from "node:test";
import { deflateRawSync } from "node:zlib";
import { strToU8, zipSync } from "fflate";
import { TabtuneError } from "../../www/package/build/errors.js";
import * as exchange from "../../www/package/build/exchange/index.js";
import { adapter, adapterFolders, config, filesIn, random, tensors } from "./adapters.mjs";
import { playedCaches, playedIndexedDB, setGlobal } from "./played-storage.mjs";

const { adapterFile, adapterLink, CARD_FILE, cardFor, checkAdapter, inspectAdapter, linked, openShelf, readAdapter, readCard, share } = exchange;
const { sign, signer, verify, withCard } = exchange;
const WEIGHTS = "adapter_model.safetensors";
const CONFIG = "adapter_config.json";
const encoder = new TextEncoder();

setGlobal("indexedDB", playedIndexedDB());
setGlobal("navigator", {});

async function refused(working, code, message) {
  const thrown = await Promise.resolve().then(working).then(() => assert.fail("it was accepted"), (error) => error);
  assert.ok(thrown instanceof TabtuneError, String(thrown?.stack ?? thrown));
  assert.equal(thrown.code, code, thrown.message);
  assert.match(thrown.message, message);
}

const DETAILS = {
  title: "Recipes", method: "sft", rows: 120, steps: 60, loss_before: 3.25, loss_after: 1.5, license: "apache-2.0", author: "Ada <b>L.</b>",
  words: "Two lines,\nof which <script>alert(1)</script> is text.", date: "2026-11-28T09:00:00Z",
  base_model: { revision: "c0ffee", fingerprint: "ab".repeat(16) },
};

const carded = async (details = DETAILS, files = adapter()) => withCard(files, await cardFor(files, details));
const signed = async (details = DETAILS, files = adapter()) => sign(files, await cardFor(files, details));

test("a card tells what it was told, and the sums of both files", async () => {
  const files = await carded();
  const card = readCard(files[CARD_FILE]);
  const { base_model, ...rest } = DETAILS;
  assert.deepEqual(card, { version: 1, ...rest, base_model: { name_or_path: "somebody/small-model", ...base_model }, files: card.files });
  assert.match(card.files[WEIGHTS], /^[0-9a-f]{64}$/);
  const bare = await cardFor(adapter());
  assert.deepEqual(Object.keys(bare).sort(), ["base_model", "date", "files", "version"]);
  assert.match(bare.date, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/);
  assert.deepEqual(await verify(files), { signed: "no", by: null, fingerprint: null, card });
  assert.deepEqual(await verify(adapter()), { signed: "no", by: null, fingerprint: null, card: null });
});

test("a detail that does not fit is refused by its name", async () => {
  for (const [details, message] of [
    [{ title: "x".repeat(121) }, /title has 121 characters/],
    [{ title: "two\nlines" }, /title has control characters/],
    [{ author: "A\u202eB" }, /author has control characters/],
    [{ words: "x".repeat(4001) }, /words has 4001/],
    [{ words: "\u0007" }, /words has control/],
    [{ title: "\ud800" }, /title has control/],
    [{ rows: -1 }, /rows is no whole number/],
    [{ steps: 1.5 }, /steps is no whole/],
    [{ loss_after: Number.NaN }, /loss_after is no finite number/],
    [{ loss_after: "1" }, /loss_after is no finite number/],
    [{ method: "<b>" }, /method is not/],
    [{ date: "yesterday" }, /date is not/],
    [{ base_model: "x" }, /base_model: it is no object/],
    [{ base_model: { fingerprint: "xyz" } }, /fingerprint is not/],
    [{ license: {} }, /license is no text/],
  ]) {
    await refused(() => cardFor(adapter(), details), "bad-option", message);
  }
});

test("a card that cannot be one is refused", async () => {
  const card = await cardFor(adapter());
  const text = (value) => encoder.encode(typeof value === "string" ? value : JSON.stringify(value));
  for (const [value, message] of [
    ["", /no JSON/],
    ["[]", /no object/],
    ["null", /no object/],
    [{ ...card, version: 2 }, /version 2, but only 1/],
    [{ ...card, version: undefined }, /version is missing/],
    [{ ...card, date: undefined }, /date is missing/],
    [{ ...card, files: {} }, /adapter_config\.json is missing/],
    [{ ...card, files: { ...card.files, "other.bin": "0".repeat(64) } }, /"other\.bin", which no adapter has/],
    [{ ...card, files: { ...card.files, [CONFIG]: "0".repeat(63) } }, /is not a sha256/],
    [{ ...card, signature: "0".repeat(128) }, /a signature but no signer/],
    [{ ...card, signer: { name: "A", public_key: "0".repeat(64) } }, /a signer but no signature/],
    [{ ...card, title: 7 }, /title is no text/],
    [JSON.stringify(card).replace("{", '{"version":1,'), /a name twice/],
    [`${"[".repeat(9)}${"]".repeat(9)}`, /more than 8 objects and lists/],
    [`[${"0,".repeat(2000)}0]`, /more than 1000 values/],
    ["[".repeat(60_000), /more than 8/],
    [" ".repeat(70_000), /more than the 65536/],
    ["\ufeff{}", /no JSON/],
    [`{"version":1,"title":"\\ud800"}`, /title has control/],
  ]) {
    await refused(() => readCard(text(value)), "bad-adapter", message);
  }
  const unknown = readCard(text({ ...card, later: { deep: [1] }, ["__proto__"]: undefined }));
  assert.deepEqual(unknown, card, "what is not known is not shown");
  const proto = readCard(text(JSON.stringify(card).replace("{", '{"__proto__":{"title":"sly"},')));
  assert.equal(proto.title, undefined);
});

test("a signature says who, and the key outlives the page but never leaves it", async () => {
  const me = await signer();
  assert.equal(me.name, "");
  assert.match(me.fingerprint, /^([0-9a-f]{4} ){4}[0-9a-f]{4}$/);
  assert.deepEqual((await signer()).public_key, me.public_key);
  const named = await me.rename("Ada");
  assert.equal(named.name, "Ada");
  assert.equal(named.public_key, me.public_key);
  await refused(() => me.rename("x".repeat(81)), "bad-option", /name has 81/);
  await refused(() => me.rename(undefined), "bad-option", /name is missing/);
  const [{ pair }] = [...indexedDB.databases.get("tabtune-exchange").values()];
  assert.equal(pair.privateKey.extractable, false);
  await assert.rejects(crypto.subtle.exportKey("pkcs8", pair.privateKey));

  const files = await signed();
  assert.deepEqual(Object.keys(files).sort(), [CONFIG, WEIGHTS, CARD_FILE].sort());
  const { card, ...rest } = await verify(files);
  assert.deepEqual(rest, { signed: "yes", by: "Ada", fingerprint: me.fingerprint });
  assert.equal(card.title, DETAILS.title);
  assert.equal((await verify(withCard(files, card))).signed, "no", "without its signature it is a card of nobody");
});

test("two tabs that make a key at once have one", async () => {
  setGlobal("indexedDB", playedIndexedDB());
  const [one, other] = await Promise.all([signer(), signer()]);
  assert.equal(one.public_key, other.public_key);
});

test("a card that is signed has to be written in the one way there is", async () => {
  const files = await signed();
  const text = new TextDecoder().decode(files[CARD_FILE]);
  for (const changed of [` ${text}`, `${text}\n`, JSON.stringify(JSON.parse(text), undefined, 1), text.replace('"rows":120', '"rows":1.2e2')]) {
    assert.notEqual(changed, text);
    await refused(() => verify({ ...files, [CARD_FILE]: encoder.encode(changed) }), "bad-adapter", /not written as signed cards are/);
  }
});

test("no byte of any file can be changed without being found", async () => {
  const files = await signed();
  const next = random(1);
  let tried = 0;
  for (const [name, bytes] of Object.entries(files)) {
    for (let at = 0; at < bytes.length; at++) {
      const changed = Uint8Array.from(bytes);
      changed[at] ^= 1 << next(8);
      const message = name === CARD_FILE ? /^tabtune_card\.json|was changed/ : new RegExp(`^${name} was changed`);
      await refused(() => verify({ ...files, [name]: changed }), "bad-adapter", message);
      tried++;
    }
  }
  assert.ok(tried > 1000, `${tried} bytes`);
});

test("another's signature on other details is found", async () => {
  const one = await signed();
  const other = await signed({ ...DETAILS, title: "Other" });
  const [a, b] = [one, other].map((files) => JSON.parse(new TextDecoder().decode(files[CARD_FILE])));
  const text = new TextDecoder().decode(one[CARD_FILE]).replace(a.signature, b.signature);
  await refused(() => verify({ ...one, [CARD_FILE]: encoder.encode(text) }), "bad-adapter", /changed after it was signed/);
});

test("browsers without Ed25519, or without cryptography, are told so", async () => {
  const { subtle } = crypto;
  const files = await signed();
  const none = async () => {
    throw new DOMException("no", "NotSupportedError");
  };
  const digest = subtle.digest.bind(subtle);
  Object.defineProperty(crypto, "subtle", { value: { digest, generateKey: none, importKey: none }, configurable: true });
  try {
    setGlobal("indexedDB", playedIndexedDB());
    await refused(() => signer(), "unsupported", /no Ed25519.*Chrome 137/);
    await refused(() => verify(files), "unsupported", /no Ed25519/);
    assert.equal((await verify(await carded())).signed, "no", "cards without a signature need none");
    Object.defineProperty(crypto, "subtle", { value: undefined, configurable: true });
    await refused(() => verify(files), "unsupported", /https/);
  } finally {
    Object.defineProperty(crypto, "subtle", { value: subtle, configurable: true });
  }
  delete globalThis.indexedDB;
  await refused(() => signer(), "io", /keeps no keys/);
  setGlobal("indexedDB", playedIndexedDB());
});

test("every adapter that PEFT wrote for the fixtures passes", async (t) => {
  const folders = adapterFolders();
  assert.ok(folders.length > 50, `${folders.length} adapters`);
  const seen = new Set();
  for (const folder of folders) {
    const files = filesIn(folder);
    const told = await inspectAdapter(files);
    const written = JSON.parse(new TextDecoder().decode(files[CONFIG]));
    assert.equal(told.r, written.r, folder);
    assert.equal(told.lora_alpha, written.lora_alpha);
    assert.ok(told.adapted > 0 && told.parameters > 0 && told.modules.length > 0, folder);
    assert.equal(told.use_dora, written.use_dora ?? false);
    assert.equal(told.whole.length > 0, (written.modules_to_save ?? []).length > 0 || told.embeddings, folder);
    assert.equal(told.biases > 0, written.bias !== "none", folder);
    if (told.whole.length > 0) seen.add("whole");
    if (told.biases > 0) seen.add("biases");
    if (told.use_dora) seen.add("dora");
    if (told.embeddings) seen.add("embeddings");
    if (told.ranks.length > 1) seen.add("ranks");
  }
  assert.deepEqual([...seen].sort(), ["biases", "dora", "embeddings", "ranks", "whole"]);
  t.diagnostic(`${folders.length} adapters`);
});

test("what an adapter touches is told", async () => {
  const told = await inspectAdapter(adapter());
  const files = adapter();
  assert.deepEqual(told, {
    bytes: files[CONFIG].length + files[WEIGHTS].length, tensors: 2, parameters: 32, dtypes: ["F32"], r: 2, ranks: [2], lora_alpha: 4, modules: ["q_proj"],
    adapted: 1, layers: [3], biases: 0, embeddings: false, whole: [], use_dora: false, use_rslora: false, base_model_name_or_path: "somebody/small-model",
  });
});

const P = "base_model.model.model.layers.3.self_attn.q_proj";
const A = `${P}.lora_A.weight`;
const B = `${P}.lora_B.weight`;

test("what is wrong with an adapter is told, and by which file, field or tensor", async () => {
  const floats = { dtype: "F32", shape: [2, 8] };
  for (const [files, message, code = "bad-adapter"] of [
    [{ [CONFIG]: adapter()[CONFIG] }, /safetensors is missing/],
    [{ ...adapter(), "evil.js": new Uint8Array(1) }, /"evil\.js" is no file of an adapter/],
    [{ ...adapter(), ["x".repeat(500)]: new Uint8Array(1) }, /^"x{80}…"/],
    [{ ...adapter(), [CONFIG]: new Uint8Array(2 ** 20 + 1) }, /adapter_config\.json has 1048577 bytes/],
    [{ ...adapter(), [CARD_FILE]: new Uint8Array(2 ** 16 + 1) }, /tabtune_card\.json has 65537 bytes/],
    [adapter({ peft_type: "LOHA" }), /peft_type/],
    [adapter({ r: 513 }), /r is no whole number from 1 to 512/],
    [adapter({ r: 0 }), /r is no whole/],
    [adapter({ r: undefined }), /r is missing/],
    [adapter({ lora_alpha: 0 }), /lora_alpha is 0/],
    [adapter({ lora_alpha: null }), /lora_alpha is missing/],
    [adapter({ rank_pattern: { q: 600 } }), /rank_pattern: q is no whole number/],
    [adapter({ target_modules: [] }), /target_modules names nothing/],
    [adapter({ target_modules: ["<img>"] }), /entry 0 of target_modules/],
    [adapter({ target_modules: "x".repeat(20_000) }), /target_modules has 20000/],
    [adapter({ target_modules: Array.from({ length: 10_001 }, () => "q") }), /target_modules is no list of at most/],
    [adapter({ target_modules: { a: 1 } }), /target_modules is no list/],
    [adapter({ base_model_name_or_path: "a\u202eb" }), /base_model_name_or_path has control/],
    [adapter({ bias: "some" }), /bias is not/],
    [adapter({ r: 4 }), /has rank 2, but the config says 4/],
    [adapter({}, {}), /has no tensors/],
    [adapter({}, { [A]: floats }), /matrix A and a matrix B/],
    [adapter({}, tensors({ [B]: { dtype: "F32", shape: [8, 3] } })), /matrices \[2,8\] and \[8,3\]/],
    [adapter({}, tensors({ [`${P}.lora_C.weight`]: floats })), /lora_C\.weight is neither/],
    [adapter({}, tensors({ "base_model.model.model.layers.3.mlp.weight": floats })), /is neither LoRA's/],
    [adapter({}, tensors({ "model.layers.3.bias": floats })), /does not begin with base_model/],
    [adapter({}, tensors({ [`${P}.bias`]: { dtype: "F32", shape: [2] } })), /is neither LoRA's/],
    [adapter({}, tensors({ "base_model.model.<b>": floats })), /is no name of a tensor/],
    [adapter({}, tensors({ ["x".repeat(600)]: floats })), /is no name of a tensor/],
    [adapter({}, tensors({ [A]: { dtype: "F64", shape: [2, 8] } })), /dtype is not F32/],
    [adapter({}, tensors({ [A]: { dtype: "I8", shape: [2, 8] } })), /dtype is not F32/],
    [adapter({}, tensors({ [A]: { dtype: "F32", shape: [2, 0] } })), /shape is no list of whole numbers from 1/],
    [adapter({}, tensors({ [A]: { dtype: "F32", shape: [2, -8] } })), /shape is no list/],
    [adapter({}, tensors({ [A]: { ...floats, shape: [2, 1e300] } })), /shape is no list/],
    [adapter({}, tensors({ [A]: { ...floats, shape: [2 ** 52, 2 ** 52], data_offsets: [0, 64] } })), /takes/],
    [adapter({}, tensors({ [A]: { ...floats, shape: [1, 1, 1, 1, 16] } })), /shape is no list of at most 4/],
    [adapter({}, tensors({ [A]: { ...floats, data_offsets: [0, 63] } })), /takes 64 bytes/],
    [adapter({}, tensors({ [A]: { ...floats, data_offsets: [64, 0] } })), /takes 64 bytes/],
    [adapter({}, tensors({ [A]: { ...floats, data_offsets: [0, 64, 1] } })), /data_offsets is no list of at most 2/],
    [adapter({}, tensors({ [B]: { dtype: "F32", shape: [8, 2], data_offsets: [0, 64] } })), /begins at byte/],
    [adapter({}, tensors({ [B]: { dtype: "F32", shape: [8, 2], data_offsets: [68, 132] } })), /begins at byte/],
    [adapter({}, tensors({ [A]: { ...floats, more: 1 } })), /a field "more"/],
    [adapter({}, tensors(), { behind: [0] }), /the tensors end at byte/],
    [adapter({}, tensors(), { header: (text) => text.replace("{", `{"${A}":{"dtype":"F32","shape":[2,8],"data_offsets":[0,64]},`) }), /a name twice/],
    [adapter({}, tensors(), { header: (text) => text.replace('"dtype":"F32"', '"dtype":"F16","dtype":"F32"') }), /a name twice/],
    [adapter({}, tensors(), { header: (text) => ` ${text}` }), /does not begin with an object/],
    [adapter({}, tensors(), { header: (text) => text.replace('"pt"', "7") }), /__metadata__/],
    [adapter({}, tensors(), { header: (text) => text.replace('"pt"', '{"a":{"b":{}}}') }), /more than 3 objects/],
    [adapter({}, tensors(), { header: (text) => text.slice(0, -1) }), /no JSON/],
    [adapter({}, tensors(), { fill: 0xff }), /lora_A\.weight has values that are not finite/, "not-finite"],
    [adapter({}, tensors({ [A]: { dtype: "F16", shape: [2, 8] } }), { fill: 0x7c }), /lora_A\.weight has values/, "not-finite"],
    [adapter({}, tensors({ [A]: { dtype: "BF16", shape: [2, 8] } }), { fill: 0xff }), /not finite/, "not-finite"],
    [{ ...adapter(), [WEIGHTS]: new Uint8Array(7) }, /not even the length/],
    [{ ...adapter(), [WEIGHTS]: new Uint8Array(8).fill(0xff) }, /claims 18446744073709551615 bytes/],
    [{ ...adapter(), [WEIGHTS]: Uint8Array.of(9, 0, 0, 0, 0, 0, 0, 0, 123) }, /the file ends at byte 9/],
  ]) {
    await refused(() => inspectAdapter(files), code, message);
  }
  await refused(() => inspectAdapter(adapter(), { bytes: 10 }), "bad-adapter", /more than the 10/);
  await refused(() => inspectAdapter(adapter(), { bytes: -1 }), "bad-option", /limits\.bytes/);
});

test("whether it fits is known by fingerprint, else by name", async () => {
  const files = await signed();
  const fit = async (base) => (await checkAdapter(files, base)).fit;
  assert.deepEqual(await fit({ fingerprint: "ab".repeat(16) }), { fits: "yes", by: "fingerprint" });
  assert.deepEqual(await fit({ fingerprint: "cd".repeat(16), base_model_name_or_path: "somebody/small-model" }), { fits: "no", by: "fingerprint" });
  assert.deepEqual(await fit({ base_model_name_or_path: "somebody/small-model" }), { fits: "yes", by: "name" });
  assert.deepEqual(await fit({ base_model_name_or_path: "somebody/other" }), { fits: "unknown", by: null });
  assert.deepEqual(await fit(undefined), { fits: "unknown", by: null });
});

test("a file to pass on holds the adapter as it was, the same bytes each time", async () => {
  const files = await signed();
  const file = adapterFile(files, "../Omas Rezepte/ für alle");
  assert.equal(file.name, "Omas-Rezepte-für-alle.zip");
  assert.deepEqual(await readAdapter(file), files);
  assert.deepEqual(await adapterFile(files).arrayBuffer(), await file.arrayBuffer());
  assert.deepEqual(await readAdapter(adapterFile(adapter())), adapter());
  // As other programs write it: deflated, in another order, with stamps of their own.
  const other = zipSync({ [WEIGHTS]: [files[WEIGHTS], { level: 9 }], [CONFIG]: files[CONFIG], [CARD_FILE]: files[CARD_FILE] });
  assert.deepEqual(await readAdapter(new Blob([other])), files);
  assert.deepEqual(await readAdapter(Object.entries(files).map(([name, bytes]) => new File([bytes], name)).concat(new File(["# x"], "README.md"))), files);
  await refused(() => readAdapter([new File([], CONFIG), new File([], CONFIG)]), "bad-adapter", /there twice/);
  await refused(() => readAdapter([new File([], "x.bin")]), "bad-adapter", /adapter_config\.json is missing/);
});

test("zip files that are none of an adapter's are refused", async () => {
  const files = adapter();
  const zip = (entries, change = () => {}) => {
    const bytes = zipSync(entries, { level: 0 });
    change(bytes, new DataView(bytes.buffer));
    return new Blob([bytes]);
  };
  const whole = { [CONFIG]: files[CONFIG], [WEIGHTS]: files[WEIGHTS] };
  const end = (bytes) => bytes.length - 22;
  const directory = (view) => view.getUint32(view.byteLength - 22 + 16, true);
  for (const [blob, message] of [
    [new Blob(["x"]), /too short/],
    [new Blob(["x".repeat(100)]), /its end is missing/],
    [zip({ [CONFIG]: files[CONFIG] }), /safetensors is missing/],
    [zip({ ...whole, "../../evil": strToU8("x") }), /evil" is no file of an adapter/],
    [zip({ "a/adapter_config.json": files[CONFIG] }), /is no file of an adapter/],
    [zip({ ...whole, "run.html": strToU8("<script>") }), /run\.html" is no file/],
    [zip(whole, (bytes, view) => view.setUint16(end(bytes) + 20, 1, true)), /directory is not where/],
    [zip(whole, (bytes, view) => view.setUint16(end(bytes) + 10, 1, true)), /directory is not where/],
    [zip(whole, (bytes, view) => [8, 10].forEach((at) => view.setUint16(end(bytes) + at, 1, true))), /has 2 files, but its end says 1/],
    [zip(whole, (bytes, view) => [8, 10].forEach((at) => view.setUint16(end(bytes) + at, 65_535, true))), /end says 65535/],
    [zip(whole, (_, view) => view.setUint16(directory(view) + 8, 1, true)), /encrypted/],
    [zip(whole, (_, view) => view.setUint16(directory(view) + 10, 99, true)), /packed by method 99/],
    [zip(whole, (_, view) => view.setUint32(directory(view) + 24, 2 ** 20, true)), /100 times as large/],
    [zip(whole, (_, view) => view.setUint32(directory(view) + 24, 2 ** 31, true)), /more than the 1048576/],
    [zip(whole, (_, view) => view.setUint32(directory(view) + 24, files[CONFIG].length + 1, true)), /the directory disagree/],
    [zip(whole, (_, view) => view.setUint32(directory(view) + 42, 5, true)), /lies in another|disagree/],
    [zip(whole, (bytes) => (bytes[60] ^= 1)), /not what it was when it was packed/],
    [zip(whole, (bytes) => (bytes[31] = 88)), /disagree/],
  ]) {
    await refused(() => readAdapter(blob), "bad-adapter", message);
  }
  // The same name twice, which writers of zip files refuse to write.
  const twice = zipSync({ [CONFIG]: files[CONFIG], "adapter_confih.json": files[CONFIG] }, { level: 0 });
  for (let at = 0; at < twice.length; at++) if (twice[at] === 104 && twice[at - 1] === 105 && twice[at - 2] === 102) twice[at] = 103;
  await refused(() => readAdapter(new Blob([twice])), "bad-adapter", /is in it twice/);
});

test("a zip file that says less than it unpacks to is left at once", async () => {
  const zeros = new Uint8Array(64 << 20);
  const packed = deflateRawSync(zeros);
  const bytes = zipSync({ [CONFIG]: [new Uint8Array(packed.length), { level: 0 }] });
  const view = new DataView(bytes.buffer);
  const central = view.getUint32(bytes.length - 6, true);
  bytes.set(packed, 30 + CONFIG.length);
  for (const [at, size] of [[8, 22], [central + 10, central + 24]]) {
    view.setUint16(at, 8, true);
    view.setUint32(size, 1000, true);
  }
  const before = process.memoryUsage().arrayBuffers;
  await refused(() => readAdapter(new Blob([bytes])), "bad-adapter", /becomes larger than its directory says/);
  assert.ok(process.memoryUsage().arrayBuffers - before < 48 << 20, "not all of it was unpacked");
});

test("a file is shared where the system takes it, else downloaded", async (t) => {
  const file = adapterFile(adapter());
  const clicked = [];
  setGlobal("document", { createElement: () => ({ click() { clicked.push(this.download); } }) });
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const throws = (name) => async () => {
    throw new DOMException("", name);
  };
  for (const [navigator, outcome] of [
    [{}, "downloaded"],
    [{ canShare: () => false }, "downloaded"],
    [{ canShare: ({ files }) => files[0] === file, share: async () => {} }, "shared"],
    [{ canShare: () => true, share: throws("AbortError") }, "cancelled"],
    [{ canShare: () => true, share: throws("NotAllowedError") }, "downloaded"],
  ]) {
    clicked.length = 0;
    setGlobal("navigator", navigator);
    assert.equal(await share(file), outcome);
    assert.deepEqual(clicked, outcome === "downloaded" ? ["adapter.zip"] : []);
  }
  setGlobal("navigator", { canShare: () => true, share: throws("TypeError") });
  await refused(() => share(file), "io", /could not be shared/);
  setGlobal("navigator", {});
  delete globalThis.document;
});

test("a link leads to the address that it was made for", async () => {
  const page = "https://page.example/studio/?lang=en#old";
  for (const address of ["https://a.example/x.zip", "https://a.example/a%20b/?q=1&r=%2F%23#part", "https://a.example/ü"]) {
    const link = adapterLink(page, address);
    assert.ok(link.startsWith("https://page.example/studio/?lang=en#adapter=https://a.example/"), link);
    assert.equal(linked(link), new URL(address.replace(/#.*/, "")).href);
    assert.equal(linked(new URL(link)), linked(link));
  }
  assert.equal(linked("https://page.example/#adapter=https%3A%2F%2Fa.example%2Fx.zip"), "https://a.example/x.zip");
  for (const none of ["https://page.example/", "https://page.example/#", "https://page.example/#adapters=x", "https://page.example/?adapter=https://a.example/"]) {
    assert.equal(linked(none), undefined);
  }
  assert.equal(linked("http://localhost:8000/#adapter=http://127.0.0.1:9/x/"), "http://127.0.0.1:9/x/");
  for (const [address, message] of [
    ["http://a.example/x", /begin with https/],
    ["http://localhost:1/x", /begin with https/],
    ["javascript:alert(1)", /begin with https/],
    ["data:text/html,x", /begin with https/],
    ["blob:https://page.example/1", /begin with https/],
    ["file:///etc/passwd", /begin with https/],
    ["https://me:secret@a.example/x", /a name or a password/],
    ["https://me@a.example/x", /a name or a password/],
    [`https://a.example/${"x".repeat(2048)}`, /longer than 2048/],
    [`https://a.example/${"ü".repeat(400)}`, /longer than 2048/],
    ["https://[", /cannot be read/],
    ["https://a.example/%E0%A4%A", /not encoded/],
  ]) {
    await refused(() => linked(`https://page.example/#adapter=${address}`), "bad-option", message);
    if (!/encoded/.test(message.source)) await refused(() => adapterLink(page, address), "bad-option", message);
  }
  const { message } = await Promise.resolve().then(() => linked("https://p.example/#adapter=https://me:secret@a.example/x")).catch((thrown) => thrown);
  assert.ok(!message.includes("secret"), message);
});

test("the shelf keeps adapters by name", async () => {
  setGlobal("caches", playedCaches());
  const shelf = await openShelf();
  assert.deepEqual(await shelf.list(), []);
  const files = await signed();
  const put = await shelf.put("Recipes", files);
  assert.equal(put.signed_by.fingerprint, (await signer()).fingerprint);
  assert.equal(put.bytes, Object.values(files).reduce((sum, { length }) => sum + length, 0));
  await shelf.put("an older one", adapter());
  const again = await openShelf();
  const told = (await again.list()).map(({ name, card, signed_by, inspection }) => [name, card?.title, signed_by === null, inspection.r]);
  assert.deepEqual(told, [["an older one", undefined, true, 2], ["Recipes", "Recipes", false, 2]]);
  assert.deepEqual(await again.open("Recipes"), files);
  assert.deepEqual(await again.open("an older one"), adapter());
  await refused(() => shelf.put("Recipes", adapter()), "bad-option", /"Recipes" already/);
  await shelf.put("Recipes", adapter({ r: 2, lora_alpha: 8 }), { overwrite: true });
  assert.equal((await shelf.list()).find(({ name }) => name === "Recipes").inspection.lora_alpha, 8);
  assert.equal(caches.caches.get("tabtune-shelf").size, 2 + 2 + 2, "files of the one before are gone");
  await refused(() => shelf.rename("Recipes", "an older one"), "bad-option", /already/);
  await shelf.rename("Recipes", "Recipes");
  await shelf.rename("Recipes", "Cakes");
  assert.deepEqual((await shelf.list()).map(({ name }) => name), ["an older one", "Cakes"]);
  assert.deepEqual(await shelf.open("Cakes"), adapter({ lora_alpha: 8 }));
  for (const work of [() => shelf.open("Recipes"), () => shelf.rename("Recipes", "x"), () => shelf.delete("Recipes")]) {
    await refused(work, "bad-option", /no adapter "Recipes" on the shelf/);
  }
  for (const [name, message] of [["", /empty/], [" x", /spaces around/], ["x".repeat(81), /81/], ["a\nb", /control/], [undefined, /missing/], [7, /no text/]]) {
    await refused(() => shelf.put(name, adapter()), "bad-option", message);
  }
  await refused(() => shelf.put("bad", adapter({ r: 4 })), "bad-adapter", /rank/);
  await shelf.delete("Cakes");
  await shelf.delete("an older one");
  assert.equal(caches.caches.get("tabtune-shelf").size, 0);
});

test("a full disk leaves the shelf as it was, and what a closed tab left is swept away", async () => {
  setGlobal("caches", playedCaches());
  const shelf = await openShelf();
  await shelf.put("one", adapter());
  const entries = caches.caches.get("tabtune-shelf");
  caches.room.bytes = [...entries.values()].reduce((sum, { size }) => sum + size, 0) + 500;
  for (const name of ["two", "one"]) {
    await refused(() => shelf.put(name, adapter({ lora_alpha: 9 }), { overwrite: true }), "quota-exceeded", /no room for "(one|two)".*delete/);
    assert.deepEqual(await shelf.open("one"), adapter());
    assert.equal(entries.size, 3);
  }
  caches.room.bytes = Infinity;
  await (await caches.open("tabtune-shelf")).put("https://tabtune.invalid/file?id=gone&file=adapter_config.json", new Response("x"));
  await shelf.put("two", adapter());
  assert.equal(entries.size, 6);
  const [weights] = [...entries.keys()].filter((key) => key.includes("safetensors"));
  entries.set(weights, new Blob(["damaged"]));
  const signed_files = await signed();
  await shelf.put("signed", signed_files);
  const last = [...entries.keys()].filter((key) => key.includes("safetensors")).at(-1);
  const bytes = Uint8Array.from(signed_files[WEIGHTS]);
  bytes[bytes.length - 1] ^= 1;
  entries.set(last, new Blob([bytes]));
  await refused(() => shelf.open("signed"), "bad-adapter", /was changed after/);
  setGlobal("caches", { open: async () => Promise.reject(new DOMException("", "SecurityError")) });
  await refused(() => openShelf(), "unsupported", /keeps nothing for this page/);
});

test("an adapter with a card is one that Trainer.adapters loads: PEFT's files as they were", async () => {
  const files = adapter();
  const with_card = await signed(DETAILS, files);
  assert.deepEqual(with_card[CONFIG], files[CONFIG]);
  assert.deepEqual(with_card[WEIGHTS], files[WEIGHTS]);
  assert.equal(JSON.parse(new TextDecoder().decode(with_card[CONFIG])).r, config().r);
});
