// What is shown in every browser, by functions that run in its page and nothing else: a page is { goto, evaluate } here.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { unzipSync } from "fflate";
import { paths } from "../../tools/lib/paths.mjs";
import { bytesOf, valueOf } from "./support.mjs";

/** Runs in the page: imports `{ name, base64 }` in the way that `kind` says; tells what is kept. */
export async function importAs({ kind, name, base64, on_bad_row = "skip" }) {
  const { tabtune, outcome } = globalThis.runner;
  const file = new File([Uint8Array.from(atob(base64), (char) => char.charCodeAt(0))], name);
  const sources = {
    file: () => file,
    files: () => [file],
    stream: () => file.stream(),
    async *rows() {
      for (let row = 0; row < 1500; row++) yield { prompt: `p ${row}`, completion: `c ${row}` };
    },
    async directory() {
      const root = await navigator.storage.getDirectory();
      const folder = await root.getDirectoryHandle("picked", { create: true });
      const writable = await (await folder.getFileHandle(name, { create: true })).createWritable();
      await writable.write(file);
      await writable.close();
      return folder;
    },
  };
  return outcome(async () => {
    const dataset = await tabtune.Dataset.open(`as ${kind} ${name}`);
    const looked = kind === "file" && (await tabtune.Dataset.inspect(file)).format;
    const { bad_rows } = await dataset.import(await sources[kind](), { on_bad_row });
    const { rows } = await dataset.info();
    const [first] = await dataset.rows(0, 1);
    return { looked, rows, bad_rows, first: first.row };
  });
}

/** Imports rows of every kind of source, finds those that are bad, and lists and deletes what is kept. */
export async function checkData(page, { has_folders }) {
  const parquet = readFileSync(join(paths.root, "tests/fixtures/parquet/nested.parquet"));
  const pair = { prompt: [{ role: "user", content: "q" }], completion: [{ role: "assistant", content: "a" }], pair: true };
  const importing = (kind, name, bytes, options) =>
    page.evaluate(importAs, { kind, name, base64: Buffer.from(bytes).toString("base64"), ...options });
  for (const [kind, name, bytes, rows, first] of [
    ["file", "a.jsonl", '{"text": "x"}\n{"text": "y"}\n', 2, { text: "x" }],
    ["file", "a.csv.gz", gzipSync("question,answer\nq,a\n"), 1, pair],
    ["file", "a.parquet", parquet],
    ["stream", "a.json", '[{"text": "x"}, {"text": "y"}, {"text": "z"}]', 3, { text: "x" }],
    ["rows", "made", "", 1500],
    [has_folders ? "directory" : "files", "a.md", "# One\n\nText.\n", 1, { text: "# One\n\nText." }],
    ["file", "bad.jsonl", '{"text": "x"}\n{"text":\n{"text": "z"}\n', 2, { text: "x" }],
  ]) {
    const found = valueOf(await importing(kind, name, bytes));
    assert.ok(rows === undefined ? found.rows > 0 : found.rows === rows, `${kind} ${name}: ${found.rows} rows`);
    if (first) assert.deepEqual(found.first, first);
  }
  const { error } = await importing("file", "refused.jsonl", '{"text": "x"}\n{"text":\n', { on_bad_row: "stop" });
  assert.equal(error?.code, "bad-data");
  assert.match(error.message, /refused\.jsonl.*line 2\b/s);
  const names = await page.evaluate(async () => {
    const { Dataset } = globalThis.runner.tabtune;
    const names = async () => (await Dataset.list()).map(({ name }) => name);
    const before = await names();
    for (const name of before) await (await Dataset.open(name)).delete();
    return { before, after: await names() };
  });
  assert.ok(names.before.length >= 7, names.before.join(", "));
  assert.deepEqual(names.after, []);
}

/**
 * Runs in the page: trains a run on the processor from where it stands. `globalThis.steps` has the steps that were told,
 * `globalThis.told` what happened, and `globalThis.endEngine` ends the engine's worker. A run that is to be killed makes `most` steps and
 * waits for that.
 */
