// Which file a GGUF is, wherever it lies.
import assert from "node:assert/strict";
import test from "node:test";
import { folderOf, openModel } from "../../www/package/build/files.js";
import { chosenGguf } from "../../www/package/build/gguf.js";

const HUB = "https://hub.test";
const of = (source) => folderOf(source, { hub: HUB });
const file = (name) => new File(["GGUF"], name);

test("a GGUF is named behind a hub's id, by its address, or as a file", () => {
  const tagged = of("owner/name:Q4_K_M");
  assert.deepEqual([tagged.kind, tagged.id, tagged.gguf], ["hub", "owner/name", "Q4_K_M"]);
  assert.equal(of("owner/name:model-q8_0.gguf").gguf, "model-q8_0.gguf");
  const page = of(`${HUB}/owner/name/blob/main/model.Q8_0.gguf?download=true`);
  assert.deepEqual([page.kind, page.id, page.revision, page.gguf], ["hub", "owner/name", "main", "model.Q8_0.gguf"]);
  const address = of("https://files.test/models/a%20model.gguf?x=1");
  assert.deepEqual([address.kind, address.base, address.gguf], ["url", "https://files.test/models/", "a model.gguf"]);
  const picked = of(file("model.gguf"));
  assert.deepEqual([picked.kind, picked.name, picked.gguf], ["blobs", "model.gguf", "model.gguf"]);
  assert.throws(() => of(file("model.safetensors")), { code: "bad-option", message: /"model.safetensors" is no GGUF/ });
  assert.equal(of("owner/name").gguf, undefined);
});

test("an encoding names one file of a repository", () => {
  const names = ["README.md", "small-Q4_K_M.gguf", "small-Q4_K_S.gguf", "small.q8_0.gguf", "small-f16.gguf"];
  const split = ["big-Q4_K_M-00001-of-00002.gguf", "big-Q4_K_M-00002-of-00002.gguf"];
  assert.equal(chosenGguf(names, "Q4_K_M", "it"), "small-Q4_K_M.gguf");
  assert.equal(chosenGguf(names, "q8_0", "it"), "small.q8_0.gguf");
  assert.equal(chosenGguf(names, "F16", "it"), "small-f16.gguf");
  assert.equal(chosenGguf(names, "small-Q4_K_S.gguf", "it"), "small-Q4_K_S.gguf");
  assert.equal(chosenGguf(split, "Q4_K_M", "it"), split[0]);
  assert.equal(chosenGguf(split, undefined, "it"), split[0]);
  assert.equal(chosenGguf(["config.json", "model.safetensors", "small-f16.gguf"], undefined, "it"), undefined);
  const refused = (names, wanted, message) => assert.throws(() => chosenGguf(names, wanted, "it"), { code: "bad-option", message });
  refused(names, "Q2_K", /no GGUF files for "Q2_K": there are small-Q4_K_M.gguf, .*"owner\/name:Q4_K_M"/);
  refused(names, undefined, /several GGUF files: there are/);
  refused(["a-Q8_0.gguf", "b-Q8_0.gguf"], "Q8_0", /several GGUF files for "Q8_0"/);
  refused(["config.json"], "Q8_0", /no GGUF files for "Q8_0": there is none/);
});

test("of picked files the GGUF is the model, unless they are a folder of Hugging Face's", async () => {
  const model = async (...names) => (await openModel(of(names.map(file)))).gguf;
  assert.equal(await model("notes.txt", "model.gguf"), "model.gguf");
  assert.equal(await model("config.json", "model.safetensors", "model.gguf"), undefined);
  await assert.rejects(model("one.gguf", "two.gguf"), { code: "bad-option", message: /several GGUF files/ });
});
