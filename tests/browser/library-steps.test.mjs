// A run that is not over goes into the library's file, and goes on in another browser: two origins, whose storages know nothing of
// each other.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { strFromU8, unzipSync } from "fflate";
import { serve } from "../../tools/lib/server.mjs";
import { openVisit, PATIENCE_MILLIS, visitorOf } from "./visitor.mjs";

const ROWS = `question,answer\n${Array.from({ length: 20 }, (_, row) => `Question ${row}?,Answer ${row}.`).join("\n")}\n`;
/** More steps than are made here. */
const STEPS = 5000;

const openLibrary = async (page, origin) => {
  await page.goto(`${origin}/#library`);
  await page.locator("#library-list").waitFor({ state: "attached" });
  await page.waitForFunction(() => !document.querySelector("#bring-open").disabled);
};

test("saved steps in the library's file", async (t) => {
  const { page, server, mounts, button, entry, status, beyond, complaints } = await openVisit(t);
  const other = await serve(mounts, { isolated: true });
  t.after(() => other.close());
  let exported;
  let saved;

  await t.test("are those of a run whose page was closed", async () => {
    await page.goto(`${server.origin}/#data`);
    await page.locator('label:has([name="data"][value="file"])').click();
    await page.locator("#rows").setInputFiles({ name: "shop.csv", mimeType: "text/csv", buffer: Buffer.from(ROWS) });
    await page.locator("#own").waitFor();
    await page.evaluate((steps) => (document.querySelector('[name="max_steps"]').value = steps), String(STEPS));
    await page.goto(`${server.origin}/#train`);
    await page.locator("#start:enabled").click();
    await beyond(2);
    await button("Pause").click();
    await status(/^Paused after step \d+\. What was learnt is saved\.$/);
    await page.reload();

    await openLibrary(page, server.origin);
    const run = entry("run", "shop.csv");
    saved = Number(/\d+/.exec(await run.getByRole("button", { name: /^Go on from step/ }).innerText())[0]);
    assert.ok(saved >= 3 && (await run.getByRole("button", { name: /^Download/ }).count()) === 0, "it has nothing but its saved steps");
    await page.evaluate(() => delete globalThis.showSaveFilePicker);
    await button("Export to one file…").click();
    await page.getByText("Runs that are not over come with their last saved step").waitFor();
    const [file] = await Promise.all([page.waitForEvent("download"), page.locator("#take-begin").click()]);
    exported = readFileSync(await file.path());
    const { items, version } = JSON.parse(strFromU8(unzipSync(new Uint8Array(exported))["manifest.json"]));
    assert.deepEqual([version, items.map(({ kind, mark }) => [kind, mark]).sort().at(-1)], [2, ["steps", String(saved)]]);
    await page.getByText(/exported\. The file is among your downloads\./).waitFor();
  });

  await t.test("go on in another browser, with the rows that came along under another name", async () => {
    const tab = await page.context().newPage();
    tab.setDefaultTimeout(PATIENCE_MILLIS);
    const there = visitorOf(tab);
    await openLibrary(tab, other.origin);
    // Other rows have the name.
    const runner = await page.context().newPage();
    await runner.goto(`${other.origin}/runner/`);
    await runner.waitForFunction(() => "runner" in globalThis);
    await runner.evaluate(async () => (await globalThis.runner.tabtune.Dataset.open("shop.csv")).import([{ text: "others" }]));
    await runner.close();

    const bring = () => tab.locator("#bring-file").setInputFiles({ name: "library.tabtune", mimeType: "", buffer: exported });
    await bring();
    await tab.locator("#bring-begin").click();
    const run = there.entry("run", "shop.csv");
    await run.filter({ hasText: "Learnt from shop.csv (2)" }).waitFor();
    await there.idle();
    await bring();
    await tab.getByText("Is here already", { exact: false }).nth(1).waitFor();
    await tab.getByRole("dialog", { name: "Import a file" }).getByRole("button", { name: "Close" }).click();

    await run.getByRole("button", { name: `Go on from step ${saved} shop.csv` }).click();
    // A run that is taken up tells of the steps before first.
    await there.beyond(saved);
    await tab.locator("#events li").filter({ hasText: /Taken up again/ }).first().waitFor({ state: "attached" });
    await tab.goto(`${other.origin}/#train`);
    await tab.locator("#stop").click();
    await there.status(/^Stopped after \d+ steps\.$/);
    assert.ok(Number(/\d+/.exec(await tab.locator("#status").innerText())[0]) > saved);
    assert.deepEqual([complaints, there.complaints], [[], []]);
  });
});
