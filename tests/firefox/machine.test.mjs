// The CPU engine's machine in Firefox, with workers and without.
import assert from "node:assert/strict";
import { test } from "node:test";
import { launch } from "../../tools/lib/firefox.mjs";
import { JOB, runKernels, servePage } from "../browser/machine.mjs";

test("kernels compute the same in Firefox with any number of workers, and without", async (t) => {
  const browser = await launch();
  t.after(() => browser.close());
  const sums = [];
  for (const isolated of [true, false]) {
    const server = await servePage(isolated);
    t.after(() => server.close());
    const page = await browser.newPage();
    await page.goto(`${server.origin}/index.html`);
    const { told } = await page.evaluate(runKernels, { kernels: JOB, workers: isolated ? [1, 2] : [undefined] });
    for (const { bits, turns, lost } of told) {
      sums.push(bits);
      assert.ok(turns >= 3, `others had ${turns} turns`);
      assert.equal(lost, "device-lost");
    }
  }
  assert.equal(sums.length, 3);
  assert.equal(new Set(sums).size, 1, `they differ: ${sums}`);
});
