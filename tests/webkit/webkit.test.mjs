// The engine and the page in WebKitGTK, the plainest browser: one worker without shared memory, no WebGPU, no file system.
import assert from "node:assert/strict";
import { test } from "node:test";
import { checkData, checkPage, checkSurvival } from "../browser/plain.mjs";
import { openLab } from "./support.mjs";

test("in WebKitGTK", async (t) => {
  const { page, mounts, server, openRunner } = await openLab(t);

  await t.test("datasets of every kind of source are imported, listed and deleted, and bad rows are found", () =>
    checkData(page, { has_folders: false }),
  );

  await t.test("a run that is killed goes on to the same adapter, to the bit", async () => {
    const reload = () => openRunner();
    const close = async () => {
      await page.closePage();
      await openRunner();
    };
    const { adapter } = await checkSurvival(() => page, mounts, [reload, close]);
    assert.deepEqual([adapter.backend, adapter.name, adapter.driver], ["cpu", "1 worker on the processor", "simd128"]);
  });

  await t.test("the page trains, draws the loss, answers, and knows what was learnt the next day", async (t) => {
    const { held_out, computes } = await checkPage(page, server.origin, { steps: 8 });
    t.diagnostic(`held-out loss ${held_out}; ${computes}`);
  });
});
