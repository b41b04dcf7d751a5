// The CPU engine's machine in WebKitGTK, which shares no memory, isolated or not.
import assert from "node:assert/strict";
import { test } from "node:test";
import { launch } from "../../tools/lib/webkit.mjs";
import { JOB, runKernels, servePage } from "../browser/machine.mjs";

test("kernels compute in WebKitGTK, isolated or not", async (t) => {
  const browser = await launch();
  t.after(() => browser.close());
  for (const isolated of [true, false]) {
    const server = await servePage(isolated);
    t.after(() => server.close());
    await browser.goto(`${server.origin}/index.html`);
    const { told } = await browser.evaluate(runKernels, { kernels: JOB, workers: [null] });
    assert.deepEqual(told.map(({ workers, flavour, lost }) => [workers, flavour, lost]), [[1, "simd128", "device-lost"]]);
    assert.ok(told[0].turns >= 3, `others had ${told[0].turns} turns`);
  }
});
