// The engine and the page in Firefox, on the processor, without subgroups. What does not hang on the browser is
// tested in Chromium alone.
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { gzipSync } from "node:zlib";
import { paths } from "../../tools/lib/paths.mjs";
import { checkParity } from "../browser/parity.mjs";
import { checkShaders } from "../browser/shaders.mjs";
import { bundledConfig, fewRows, mean, valueOf } from "../browser/support.mjs";
import { importAs, lookAround, trainOn } from "./jobs.mjs";
import { openLab } from "./support.mjs";

test("in Firefox", async (t) => {
  const lab = await openLab(t);
  const { page, server, mounts } = lab;

  await t.test("rows are imported while nobody has answered whether they may be kept", async () => {
    const found = await page.evaluate(lookAround);
    assert.deepEqual([found.state, found.persist], ["prompt", "unanswered"]);
    const base64 = Buffer.from('{"text": "a"}\n').toString("base64");
    assert.equal(valueOf(await page.evaluate(importAs, { kind: "file", name: "first.jsonl", base64 })).rows, 1);
  });

  await t.test("every shader compiles that Firefox has the features for", async (t) => {
    const lacking = await checkShaders(t, page);
    assert.ok(lacking.every((name) => /subgroup/.test(name)), `${lacking.join(", ")} need subgroups`);
  });

  await t.test("datasets of every kind of source are imported, listed and deleted", async () => {
    const parquet = readFileSync(join(paths.root, "tests/fixtures/parquet/nested.parquet"));
    const pair = { prompt: [{ role: "user", content: "q" }], completion: [{ role: "assistant", content: "a" }], pair: true };
    for (const [kind, name, bytes, rows, first] of [
      ["file", "a.jsonl", '{"text": "x"}\n{"text": "y"}\n', 2, { text: "x" }],
      ["file", "a.csv.gz", gzipSync("question,answer\nq,a\n"), 1, pair],
      ["file", "a.parquet", parquet],
      ["stream", "a.json", '[{"text": "x"}, {"text": "y"}, {"text": "z"}]', 3, { text: "x" }],
      ["rows", "made", "", 1500],
      ["directory", "a.md", "# One\n\nText.\n", 1, { text: "# One\n\nText." }],
    ]) {
      const job = { kind, name, base64: Buffer.from(bytes).toString("base64") };
      const found = valueOf(await page.evaluate(importAs, job));
      assert.ok(rows === undefined ? found.rows > 0 : found.rows === rows, `${kind} ${name}: ${found.rows} rows`);
      if (first) assert.deepEqual(found.first, first);
    }
    const names = await page.evaluate(async () => {
      const { Dataset } = globalThis.runner.tabtune;
      const names = async () => (await Dataset.list()).map(({ name }) => name);
      const before = await names();
      for (const name of before) await (await Dataset.open(name)).delete();
      return { before, after: await names() };
    });
    assert.equal(names.before.length, 7);
    assert.deepEqual(names.after, []);
  });

  await t.test("small models train as PyTorch trains them", (t) => checkParity(t, lab.run));

  await t.test("the bundled model learns, and a step's time is what it took", async () => {
    mounts["/few.jsonl"] = fewRows(paths.data);
    const config = bundledConfig({ max_steps: 8, per_device_train_batch_size: 2, max_length: 64 });
    const job = { config, rows: "/few.jsonl", heldout: "/heldout.jsonl", evaluate: true };
    const { steps, evals, files } = valueOf(await lab.run(job));
    assert.equal(steps.length, 8);
    assert.ok(steps.every(({ loss, grad_norm }) => Number.isFinite(loss) && grad_norm > 0));
    assert.ok(mean(steps.slice(-3).map(({ loss }) => loss)) < mean(steps.slice(0, 3).map(({ loss }) => loss)));
    assert.ok(evals.at(-1).eval_loss < evals[0].eval_loss);
    assert.deepEqual(Object.keys(files).sort(), ["adapter_config.json", "adapter_model.safetensors"]);
    // Firefox tells of two steps at once. The first ones compile.
    const millis = steps.slice(3).map(({ step_millis }) => step_millis);
    assert.ok(Math.max(...millis) < 10 * Math.min(...millis), `steps took ${millis.map(Math.round).join(", ")} ms`);
  });

  await t.test("a run that a reload ended goes on to the same adapter, to the bit", async () => {
    mounts["/small/"] = join(paths.fixtures, "smollm2_f16_tied/model");
    mounts["/small.jsonl"] = join(paths.fixtures, "smollm2_f16_tied/data.jsonl");
    await page.evaluate(() => globalThis.runner.importFrom("few", "/small.jsonl"));
    const whole = valueOf(await page.evaluate(trainOn, { run_name: "whole", steps: 12 }));
    assert.deepEqual([whole.first, whole.log.length], [1, 12]);
    // Not awaited, because the page goes before it ends.
    await page.evaluate(`void (${trainOn})({ run_name: "reloaded", steps: 12 })`);
    await page.waitForFunction(() => globalThis.steps.length >= 4);
    await lab.openRunner();
    const resumed = valueOf(await page.evaluate(trainOn, { run_name: "reloaded", steps: 12 }));
    assert.ok(resumed.first > 3 && resumed.told.includes("resumed"), `it went on with step ${resumed.first}`);
    assert.deepEqual(resumed.log, whole.log);
    assert.equal(resumed.hash, whole.hash);
  });

  await t.test("the page trains on rows of one's own, draws the loss, answers, and knows what was learnt the next day", async (t) => {
    const complaints = [];
    page.on("pageerror", (error) => complaints.push(error.message));
    page.on("console", (message) => message.type() === "error" && complaints.push(message.text()));
    const folder = mkdtempSync(join(tmpdir(), "tabtune-rows-"));
    t.after(() => rmSync(folder, { recursive: true, force: true }));
    const rows = join(folder, "mine.csv");
    writeFileSync(rows, "question,answer\nWhere are you?,At 12 Mill Lane.\nWhen do you open?,At nine.\n");

    const text = (selector) => page.$eval(selector, (element) => element.innerText);
    const says = (selector, pattern) =>
      page.waitForFunction((selector, pattern) => new RegExp(pattern).test(document.querySelector(selector)?.innerText), {}, selector, pattern);
    const set = (selector, value) =>
      page.$eval(
        selector,
        (input, value) => {
          input.value = value;
          input.dispatchEvent(new Event("input", { bubbles: true }));
          input.dispatchEvent(new Event("change", { bubbles: true }));
        },
        value,
      );
    const idle = () => page.waitForFunction(() => !document.querySelector("#ask-begin").disabled);

    await page.goto(`${server.origin}/`);
    await page.$eval('input[name="data"][value="file"]', (choice) => choice.click());
    await (await page.$("#rows")).uploadFile(rows);
    await says("#rows-name", "mine.csv");
    await page.waitForSelector("#own", { visible: true });
    await page.$eval("#settings", (details) => (details.open = true));
    await set("[name=max_steps]", "3");
    await set("[name=per_device_train_batch_size]", "1");
    await page.$eval("#start", (button) => button.click());
    await says("#status", "^Done: 3 steps\\.$");
    await idle();
    assert.ok(Number(await text("#loss")) > 0);
    assert.match(await page.$eval("#chart", (chart) => chart.getAttribute("aria-label")), /^Loss by step: [\d.]+ at step 1/);
    assert.ok(await page.$eval("#chart canvas", (canvas) => canvas.offsetWidth > 0));
    assert.match(await page.$eval("#rest-signals", (signals) => signals.textContent), /looks at: speed of the steps; this browser does not tell: battery/);
    await set("#question", "Where are you?");
    await page.$eval("#ask-begin", (button) => button.click());
    await page.waitForFunction(() => document.querySelector("#ask-begin").disabled);
    await idle();
    for (const answer of ["#answer-base", "#answer-tuned"]) assert.notEqual(await text(answer), "", answer);
    await says("#estimate-sum", "^A run takes up to [\\d.]+ MB of GPU memory");

    await page.reload();
    await says("#learnt-list", "mine.*3 steps");
    assert.deepEqual(complaints, []);
  });
});
