// What `./build.sh bench data` runs: a large file on its way through the browser's storage.
import { createWriteStream, mkdtempSync, rmSync } from "node:fs";
import { stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { once } from "node:events";
import { launch } from "./lib/chromium.mjs";
import { paths } from "./lib/paths.mjs";
import { memoryOf } from "./lib/processes.mjs";
import { serve } from "./lib/server.mjs";

const WORDS = "the sea a model learns from rows that stay where they are and nobody else reads them while it does".split(" ");

/** Writes `count` rows of about 1000 characters each; the same ones every time. */
export async function writeRows(path, count) {
  const file = createWriteStream(path);
  let state = 1;
  const next = (bound) => (state = (state * 48271) % 2147483647) % bound;
  for (let row = 0; row < count; row++) {
    const words = Array.from({ length: 120 }, () => WORDS[next(WORDS.length)]);
    const content = `${words.join(" ")} ${"again ".repeat(next(130))}`;
    const messages = [{ role: "user", content: `Question ${row}?` }, { role: "assistant", content }];
    if (!file.write(`${JSON.stringify({ messages })}\n`)) await once(file, "drain");
  }
  file.end();
  await once(file, "finish");
}

/** Runs in the page: imports the picked file and tells how it went. */
async function importPicked() {
  const { tabtune } = globalThis.runner;
  const file = document.querySelector("input").files[0];
  const dataset = await tabtune.Dataset.open("large");
  const began = performance.now();
  const report = await dataset.import(file, { progress_callback: (event) => (globalThis.progress = event) });
  return { seconds: (performance.now() - began) / 1000, rows: report.rows, info: await dataset.info() };
}

/** Runs in the page: tokenises the dataset, or opens what was tokenised before; where it `trains`, by the steps of `train`, on a GPU. */
async function openRows({ train, trains }) {
  const { tabtune } = globalThis.runner;
  const dataset = await tabtune.Dataset.open("large");
  const trainer = await tabtune.Trainer.load("/bundled/", { train, quantization: { load_in_4bit: true }, device: trains ? "webgpu" : "cpu" });
  const began = performance.now();
  const lengths = await trainer.lengths(dataset);
  const opened = (performance.now() - began) / 1000;
  const plan = await trainer.prepare(dataset);
  const logs = [];
  if (trains) for await (const log of trainer.train()) logs.push(log);
  const { tokens } = plan.dataset;
  await trainer.dispose();
  return { seconds: opened, tokens, longest: lengths.longest, logs };
}

const rounded = (value) => Number(value.toPrecision(4));

/** Samples the memory of the tab while `work` runs: { result, before, peak } in MB. */
async function watched(browser, work) {
  const now = () => memoryOf(browser.profile, "renderer") / 1e6;
  const before = now();
  let peak = before;
  const timer = setInterval(() => (peak = Math.max(peak, now())), 200);
  const result = await work();
  clearInterval(timer);
  return { result, before, peak };
}

/** Imports `rows` made-up rows, tokenises them, opens them again, and reports each. */
export async function measure(rows, report) {
  const folder = mkdtempSync(join(tmpdir(), "tabtune-rows-"));
  const path = join(folder, "rows.jsonl");
  await writeRows(path, rows);
  const { size } = await stat(path);
  const html = new TextEncoder().encode('<!doctype html><input type="file" /><script type="module" src="/runner/runner.js"></script>');
  const server = await serve({ "/index.html": html, "/tabtune/": paths.package, "/runner/": paths.runner, "/bundled/": paths.model, "/favicon.ico": new Uint8Array() });
  const browser = await launch();
  try {
    const open = async () => {
      const page = await browser.newPage();
      page.setDefaultTimeout(0);
      await page.goto(`${server.origin}/index.html`);
      await page.waitForFunction(() => "runner" in globalThis);
      return page;
    };
    let page = await open();
    await page.setInputFiles("input", path);
    const imported = await watched(browser, () => page.evaluate(importPicked));
    report("import", {
      rows: imported.result.rows,
      megabytes: rounded(size / 1e6),
      seconds: rounded(imported.result.seconds),
      rows_per_second: Math.round(rows / imported.result.seconds),
      megabytes_per_second: rounded(size / 1e6 / imported.result.seconds),
      tab_megabytes_before: Math.round(imported.before),
      tab_megabytes_peak: Math.round(imported.peak),
    });

    const train = { max_length: 512, max_steps: 4, per_device_train_batch_size: 1, shuffle_dataset: true, seed: 7 };
    const tokenized = await watched(browser, () => page.evaluate(openRows, { train, trains: false }));
    report("tokenize", {
      tokens: tokenized.result.tokens,
      seconds: rounded(tokenized.result.seconds),
      megabytes_per_second: rounded(size / 1e6 / tokenized.result.seconds),
      tab_megabytes_before: Math.round(tokenized.before),
      tab_megabytes_peak: Math.round(tokenized.peak),
    });

    await page.close();
    page = await open();
    const reopened = await page.evaluate(openRows, { train, trains: true });
    const [first, ...rest] = reopened.logs;
    // Of the middle of three steps, because one in which the system did something else says nothing of the rows.
    const middle = (part) => rest.map((log) => log[part]).sort((a, b) => a - b)[1];
    report("reopen", {
      seconds_to_index: rounded(reopened.seconds),
      seconds_to_first_batch: rounded(reopened.seconds + first.data_millis / 1000),
      data_millis_a_step: rounded(middle("data_millis")),
      step_millis: rounded(middle("step_millis")),
      data_share_of_step: rounded(middle("data_millis") / middle("step_millis")),
    });
    await page.close();
  } finally {
    await browser.close();
    await server.close();
    rmSync(folder, { recursive: true, force: true });
  }
}

if (process.argv[1] === new URL(import.meta.url).pathname) {
  const asked = process.argv.indexOf("--rows");
  const rows = asked < 0 ? 100_000 : Number(process.argv[asked + 1]);
  if (!Number.isInteger(rows) || rows < 1) {
    console.error("error[bad-option]: --rows must be a whole number above 0");
    process.exit(1);
  }
  await measure(rows, (kind, values) => console.log(JSON.stringify({ kind, ...values })));
}
