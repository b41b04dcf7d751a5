// The page's logic that needs no browser.
import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import { zipSync } from "fflate";
import { rolldown } from "rolldown";
import { paths } from "../../tools/lib/paths.mjs";

/** A module of the page, with what it imports. */
async function studio(name) {
  const bundle = await rolldown({ input: join(paths.root, "www/studio", name), platform: "node" });
  const { output } = await bundle.generate({ format: "esm" });
  return import(`data:text/javascript,${encodeURIComponent(output[0].code)}`);
}

test("the first question of rows is asked as they are learnt", async () => {
  const { questionOf, promptOf, isChat } = await studio("question.ts");
  const user = (content) => ({ role: "user", content });
  const pair = { prompt: [{ role: "system", content: "Be brief." }, user("Open?")], completion: [{ role: "assistant", content: "Yes." }], pair: true };
  assert.deepEqual(questionOf(pair), { text: "Open?", system: "Be brief.", continues: false });
  assert.deepEqual(questionOf({ messages: [user("Who?"), { role: "assistant", content: "Me." }] }), { text: "Who?", system: null, continues: false });
  assert.deepEqual(questionOf({ prompt: "2+2=", completion: "4" }), { text: "2+2=", system: null, continues: true });
  assert.deepEqual(questionOf({ text: "One two three\nfour five six seven" }), { text: "One two three four five six", system: null, continues: true });
  assert.equal(questionOf({ messages: [{ role: "assistant", content: "Hello!" }] }), undefined);
  assert.deepEqual([pair, { messages: [] }, { prompt: "a", completion: "b" }, { text: "a" }].map(isChat), [true, true, false, false]);

  assert.deepEqual(promptOf(questionOf(pair), true), [{ role: "system", content: "Be brief." }, user("Open?")]);
  assert.deepEqual(promptOf(questionOf(pair), false), { prompt: "Be brief.\n\nOpen?\n" }, "as a model without chat template has learnt it");
  assert.deepEqual(promptOf(questionOf({ text: "One" }), true), { prompt: "One" });
});

test("an adapter is read from a zip or from its two files, and says its model", async () => {
  const { broughtAdapter, fileNameOf, zipped } = await studio("adapter-files.ts");
  const config = (base) => new TextEncoder().encode(JSON.stringify({ peft_type: "LORA", base_model_name_or_path: base }));
  const weights = new Uint8Array([1, 2, 3]);
  const files = (base) => ({ "adapter_config.json": config(base), "adapter_model.safetensors": weights });
  const asFile = (name, bytes) => new File([bytes], name);

  const hub = await broughtAdapter([asFile("shop.zip", await zipped(files("somebody/small")).arrayBuffer())]);
  assert.deepEqual(hub, { name: "shop", files: files("somebody/small"), base: { kind: "hub", name: "somebody/small" } });
  const folded = zipSync({ "my shop/adapter_config.json": config(null), "my shop/adapter_model.safetensors": weights, "my shop/README.md": weights });
  assert.equal((await broughtAdapter([asFile("a.zip", folded)])).base, undefined, "in a folder of the archive, without a base");
  const two = await broughtAdapter(Object.entries(files("https://example.com/models/tiny/")).map(([name, bytes]) => asFile(name, bytes)));
  assert.deepEqual(two.base, { kind: "bundled", name: "" });
  assert.deepEqual((await broughtAdapter([asFile("a.zip", zipSync(files("/models/llama")))])).base, { kind: "folder", name: "llama" });

  const refused = (picked, message) => assert.rejects(broughtAdapter(picked), { message });
  await refused([asFile("adapter_config.json", config(null))], /^That is no adapter: choose a zip file/);
  await refused([asFile("x.zip", zipSync({ "a.txt": weights }))], /^That is no adapter/);
  await refused([asFile("x.zip", new Uint8Array([0x50, 0x4b, 3, 4, 0]))], "x.zip is damaged: it cannot be unpacked.");
  await refused([asFile("adapter_config.json", weights), asFile("adapter_model.safetensors", weights)], /is damaged: it is no JSON\.$/);

  assert.equal(fileNameOf("fragen.csv (2)"), "fragen-2.zip");
  assert.equal(fileNameOf("Läden: Öffnung/Preise"), "Läden-Öffnung-Preise.zip");
  assert.equal(fileNameOf("../.."), "adapter.zip");
});

