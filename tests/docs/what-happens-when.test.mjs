// Every row of the table in docs/guides/what-happens-when.md is walked through: what it says happens is made to
// happen to a run of the bundled model, and the run has to say what the row's third column has in backticks.
// The machine's signals are played. So are lost devices and crashes, by a worker that says so and a page that is
// closed; tests/browser/survival.test.mjs kills the processes themselves, that of the GPU among them.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { paths } from "../../tools/lib/paths.mjs";
import { serve } from "../../tools/lib/server.mjs";
import { openLab } from "../browser/support.mjs";
import { playSignals } from "./played-signals.mjs";

/** The rows as { happens, told }, where `told` is what the third column has in backticks. */
function rowsOfTable() {
  const lines = readFileSync(join(paths.root, "docs/guides/what-happens-when.md"), "utf8").split("\n").filter((line) => line.startsWith("| "));
  return lines.slice(2).map((line) => {
    const [, happens, , seen] = line.split("|").map((cell) => cell.trim());
    return { happens, told: [...seen.matchAll(/`([^`]+)`/g)].map(([, word]) => word) };
  });
}

/** Runs in the page: loads the model, and the rows if they are not there, and has a run compile its shaders unless told otherwise. */
async function load({ r = 8, device = "cpu", compiles = true }) {
  const { tabtune } = globalThis.runner;
  globalThis.told = [];
  const dataset = await tabtune.Dataset.open("rows");
  const rows = Array.from({ length: 8 }, (_, row) => ({ prompt: `What is ${row}?`, completion: ` A number, ${row}.` }));
  if ((await dataset.info()).rows === 0) await dataset.import(rows);
  globalThis.dataset = dataset;
  globalThis.trainer = await tabtune.Trainer.load("/bundled/", { device, lora: { r, target_modules: "all-linear" } });
  if (!compiles) return;
  // None of what is waited for takes that long then.
  await globalThis.trainer.prepare(dataset, { max_steps: 1, per_device_train_batch_size: 1, run_name: null });
}

/** Runs in the page: begins a run. What it tells is added to `told`: types, reasons and at last a code. */
function begin({ rows = "rows", ...options }) {
  const { tabtune, outcome } = globalThis.runner;
  const told = (globalThis.told = []);
  const controller = (globalThis.controller = new AbortController());
  globalThis.steps = 0;
  const on_event = ({ type, reason }) => told.push(type, ...(reason ? [reason] : []));
  const defaults = {
    max_steps: 100_000,
    per_device_train_batch_size: 1,
    save_seconds: null,
    // Only what is played makes it rest.
    policy: { max_slowdown: 50, rest_seconds: 0.2 },
  };
  const run = async () => {
    const dataset = await tabtune.Dataset.open(rows);
    const wanted = { ...defaults, ...options, on_event, signal: controller.signal };
    for await (const _ of globalThis.trainer.train(dataset, wanted)) globalThis.steps += 1;
  };
  globalThis.ended = outcome(run).then(({ error }) => error && told.push(error.code));
}

test("what the guide tells happens", async (t) => {
  const lab = await openLab(t, { isolated: true });
  await lab.page.context().addInitScript(playSignals);
  await lab.page.close();
  const open = async (origin = lab.server.origin) => {
    const page = await lab.browser.newPage();
    // Where the processor plays the GPU, another engine compiles for a while.
    page.setDefaultTimeout(300_000);
    await page.goto(`${origin}/runner/`);
    await page.waitForFunction(() => "runner" in globalThis);
    return page;
  };
  let page = await open();
  await page.evaluate(load, {});

  const told = (on = page) => on.evaluate(() => globalThis.told);
  const start = (options, on = page) => on.evaluate(begin, options);
  /** Waits until the run has told these. */
  const saw = (words, on = page) =>
    on.waitForFunction((words) => words.every((word) => globalThis.told.includes(word)), words).catch(async () => {
      throw new Error(`${words.join(" and ")} did not happen, but ${(await told(on)).join(", ")}`);
    });
  const steps = (count) => page.waitForFunction((count) => globalThis.steps >= count, count);
  const ended = (on = page) => on.evaluate(() => globalThis.ended);
  /** Stops the run and gives all that it told. */
  const stop = async (on = page) => {
    await on.evaluate(() => globalThis.controller.abort());
    await ended(on);
    return told(on);
  };
  /** A run that rests when `cause` is played, and goes on when `end` is. */
  const rests = async (cause, end, policy = {}) => {
    await start({ policy: { max_slowdown: 50, max_pressure: "serious", rest_seconds: 0.2, ...policy } });
    await steps(6);
    await page.evaluate(cause);
    await saw(["resting"]);
    await page.evaluate(end);
    await saw(["rested"]);
    return stop();
  };
  /** A run that is saved, whose page then goes, and that is taken up again in the page after it. */
  const goesOn = async (run_name, leave) => {
    await start({ run_name, save_steps: 1 });
    await saw(["checkpoint"]);
    page = (await leave()) ?? page;
    await page.evaluate(load, {});
    await start({ run_name, resume_from_checkpoint: true });
    await saw(["resumed"]);
    return stop();
  };

  const WALKS = {
    "The tab is closed or reloaded": () =>
      goesOn("reloaded", async () => {
        await page.reload();
        await page.waitForFunction(() => "runner" in globalThis);
      }),

    "The browser or the machine crashes": () =>
      goesOn("crashed", async () => {
        await page.close();
        return open();
      }),

    "The tab is hidden": async () => {
      await start({});
      await steps(1);
      await page.evaluate(() => globalThis.played.hide(true));
      await saw(["hidden", "checkpoint"]);
      await page.evaluate(() => globalThis.played.hide(false));
      await saw(["visible"]);
      return stop();
    },

    "The GPU device is lost, or a worker that computes on the processor": async () => {
      await start({ save_steps: 1 });
      await steps(2);
      await page.evaluate(() => (globalThis.played.losses = 1));
      await saw(["device-lost", "recovered"]);
      return stop();
    },

    "The worker is ended, or hangs": async () => {
      await start({ save_steps: 1 });
      await steps(2);
      await page.evaluate(() => globalThis.played.workers.at(-1).terminate());
      await saw(["unresponsive", "ended", "recovered"]);
      const ended_by_itself = await stop();
      await start({ save_steps: 1, resume_from_checkpoint: true });
      await steps(1);
      await page.evaluate(() => globalThis.played.hang());
      assert.equal((await stop()).at(-1), "cancelled", "a worker that hangs does not keep its page");
      return ended_by_itself;
    },

    "Memory does not suffice": async () => {
      await page.evaluate(async () => {
        const dataset = await globalThis.runner.tabtune.Dataset.open("long");
        await dataset.import(Array.from({ length: 1000 }, () => ({ text: "word ".repeat(500) })));
      });
      // The processor has room for these rows, and would compute them for minutes.
      await page.evaluate(() => globalThis.trainer.dispose());
      await page.evaluate(load, { device: "webgpu", compiles: false });
      await start({ rows: "long", per_device_train_batch_size: 1000 });
      await ended();
      const all = await told();
      await page.evaluate(() => globalThis.trainer.dispose());
      await page.evaluate(load, {});
      return all;
    },

    "The disk is full while saving": async () => {
      // A site of its own, because the browser remembers for a while how much room there was.
      const site = await serve(lab.mounts);
      t.after(() => site.close());
      const other = await open(site.origin);
      const session = await other.context().newCDPSession(other);
      await session.send("Storage.overrideQuotaForOrigin", { origin: site.origin, quotaSize: 6_000_000 });
      await other.evaluate(load, { r: 64 });
      await start({ save_steps: 1, save_total_limit: 100 }, other);
      await saw(["checkpoint-failed"], other);
      await other.waitForFunction((before) => globalThis.steps > before, await other.evaluate(() => globalThis.steps));
      const all = await stop(other);
      await other.close();
      return all;
    },

    "The browser clears the site's checkpoints": async () => {
      await start({ save_steps: 2 });
      await saw(["checkpoint"]);
      const clear = () =>
        page.evaluate(async () => {
          const request = indexedDB.open("tabtune");
          await new Promise((resolve) => (request.onsuccess = resolve));
          const records = request.result.transaction("records", "readwrite").objectStore("records");
          for (const table of ["runs", "checkpoints"]) records.delete(IDBKeyRange.bound([table], [table, []]));
          await new Promise((resolve) => (records.transaction.oncomplete = resolve));
          request.result.close();
        });
      // A checkpoint that is on its way writes its record once more, which a browser that clears the site does not let it do.
      for (let times = 0; times < 100 && !(await told()).includes("storage-cleared"); times++) {
        await clear();
        await sleep(1000);
      }
      await saw(["storage-cleared"]);
      // The worker may have noticed before the page heard that they are gone, so what came before is only now left out.
      const at = (await told()).indexOf("storage-cleared");
      await page.waitForFunction((at) => globalThis.told.includes("checkpoint", at), at);
      return (await stop()).slice(at);
    },

    "Another run is begun under the same name": async () => {
      await start({ save_steps: 1 });
      await saw(["checkpoint"]);
      await stop();
      await start({ learning_rate: 1e-3 });
      await ended();
      return told();
    },

    "A second tab opens the same run": async () => {
      await start({});
      const other = await open();
      await other.evaluate(load, {});
      await start({}, other);
      await ended(other);
      const refused = await told(other);
      await start({ if_running: "wait" }, other);
      await saw(["waiting"], other);
      const all = [...refused, ...(await stop(other))];
      await other.close();
      await stop();
      return all;
    },

    "The battery runs low or is unplugged": () =>
      rests(
        () => Object.assign(globalThis.played.battery, { charging: false, level: 0.1 }),
        () => (globalThis.played.battery.charging = true),
      ),

    "The connection is metered": async () => {
      const other = await open();
      const all = await other.evaluate(async () => {
        const { tabtune } = globalThis.runner;
        const told = [];
        globalThis.played.connect("cellular");
        await new Promise((resolve) => {
          const progress_callback = ({ status }) => {
            told.push("progress_callback", status);
            resolve();
          };
          tabtune.Trainer.load("somebody/a-model", { progress_callback }).catch(() => {});
        });
        return told;
      });
      await other.close();
      return all;
    },

    "The system is under pressure": () =>
      rests(
        () => globalThis.played.press("critical"),
        () => globalThis.played.press("nominal"),
      ),

    "The machine gets hot": () =>
      rests(
        () => (globalThis.played.hot = true),
        () => (globalThis.played.hot = false),
      ),

    "A loss is NaN": async () => {
      // The first step is one of warm-up, at a rate of zero: what it leaves is what the run goes back to.
      await start({ run_name: "astray", learning_rate: 1e30, warmup_steps: 1, save_steps: 1, lr_scheduler_type: "constant_with_warmup" });
      await ended();
      return told();
    },

    "The run is paused": async () => {
      await start({});
      await steps(1);
      await page.evaluate(() => globalThis.trainer.pause());
      await saw(["paused", "checkpoint"]);
      await page.evaluate(() => globalThis.trainer.resume());
      await saw(["continued"]);
      return stop();
    },

    "The run is stopped": async () => {
      await start({});
      await steps(1);
      return stop();
    },
  };

  const rows = rowsOfTable();
  assert.deepEqual(rows.map(({ happens }) => happens), Object.keys(WALKS), "each row has its walk");
  for (const { happens, told: promised } of rows) {
    await t.test(happens, async () => {
      assert.ok(promised.length > 0, "the row tells of no event and no code");
      const all = await WALKS[happens]();
      assert.deepEqual(promised.filter((word) => !all.includes(word)), [], `of what is promised, this was not told, but ${all.join(", ")}`);
    });
  }

  await t.test("a browser that clears all of the site's data closes the database, and new rows can be trained on", async () => {
    const site = await serve(lab.mounts);
    t.after(() => site.close());
    const other = await open(site.origin);
    const session = await other.context().newCDPSession(other);
    await other.evaluate(load, {});
    await start({ save_steps: 2 }, other);
    await saw(["checkpoint"], other);
    await session.send("Storage.clearDataForOrigin", { origin: site.origin, storageTypes: "indexeddb" });
    await ended(other);
    assert.equal((await told(other)).at(-1), "bad-state");
    await other.evaluate(() => globalThis.dataset.import([{ text: "A row." }, { text: "Another row." }]));
    // The run before may have saved once more after the clearing, and another one takes its place only if asked to.
    await start({ save_steps: 2, overwrite: true }, other);
    await saw(["checkpoint"], other);
    await stop(other);
    await other.close();
  });
});
