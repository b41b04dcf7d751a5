// A page of WebKitGTK that goes in the middle of reading and writing. A worker that ends with both on one connection leaves
// a database that answers nobody until the tab is closed (WebKit's bug 324094).
import assert from "node:assert/strict";
import { test } from "node:test";
import { openLab } from "./support.mjs";

/** Runs in the page: writes and reads until the page is gone. */
async function keepBusy() {
  const { Dataset } = globalThis.runner.tabtune;
  const rows = new Blob([JSON.stringify({ text: "x".repeat(300_000) })]);
  const ever = async (work) => {
    for (;;) await work();
  };
  for (const name of ["one", "other"]) {
    const dataset = await Dataset.open(name);
    const write = () => dataset.import(rows, { file_name: "x.jsonl" });
    await write();
    void ever(write);
    void ever(() => dataset.rows(0, 1));
    void ever(() => Dataset.list());
  }
}

/** Runs in the page: what is kept under which name, or nothing where the database does not answer. */
function kept() {
  const names = globalThis.runner.tabtune.Dataset.list().then((datasets) => datasets.map(({ name }) => name));
  return Promise.race([names, new Promise((resolve) => setTimeout(resolve, 10_000))]);
}

test("a page that goes while it reads and writes leaves what it kept to the next", async (t) => {
  const { page, openRunner } = await openLab(t);
  for (let visit = 1; visit <= 6; visit++) {
    await page.evaluate(keepBusy);
    await openRunner();
    assert.deepEqual(await page.evaluate(kept), ["one", "other"], `after visit ${visit}`);
  }
});