test("a hub's model is known by its id and by the address of its page", async () => {
  const { hubIdIn, modelWords } = await studio("model-name.ts");
  for (const written of [" a/b-1.5 ", "https://huggingface.co/a/b-1.5", "huggingface.co/a/b-1.5/tree/main", "hf.co/a/b-1.5?x=1"]) {
    assert.equal(hubIdIn(written), "a/b-1.5", written);
  }
  for (const written of ["", "a", "a/b/c", "https://example.com/a/b", "./a/b"]) assert.equal(hubIdIn(written), undefined, written);
  assert.equal(modelWords({ kind: "bundled", name: "" }), "the bundled model");
  assert.equal(modelWords({ kind: "hub", name: "https://huggingface.co/a/b" }), "a/b");
});

test("rows that are pasted have the format that they look like", async () => {
  const { pastedName } = await studio("pasted.ts");
  const names = { "q\ta\n1\t2": "tsv", '{"text":"a, b"}': "jsonl", ' [{"text":"a"}]': "json", "q;a\n1;2": "csv", "Well, this is prose.": "txt", "Well, this\nis prose": "txt" };
  for (const [text, ending] of Object.entries(names)) assert.equal(pastedName(text), `pasted.${ending}`, text);
});

test("errors and endings are said in words that hold", async () => {
  const { hintOf, savedWords } = await studio("words.ts");
  assert.match(hintOf("io", "https://huggingface.co/x: TypeError: Failed to fetch (tries: 5)", false), /^You are offline\./);
  assert.match(hintOf("io", "NetworkError when attempting to fetch resource.", true), /^The network gives no answer\./);
  assert.equal(hintOf("io", "rows.csv: there is no such file", false), "A file could not be read or downloaded.");
  assert.equal(hintOf("unknown-to-this-page", "", true), "Something in tabtune broke.");
  assert.match(savedWords(0), /^Nothing of this run was saved/);
  assert.match(savedWords(1200), /until step 1,200 is saved/);
});

test("the curve is told in words", async () => {
  const { curveWords } = await studio("curve-words.ts");
  assert.equal(curveWords([], [], []), "Loss by step: none yet.");
  assert.equal(curveWords([0, 1, 2], [null, 6.1, 0.5], [7, null, null]), "Loss by step: 6.100 at step 1, 0.500 at step 2. Held-out loss by step: 7.000 at step 0.");
  const steps = Array.from({ length: 300 }, (_, index) => index + 1);
  const told = curveWords(steps, steps.map((step) => 300 - step), steps.map(() => null));
  assert.ok(told.split(",").length <= 9 && told.endsWith("0.000 at step 300."), told);
});

test("runs of an earlier version come into the list, and what is damaged hurts nobody", async () => {
  const { takeOverEarlier } = await studio("earlier.ts");
  const run = { dataset: "shop.csv", heldout: null, is_chat: true, model: { kind: "bundled", name: "" }, config: { train: { max_steps: 60 } }, begun: 5 };
  const kept = { "tabtune:run:shop.csv": JSON.stringify(run), "tabtune:run:cut": '{"dataset":', "tabtune:run:other": '"text"', other: "stays" };
  globalThis.localStorage = Object.assign(Object.create({
    getItem: (name) => kept[name] ?? null,
    removeItem: (name) => {
      delete kept[name];
      delete globalThis.localStorage[name];
    },
  }), kept);
  const put = [];
  await takeOverEarlier({ put: async (learnt) => put.push(learnt) });
  delete globalThis.localStorage;
  assert.deepEqual(Object.keys(kept), ["other"]);
  assert.equal(put.length, 1);
  const { id, name, rows, has_files, steps } = put[0];
  assert.deepEqual({ id, name, rows, has_files, steps }, { id: "shop.csv", name: "shop.csv", rows: { dataset: "shop.csv", heldout: null, is_chat: true, count: null }, has_files: false, steps: 0 });
});
