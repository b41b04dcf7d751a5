// A page of WebKitGTK that goes in the middle of reading and writing. What it leaves open of a database keeps all later pages
// from it until the tab is closed: a worker that ends with both on one connection (WebKit's bug 324094), and whatever a
// page has on its way that WebKit keeps for the way back.
import assert from "node:assert/strict";
import { test } from "node:test";
import { PageGone } from "../../tools/lib/webkit.mjs";
import { textOf } from "../browser/plain.mjs";
import { openLab } from "./support.mjs";

/** WebKit's process may end by itself while pages come and go so fast. What is to be shown of it is then shown by another browser. */
const BROWSERS = 3;

async function inBrowser(t, work) {
  for (let tries = 1; ; tries++) {
    const lab = await openLab(t);
    try {
      return await work(lab);
    } catch (error) {
      if (!(error instanceof PageGone) || tries === BROWSERS) throw error;
      t.diagnostic(`the process of WebKit's page has ended: ${error.message}`);
    }
  }
}

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
  return Promise.race([names, new Promise((resolve) => setTimeout(resolve, 60_000))]);
}

test("a page that goes while it reads and writes leaves what it kept to the next", (t) => inBrowser(t, readAndWrite));

async function readAndWrite({ page, openRunner }) {
  for (let visit = 1; visit <= 6; visit++) {
    await page.evaluate(keepBusy);
    await openRunner();
    assert.deepEqual(await page.evaluate(kept), ["one", "other"], `after visit ${visit}`);
  }
}

/** Runs in the page: whether it knows what is kept. */
async function knows() {
  for (const until = performance.now() + 60_000; performance.now() < until; ) {
    if (document.querySelector("#library-list")) return true;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  return false;
}

test("a page that goes while it learns leaves a library that can be read", (t) => inBrowser(t, learn));

async function learn({ page, server }) {
  const says = (selector, pattern) => page.evaluate(textOf, { selector, pattern, millis: 120_000 });
  const open = async (visit) => {
    await page.goto(`${server.origin}/?visit=${visit}#train`);
    await says("#estimate-sum", "memory");
  };
  await open(1);
  for (let visit = 2; visit <= 3; visit++) {
    await page.evaluate(() => document.querySelector("#start").click());
    await says("#status", "^Step [2-9]");
    await open(visit);
    assert.ok(await page.evaluate(knows), `at visit ${visit}`);
  }
}
