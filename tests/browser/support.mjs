// What the browser tests share: a served tree, a page with the runner, and jobs to run in it.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { launch } from "../../tools/lib/chromium.mjs";
import { paths } from "../../tools/lib/paths.mjs";
import { serve } from "../../tools/lib/server.mjs";

/** What keeps the engines of pages, to be served at `/kept/`. */
export const KEPT = fileURLToPath(new URL("kept", import.meta.url));

/**
 * The bundled settings, but for runs that last seconds where the processor plays the GPU: one row a
 * step, no warm-up, no evaluation that was not asked for.
 */
export function bundledConfig(train = {}) {
  const config = JSON.parse(readFileSync(paths.config, "utf8"));
  const { eval_steps, warmup_steps, ...rest } = config.train;
  return { ...config, train: { ...rest, per_device_train_batch_size: 1, ...train } };
}

/** A page of a test calls few of the engine's functions: V8 validates one when it is called, rather than all at each start. */
const LAZY = "--wasm-lazy-validation";

/** The first four rows of a file. */
export function fewRows(file) {
  return jsonl(readFileSync(file, "utf8").split("\n").slice(0, 4));
}

/** Has the engines of all pages to come at that origin run in one shared worker, which lasts as long as the browser. */
export async function keepEngines(context, origin) {
  await context.addInitScript({ path: join(KEPT, "page.js") });
  // Pages come and go, and a shared worker goes with the last of them.
  const keeper = await context.newPage();
  await keeper.goto(`${origin}/runner/`);
  await keeper.evaluate(() => (globalThis.kept = new SharedWorker("/kept/engines.js", { type: "module" })));
}

/** What the tests' server has: the page, the package, the runner page, and models and rows. */
export function mountsOf() {
  return {
    "/": paths.dist,
    "/tabtune/": paths.package,
    "/runner/": paths.runner,
    "/bundled/": paths.model,
    "/rows.jsonl": paths.data,
    "/heldout.jsonl": fewRows(paths.heldout),
    "/fixtures/": paths.fixtures,
    "/families/": paths.families,
    "/bases/": paths.bases,
    "/preferences/": paths.preferences,
  };
}

/**
 * Opens the runner page in a fresh Chromium; closed when the test file is through. The browser of the device "cpu" has no
 * WebGPU, and pages are cross-origin isolated there unless `isolated` says otherwise. With `keeps`, the engines of all
 * trainers of all pages are those of one shared worker, so that a shader and the engine itself are compiled once: see
 * `kept/`. The processor computes without workers there. `args` are Chromium's, and `flags` V8's.
 */
export async function openLab(t, { device = "webgpu", keeps = false, isolated = device === "cpu" && !keeps, gpu, args = [], flags = [] } = {}) {
  gpu ??= device === "cpu" ? "none" : undefined;
  // The runner page has no icon. The browser asks for one sooner or later, and the console would tell of none.
  const mounts = { ...mountsOf(), "/kept/": KEPT, "/favicon.ico": new Uint8Array() };
  const server = await serve(mounts, { isolated });
  const browser = await launch({ gpu, args: [...args, `--js-flags=${[LAZY, ...flags].join(",")}`] });
  t.after(async () => {
    await browser.close();
    await server.close();
  });
  const page = await browser.newPage();
  if (keeps) {
    await keepEngines(page.context(), server.origin);
    // A page behind another is slow, and gets no folders.
    await page.bringToFront();
  }
  const requests = [];
  page.on("request", (request) => requests.push(request.url()));
  page.setDefaultTimeout(120_000);
  await page.goto(`${server.origin}/runner/`);
  await page.waitForFunction(() => "runner" in globalThis);
  return { server, browser, page, mounts, requests, run: (job) => page.evaluate(runJob, { device, ...job }) };
}

/**
 * Runs in the page. Loads `model`, which with `picked` is a file that a person picked, prepares a run on the rows at `rows`,
 * trains to its end, saves its adapter unless told otherwise, and tells { value: { model, plan, steps, evals, files, counters } } or { error: { code, message } }.
 */
export async function runJob({ device, model = "/bundled/", picked, rows = "/rows.jsonl", heldout, config, init_adapter, evaluate = false, saves = true }) {
  const { tabtune, importFrom, filesOf, outcome } = globalThis.runner;
  let trainer;
  const result = await outcome(async () => {
    const dataset = await importFrom("rows", rows);
    const eval_dataset = heldout && (await importFrom("heldout", heldout));
    const fileAt = async (url) => new File([await (await fetch(url)).blob()], url.split("/").at(-1));
    trainer = await tabtune.Trainer.load(picked ? await fileAt(model) : model, {
      ...config,
      device,
      ...(eval_dataset && { eval_dataset }),
      ...(init_adapter && { init_adapter }),
    });
    // Every job is another run on the same rows.
    const plan = await trainer.prepare(dataset, { overwrite: true });
    const steps = [];
    const evals = [];
    if (evaluate) evals.push(await trainer.evaluate());
    for await (const log of trainer.train()) ("eval_loss" in log ? evals : steps).push(log);
    if (evaluate) evals.push(await trainer.evaluate());
    const files = saves ? await filesOf(trainer) : undefined;
    return { model: trainer.model, plan, steps, evals, files, counters: await trainer.counters() };
  });
  await trainer?.dispose();
  return result;
}

/** The value of an outcome; an error of the page becomes one here. */
export function valueOf({ value, error }) {
  if (error) throw new Error(`error[${error.code}]: ${error.message}`);
  return value;
}

/** Waits until `is_so`, which runs in the page and may be asynchronous, says so: `waitForFunction` takes a promise for a yes. */
export function eventually(page, is_so, given) {
  const wait = async (isSo, given) => {
    for (const until = performance.now() + 120_000; !(await isSo(given)); ) {
      if (performance.now() > until) throw new Error(`not after two minutes: ${isSo}`);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  };
  return page.evaluate(`(${wait})(${is_so}, ${JSON.stringify(given)})`);
}

export function bytesOf(base64) {
  return new Uint8Array(Buffer.from(base64, "base64"));
}

export function jsonl(rows) {
  return new TextEncoder().encode(rows.map((row) => `${typeof row === "string" ? row : JSON.stringify(row)}\n`).join(""));
}

export function mean(values) {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}