export async function trainOn({ run_name, steps, most }) {
  const { tabtune, outcome } = globalThis.runner;
  globalThis.steps = [];
  globalThis.told = [];
  const { Worker } = globalThis;
  let last;
  globalThis.Worker = class extends Worker {
    constructor(...given) {
      super(...given);
      last = this;
    }
  };
  globalThis.endEngine = () => last.terminate();
  return outcome(async () => {
    const dataset = await tabtune.Dataset.open("few");
    const trainer = await tabtune.Trainer.load("/small/", {
      device: "cpu",
      quantization: { load_in_4bit: true },
      lora: { r: 8, lora_dropout: 0.1 },
      train: { max_steps: steps, learning_rate: 1e-3, per_device_train_batch_size: 2, shuffle_dataset: true, seed: 3 },
    });
    const on_event = ({ type }) => globalThis.told.push(type);
    const run = { run_name, resume_from_checkpoint: true, save_steps: 1, policy: false, on_event };
    for await (const { step, loss } of trainer.train(dataset, run)) {
      globalThis.steps.push([step, loss]);
      if (globalThis.steps.length === most) await new Promise(() => {});
    }
    const earlier = (trainer.plan.resumed?.log ?? []).map(({ step, loss }) => [step, loss]);
    const { "adapter_model.safetensors": adapter } = await trainer.save();
    await trainer.dispose();
    const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", adapter));
    return { earlier, log: globalThis.steps, told: globalThis.told, hash: Array.from(digest).join(" "), adapter: trainer.adapter };
  });
}

/** Runs in the page: resolves once so many steps were told. */
function stepped(count) {
  return new Promise((resolve, reject) => {
    const until = performance.now() + 120_000;
    const look = () => {
      if ((globalThis.steps?.length ?? 0) >= count) resolve();
      else if (performance.now() > until) reject(new Error(`only ${globalThis.steps?.length} steps`));
      else setTimeout(look, 5);
    };
    look();
  });
}

/**
 * A run that is killed again and again, each time in another way, ends with the bits of one that never was. `kills` end
 * the page, and open the runner page anew: `page` gives the one that is there. Tells of the run that was not killed.
 */
export async function checkSurvival(page, mounts, kills) {
  mounts["/small/"] = join(paths.fixtures, "smollm2_f16_tied/model");
  mounts["/small.jsonl"] = join(paths.fixtures, "smollm2_f16_tied/data.jsonl");
  await page().evaluate(() => globalThis.runner.importFrom("few", "/small.jsonl").then(() => {}));
  const steps = 40;
  const whole = valueOf(await page().evaluate(trainOn, { run_name: "whole", steps }));
  assert.deepEqual([whole.earlier.length, whole.log.length], [0, steps]);
  // However late a kill comes, each finds the run on its way.
  const most = Math.floor(steps / (kills.length + 1));
  const begin = () => page().evaluate(`void (${trainOn})({ run_name: "killed", steps: ${steps}, most: ${most} })`);
  for (const kill of kills) {
    await begin();
    await page().evaluate(stepped, 3);
    await kill();
  }
  const last = valueOf(await page().evaluate(trainOn, { run_name: "killed", steps }));
  assert.ok(last.earlier.length >= 3 * kills.length && last.told.includes("resumed"), `it went on after ${last.earlier.length} steps`);
  assert.deepEqual([...last.earlier, ...last.log], whole.log);
  assert.equal(last.hash, whole.hash);

  // The worker of an engine ends, and its page goes on with another one.
  const mortal = valueOf(await page().evaluate(`(async () => {
    const run = (${trainOn})({ run_name: "mortal", steps: ${steps} });
    await (${stepped})(3);
    globalThis.endEngine();
    return run;
  })()`));
  assert.ok(mortal.told.includes("recovered"), mortal.told.join(", "));
  assert.deepEqual(mortal.log, whole.log, "no step is lost, none is told twice");
  assert.equal(mortal.hash, whole.hash);
  return whole;
}

// ---- the page that people see --------------------------------------------------------------------------

/** Runs in the page: resolves to the text of an element once it matches. */
export function textOf({ selector, pattern, millis }) {
  return new Promise((resolve, reject) => {
    const until = performance.now() + millis;
    const look = () => {
      const text = document.querySelector(selector)?.innerText;
      if (new RegExp(pattern).test(text ?? "")) resolve(text);
      else if (performance.now() > until) {
        const error = document.querySelector("#error:not([hidden])")?.innerText ?? "";
        reject(new Error(`${selector} says “${text}” and not ${pattern}. ${error}`));
      } else setTimeout(look, 20);
    };
    look();
  });
}

/** Runs in the page: puts a file of that name and content into a field. */
function fillFile({ selector, name, content }) {
  const given = new DataTransfer();
  given.items.add(new File([content], name));
  const field = document.querySelector(selector);
  field.files = given.files;
  field.dispatchEvent(new Event("change", { bubbles: true }));
}

/** Runs in the page: has the next download kept in `globalThis.downloaded`, and lets the browser keep none. */
function catchDownload() {
  globalThis.downloaded = new Promise((resolve) => {
    const { createObjectURL } = URL;
    URL.createObjectURL = (blob) => {
      resolve(blob.arrayBuffer().then((bytes) => btoa(Array.from(new Uint8Array(bytes), (byte) => String.fromCharCode(byte)).join(""))));
      URL.createObjectURL = createObjectURL;
      return createObjectURL.call(URL, blob);
    };
  });
  HTMLAnchorElement.prototype.click = () => {};
}

