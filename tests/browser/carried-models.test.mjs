// A downloaded model is taken out of one browser and put into another, which has no network: it loads and answers the same.
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { launch } from "../../tools/lib/chromium.mjs";
import { paths } from "../../tools/lib/paths.mjs";
import { standIn } from "../docs/stage.mjs";
import { startHub, sum } from "./hub-server.mjs";
import { openLab } from "./support.mjs";

const ID = "somebody/small-model";
const WEIGHTS = "model.safetensors";

/** Runs in the page: loads the model of the hub, and asks it. */
async function ask(id) {
  const { tabtune, answer } = globalThis.runner;
  const trainer = await tabtune.Trainer.load(id, { device: "cpu" });
  const text = await answer(trainer, "What is tabtune?", { max_new_tokens: 12 });
  await trainer.dispose();
  return text;
}

/** Runs in the page: the record of the model, and its files in pieces. */
async function take(id) {
  const { tabtune, toBase64 } = globalThis.runner;
  const { record, read } = await tabtune.exportModel(id);
  const files = {};
  for (const { name } of record.files) {
    files[name] = [];
    for await (const piece of read(name)) files[name].push(await toBase64(piece));
  }
  return { record, files };
}

/** Runs in the page: imports what lies at `/carried/`, and tells what is in the cache then. */
async function bring(record) {
  const { tabtune, outcome } = globalThis.runner;
  const read = async function* (name) {
    yield await (await fetch(`/carried/${name}`)).blob();
  };
  let loaded = 0;
  const progress_callback = (event) => (loaded = Math.max(loaded, event.loaded ?? 0));
  const brought = await outcome(() => tabtune.importModel({ record, read }, { progress_callback }));
  const keys = await (await caches.open("tabtune-models")).keys();
  return { brought, loaded, entries: keys.length, models: await tabtune.cachedModels() };
}

test("a model goes from one browser to another", async (t) => {
  const { page, server, mounts } = await openLab(t, { device: "cpu" });
  const files = Object.fromEntries(readdirSync(paths.model).map((name) => [name, readFileSync(join(paths.model, name))]));
  const hub = await startHub({ id: ID, sha: sum("sha1", "a commit"), revision: "main", files, lfs: [WEIGHTS] });
  t.after(() => hub.close());
  await standIn(page, { "https://huggingface.co/": `${hub.hub.origin}/` }, (address) => address);
  const said = await page.evaluate(ask, ID);
  assert.ok(said.length > 0);
  const { record, files: taken } = await page.evaluate(take, ID);
  for (const { name } of record.files) mounts[`/carried/${name}`] = new Uint8Array(Buffer.concat(taken[name].map((piece) => Buffer.from(piece, "base64"))));
  const whole = mounts[`/carried/${WEIGHTS}`];
  assert.deepEqual(Buffer.from(whole), files[WEIGHTS]);

  // Another browser, where the hub answers nothing.
  const second = await launch({ gpu: "none" });
  t.after(() => second.close());
  const other = await second.newPage();
  const asked = [];
  await other.route("https://huggingface.co/**", (route) => (asked.push(route.request().url()), route.abort()));
  await other.goto(`${server.origin}/runner/`);
  await other.waitForFunction(() => "runner" in globalThis);

  await t.test("a changed byte is refused by the file's name, and leaves nothing", async () => {
    for (const [content, message] of [
      [whole.with(5_000_000, whole[5_000_000] ^ 1), /^model\.safetensors: its sha256 is [0-9a-f]{64}, but the hub's list gives/],
      [whole.subarray(0, -1), /^model\.safetensors: it ends at byte \d+ of \d+; .*export the model once more/],
    ]) {
      mounts[`/carried/${WEIGHTS}`] = content;
      const { brought, entries } = await other.evaluate(bring, record);
      assert.equal(brought.error?.code, "bad-model");
      assert.match(brought.error.message, message);
      assert.equal(entries, 0);
    }
  });

  await t.test("it loads and answers the same, without a network", async () => {
    mounts[`/carried/${WEIGHTS}`] = whole;
    const { brought, loaded, models } = await other.evaluate(bring, record);
    const bytes = record.files.reduce((total, { size }) => total + size, 0);
    assert.deepEqual(brought.value, { name: ID, revision: "main", bytes, complete: true });
    assert.deepEqual(models, [brought.value]);
    assert.equal(loaded, whole.length);
    assert.deepEqual(asked, []);
    assert.equal(await other.evaluate(ask, ID), said);
    assert.equal(asked.length, 1, "the hub was asked once for its list, and did not answer");
  });
});
