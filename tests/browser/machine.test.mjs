// The CPU engine's machine in Chromium: with workers where the page is isolated, alone where it is not.
import assert from "node:assert/strict";
import { test } from "node:test";
import { launch } from "../../tools/lib/chromium.mjs";
import { JOB, runKernels, servePage } from "./machine.mjs";

test("kernels compute the same with any number of workers, and without", async (t) => {
  const browser = await launch({ gpu: "none" });
  t.after(() => browser.close());
  const sums = [];
  for (const isolated of [true, false]) {
    const server = await servePage(isolated);
    t.after(() => server.close());
    const page = await browser.newPage();
    await page.goto(`${server.origin}/index.html`);
    const found = await page.evaluate(runKernels, { kernels: JOB, workers: isolated ? [1, 2, 3, undefined] : [undefined] });
    assert.equal(found.isolated, isolated);
    const { cores } = found;
    const spare = cores > 2 ? cores - 1 : cores;
    assert.deepEqual(found.told.map(({ workers }) => workers), isolated ? [1, 2, 3, spare] : [1]);
    for (const { workers, flavour, bits, call_micros, turns, lost } of found.told) {
      sums.push(bits);
      t.diagnostic(`${isolated ? workers : "no"} workers, ${flavour}: ${call_micros.toFixed(2)} µs for a call, ${turns} turns of others`);
      assert.ok(turns >= 3, `others had ${turns} turns`);
      assert.equal(lost, "device-lost");
    }
  }
  assert.equal(new Set(sums).size, 1, `they differ: ${sums}`);
});