/**
 * The main path through the page on the processor: trains the bundled model on the bundled rows, draws the loss, answers,
 * gives the adapter; refuses a bad row with its place, learns rows of one's own, and knows the next day what was learnt.
 * Tells the held-out loss after so many steps, and what the page says of what computes.
 */
export async function checkPage(page, origin, { steps }) {
  const says = (selector, pattern, millis = 120_000) => page.evaluate(textOf, { selector, pattern: pattern.source, millis });
  // A person waits until it can be pressed, as while the page looks at a file.
  const click = (selector) =>
    page.evaluate(async (selector) => {
      const button = document.querySelector(selector);
      while (button.disabled) await new Promise((resolve) => setTimeout(resolve, 20));
      button.click();
    }, selector);
  const set = (name, value) =>
    page.evaluate(
      ({ name, value }) => {
        const field = document.querySelector(name);
        field.value = value;
        for (const kind of ["input", "change"]) field.dispatchEvent(new Event(kind, { bubbles: true }));
      },
      { name, value },
    );
  const done = () =>
    page.evaluate(async () => {
      while (document.querySelector("#ask-begin").disabled) await new Promise((resolve) => setTimeout(resolve, 20));
    });
  const complaints = () => page.evaluate(() => globalThis.complaints);
  let visits = 0;
  const open = async () => {
    // An address that differs after its hash alone is no other page.
    await page.goto(`${origin}/?visit=${++visits}#train`);
    await page.evaluate(() => {
      globalThis.complaints = [];
      addEventListener("error", ({ message }) => globalThis.complaints.push(message));
      addEventListener("unhandledrejection", ({ reason }) => globalThis.complaints.push(String(reason)));
    });
    await says("#estimate-sum", /^A run takes up to [\d.]+ MB of memory/);
  };

  await open();
  assert.match(await says("#device-found", /./), /^Runs on the processor\. This browser .*WebGPU/);
  await set("[name=max_steps]", String(steps));
  await click("#start");
  await says("#status", new RegExp(`^Done: ${steps} steps\\.$`));
  await done();
  const computes = await says("#device-found", /^Computed by \d+ workers? on the processor\./);
  assert.ok(Number(await says("#loss", /./)) > 0);
  const held_out = Number(await says("#heldout-loss", /./));
  const curve = await page.evaluate(() => ({
    words: document.querySelector("#chart").getAttribute("aria-label"),
    width: document.querySelector("#chart canvas").offsetWidth,
  }));
  assert.match(curve.words, /^Loss by step: [\d.]+ at step 1.* Held-out loss/);
  assert.ok(curve.width > 0);
  for (const answer of ["#answer-base", "#answer-tuned"]) await says(answer, /./);
  await set("#question", "Does my data leave the browser?");
  await click("#ask-begin");
  await done();
  for (const answer of ["#answer-base", "#answer-tuned"]) await says(answer, /./);
  await page.evaluate(catchDownload);
  await click("#download");
  const files = unzipSync(bytesOf(await page.evaluate(() => globalThis.downloaded)));
  assert.deepEqual(Object.keys(files).sort(), ["adapter_config.json", "adapter_model.safetensors"]);
  assert.equal(JSON.parse(new TextDecoder().decode(files["adapter_config.json"])).peft_type, "LORA");

  await click('input[name="data"][value="file"]');
  const rows = '{"prompt":"Where are you?","completion":"At 12 Mill Lane."}\n{"prompt":\n{"prompt":"When?","completion":"At nine."}\n';
  await page.evaluate(fillFile, { selector: "#rows", name: "mine.jsonl", content: rows });
  await says("#bad-rows", /mine\.jsonl, line 2/);
  await set("[name=max_steps]", "3");
  await click("#start");
  await says("#error-code", /^bad-data$/);
  await says("#error-message", /mine\.jsonl.*line 2\b/);
  await click("#skip-bad");
  await click("#start");
  await says("#status", /^Done: 3 steps\.$/);
  await says("#import-report", /2 rows kept · 1 bad row left out\./);
  await done();
  assert.match(await page.evaluate(() => document.querySelector("#rest-signals").textContent), /^A run looks at: .*speed of the steps/);
  assert.deepEqual(await complaints(), []);

  await open();
  await says("#library-list", /mine[^]*3 steps/);
  await says("#library-list", new RegExp(`Bundled FAQ[^]*${steps} steps`));
  assert.deepEqual(await complaints(), []);
  return { held_out, computes };
}
