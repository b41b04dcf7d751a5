// The library of the page, as a person would use it: what is kept is found, renamed, freed, and taken to another browser in one file.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { strFromU8, unzipSync, zipSync } from "fflate";
import { seriousIn } from "./axe.mjs";
import { eventually } from "./support.mjs";
import { openVisit, PATIENCE_MILLIS, visitorOf } from "./visitor.mjs";

const ROWS = "question,answer\nWann haben Sie offen?,Von neun bis fünf.\nWas kostet ein neuer Schlauch?,Zwölf Euro.\n";
const MODEL = "somebody/a-model";
const MODEL_BYTES = 3 << 20;
/** Text that would do something if it were taken for HTML. */
const HOSTILE = `<img src=x onerror="globalThis.was_run=true">`;

/** Rows of all shapes that are kept otherwise than they were written. */
const SHAPES = [
  { question: "Wann?", answer: "Um neun.", system: "Sei kurz.", history: [["Hallo", "Guten Tag"], ["Offen?", "Ja."]] },
  { instruction: "Übersetze", input: "cat", output: "Katze" },
  { prompt: "bare", completion: " text" },
  { question: "x", answer: "y", label: false },
  { prompt: [{ role: "user", content: "p" }], completion: [{ role: "assistant", content: "c" }] },
  { conversations: [{ from: "human", value: "a" }, { from: "gpt", value: "b" }] },
  { prompt: "p", chosen: "a", rejected: "b" },
  { prompt: [{ role: "user", content: "q" }], chosen: [{ role: "assistant", content: "a" }], rejected: [{ role: "assistant", content: "b" }] },
  { text: "Zwei\nZeilen \u2028 und <b>mehr</b>" },
];

/** Runs in the runner page: keeps rows under a name. */
async function keepRows([name, rows]) {
  const { Dataset } = globalThis.runner.tabtune;
  await (await Dataset.open(name)).import(rows);
}

/** Runs in the page: puts a downloaded model where the package keeps them. */
async function downloadModel([name, bytes]) {
  const cache = await caches.open("tabtune-models");
  const content = new Uint8Array(bytes);
  const version = Array.from(new Uint8Array(await crypto.subtle.digest("SHA-256", content)), (byte) => byte.toString(16).padStart(2, "0")).join("");
  const id = { folder: `https://huggingface.co/${name}`, file: "model.safetensors", version };
  const key = (kind, fields) => `https://tabtune.invalid/${kind}?${new URLSearchParams(fields)}`;
  await cache.put(key("list", { folder: id.folder, revision: "main" }), Response.json({ sha: "0", files: { [id.file]: { size: bytes, version, sha256: version } } }));
  await cache.put(key("file", id), Response.json({ ...id, size: bytes, part_bytes: bytes, state: "whole" }));
  await cache.put(key("part", { ...id, bytes: String(bytes), index: "0" }), new Response(content));
}

/** Runs in the page: what was learnt gets its files, and never the record that says so. */
function stopBetween() {
  const { put } = IDBObjectStore.prototype;
  const { digest } = SubtleCrypto.prototype;
  IDBObjectStore.prototype.put = function (...given) {
    if (this.transaction.db.name === "tabtune-adapters") globalThis.is_in_the_middle = true;
    return put.apply(this, given);
  };
  SubtleCrypto.prototype.digest = function (...given) {
    return globalThis.is_in_the_middle ? new Promise(() => undefined) : digest.apply(this, given);
  };
}

/** Runs in the page: the names of runs whose files are kept. */
function filesKept() {
  return new Promise((resolve) => {
    const opening = indexedDB.open("tabtune-adapters");
    opening.onsuccess = () => {
      const reading = opening.result.transaction("files").objectStore("files").getAllKeys();
      reading.onsuccess = () => resolve(reading.result);
    };
  });
}

/** What a person does in the library, beside what any visitor does. */
function useLibrary(visitor, page, origin) {
  const open = async () => {
    await page.goto(`${origin}/#library`);
    await page.locator("#library-list").waitFor({ state: "attached" });
    await idle();
  };
  const idle = () => page.waitForFunction(() => !document.querySelector("#bring-open").disabled);
  /** What is shown to be taken, by its parts. */
  const shownBytes = () => page.evaluate(() => Object.fromEntries([...document.querySelectorAll(".shares li")].map((part) => [part.dataset.part, part.querySelector(".figure").textContent])));
  const names = () => page.locator("#library-list > li .item-name").allInnerTexts();
  const findings = (...schemes) => seriousIn(page, { schemes });
  return { ...visitor, page, open, idle, shownBytes, names, findings };
}

test("the library of the page", async (t) => {
  const { page, server, ...visitor } = await openVisit(t);
  const here = useLibrary(visitor, page, server.origin);
  const { button, entry, status, idle, shownBytes, names, findings, answers } = here;
  await page.setViewportSize({ width: 1280, height: 900 });
  let exported;

  await t.test("is empty with words on what to do", async () => {
    await here.open();
    await page.getByText("Nothing is kept yet.").waitFor();
    await button("Chats 0").click();
    await page.getByText("No chats are kept yet.").waitFor();
    await button("All 0").click();
    assert.equal(await page.locator(".shares li").count() <= 1, true, "nothing of the person's takes room");
    await button("Free some room…").click();
    await page.getByText("Nothing here can go without a loss.").waitFor();
    await page.keyboard.press("Escape");
  });

  await t.test("has what was learnt, with what came from what", async () => {
    await page.goto(`${server.origin}/#data`);
    await page.locator('label:has([name="data"][value="file"])').click();
    await page.locator("#rows").setInputFiles({ name: "fragen.csv", mimeType: "text/csv", buffer: Buffer.from(ROWS) });
    await page.locator("#own").waitFor();
    await page.evaluate(() => (document.querySelector('[name="max_steps"]').value = "4"));
    await page.evaluate(downloadModel, [MODEL, MODEL_BYTES]);
    await page.goto(`${server.origin}/#train`);
    await page.locator("#start:enabled").click();
    await status(/^Done: 4 steps/);
    await idle();
    await page.goto(`${server.origin}/#library`);
    await entry("run", "fragen.csv").filter({ hasText: "2 rows · 4 steps" }).filter({ hasText: "open" }).waitFor();
    await entry("model", MODEL).filter({ hasText: "3.1 MB" }).waitFor();

    await button("Put on the shelf fragen.csv").click();
    await entry("adapter", "fragen.csv").waitFor();
    await button("Put on the shelf fragen.csv").waitFor({ state: "detached" });
    assert.ok(await button("Keep what is open").isHidden(), "it is on the shelf already");
    await page.locator("#shelf-count").filter({ hasText: "1 adapter on the shelf." }).waitFor();
    await button("Show in the list").click();
    assert.deepEqual(await names(), ["fragen.csv"]);
    await button("All 4").click();
    await entry("run", "fragen.csv").getByRole("link").first().click();
    await page.waitForFunction(() => document.activeElement?.dataset.kind === "dataset");
    assert.match(page.url(), /#library\/dataset%2Ffragen\.csv$/);
    await entry("dataset", "fragen.csv").getByRole("link", { name: "fragen.csv" }).click();
    await page.waitForFunction(() => document.activeElement?.dataset.kind === "run");
    await page.goBack();
    await page.waitForFunction(() => document.activeElement?.dataset.kind === "dataset");
    await entry("adapter", "fragen.csv").filter({ hasText: "What was learnt by fragen.csv, made for the bundled model" }).waitFor();
  });

  await t.test("is renamed in place, searched and sorted", async () => {
    await entry("run", "fragen.csv").getByRole("button", { name: "Rename fragen.csv" }).click();
    await page.getByRole("textbox", { name: "Name of fragen.csv" }).fill(HOSTILE);
    await page.keyboard.press("Enter");
    await entry("run", HOSTILE).waitFor();
    await page.waitForFunction((name) => document.activeElement?.getAttribute("aria-label") === `Rename ${name}`, HOSTILE);
    await page.getByLabel("Search", { exact: true }).fill("zwölf");
    await page.getByText("Nothing that is kept has these words.").waitFor();
    await page.getByLabel("Search", { exact: true }).fill("FRAGEN steps");
    await page.waitForFunction(() => document.querySelectorAll("#library-list > li").length === 1);
    assert.deepEqual(await names(), [HOSTILE]);
    await page.getByLabel("Search", { exact: true }).fill("");
    await page.getByLabel("Sort by").selectOption("name");
    assert.deepEqual(await names(), [HOSTILE, "fragen.csv", "fragen.csv", MODEL]);
    await page.getByLabel("Sort by").selectOption("size");
    assert.equal((await names())[0], MODEL);
    await button("Adapters 1").click();
    assert.deepEqual(await names(), ["fragen.csv"]);
    await button("All 4").click();
    assert.equal(await page.evaluate(() => globalThis.was_run), undefined);
    // Also after the page was closed and opened.
    await here.open();
    await entry("run", HOSTILE).waitFor();
    assert.deepEqual(await findings("light", "dark"), []);
  });

  await t.test("gives rows another name, and all that was known by the old one follows", async () => {
    const rename = async (from, to) => {
      await entry("dataset", from).getByRole("button", { name: `Rename ${from}` }).click();
      await page.getByRole("textbox", { name: `Name of ${from}` }).fill(to);
      await page.keyboard.press("Enter");
    };
    const chosen = () => page.locator("#kept input:checked").getAttribute("value");
    await button("Train on fragen.csv").click();
    await page.waitForFunction(() => location.hash === "#train");
    assert.equal(await chosen(), "fragen.csv");
    await page.goto(`${server.origin}/#library`);
    await rename("fragen.csv", "Bundled FAQ");
    await page.getByText("“Bundled FAQ” is what the rows are called that come with the page.").waitFor();
    await rename("fragen.csv", "Fragen");
    await entry("run", HOSTILE).filter({ hasText: "Learnt from Fragen" }).waitFor();
    await page.waitForFunction(() => document.activeElement?.dataset.key === "dataset/Fragen");
    assert.equal(await chosen(), "Fragen");
    await idle();

    // The page goes away after the rows have the name and before the run knows it.
    await page.evaluate(() => localStorage.setItem("tabtune:renaming", JSON.stringify({ version: 1, from: "Fragen", to: "fragen.csv" })));
    const tab = await page.context().newPage();
    await tab.goto(`${server.origin}/runner/`);
    await tab.waitForFunction(() => "runner" in globalThis);
    await tab.evaluate(async () => (await globalThis.runner.tabtune.Dataset.open("Fragen")).rename("fragen.csv"));
    await tab.close();
    await page.reload();
    await entry("run", HOSTILE).filter({ hasText: "Learnt from fragen.csv" }).waitFor();
    await idle();
  });

  await t.test("frees what can be had again, and then takes that much less", async () => {
    const usage = () => page.evaluate(async () => (await navigator.storage.estimate()).usage);
    const [before, taken] = [await usage(), await shownBytes()];
    assert.equal(taken.model, "3.1 MB");
    await button("Free some room…").click();
    const suggested = page.getByRole("list", { name: "What could go" });
    assert.ok(await button("Choose what may go").isDisabled(), "what has to be downloaded again is not chosen unasked");
    await suggested.getByLabel(/it is downloaded again when it is needed/).check();
    await button("Delete 1 thing, 3.1 MB").click();
    await entry("model", MODEL).waitFor({ state: "detached" });
    assert.match(answers.asked.at(-1), new RegExp(`Delete “${MODEL}” from this browser\\? That frees 3\\.1 MB\\.`));
    const left = await shownBytes();
    assert.equal(left.model, undefined);
    assert.deepEqual([left.run, left.adapter, left.dataset], [taken.run, taken.adapter, taken.dataset]);
    await eventually(page, async (most) => (await navigator.storage.estimate()).usage <= most, before - MODEL_BYTES);
    await idle();
  });

  await t.test("goes into one file, which other programs read", async () => {
    const tab = await page.context().newPage();
    await tab.goto(`${server.origin}/runner/`);
    await tab.waitForFunction(() => "runner" in globalThis);
    await tab.evaluate(keepRows, ["shapes", SHAPES]);
    await tab.evaluate(downloadModel, [MODEL, MODEL_BYTES]);
    await tab.close();
    // What another tab has brought is there once the place is entered.
    await page.goto(`${server.origin}/#data`);
    await page.goto(`${server.origin}/#library`);
    await entry("dataset", "shapes").filter({ hasText: `${SHAPES.length} rows` }).waitFor();
    await page.evaluate(() => delete globalThis.showSaveFilePicker);
    await button("Export to one file…").click();
    const chosen = page.getByRole("list", { name: "What is exported" });
    await chosen.getByLabel(`${MODEL} Model 3.1 MB`).uncheck();
    const megabytes = async (things) => Number(/, (.+) MB$/.exec(await page.locator("#take-begin").filter({ hasText: `Export ${things} things` }).textContent())[1]);
    const without = await megabytes(4);
    await chosen.getByLabel(`${MODEL} Model 3.1 MB`).check();
    assert.ok(Math.abs((await megabytes(5)) - without - MODEL_BYTES / 1e6) < 0.2);
    assert.deepEqual(await findings("light"), []);
    const [file] = await Promise.all([page.waitForEvent("download"), page.locator("#take-begin").click()]);
    assert.match(file.suggestedFilename(), /^tabtune-\d{4}-\d\d-\d\d\.tabtune$/);
    exported = readFileSync(await file.path());
    await page.getByText("5 things exported. The file is among your downloads.").waitFor();
    const files = unzipSync(new Uint8Array(exported));
    const { items } = JSON.parse(strFromU8(files["manifest.json"]));
    assert.deepEqual(items.map(({ kind, name }) => [kind, name]).sort(), [["adapter", "fragen.csv"], ["dataset", "fragen.csv"], ["dataset", "shapes"], ["model", MODEL], ["run", HOSTILE]]);
    await button("Close").click();
    assert.deepEqual(here.complaints, []);
  });

  await t.test("comes out of it in another browser, on a phone", async () => {
    // What a context keeps no other one sees.
    const tab = await page.context().browser().newPage();
    tab.setDefaultTimeout(PATIENCE_MILLIS);
    const there = useLibrary(visitorOf(tab), tab, server.origin);
    await there.page.setViewportSize({ width: 390, height: 844 });
    await there.open();
    const bring = (buffer) => there.page.locator("#bring-file").setInputFiles({ name: "library.tabtune", mimeType: "", buffer });
    await bring(Buffer.from("no archive"));
    await there.page.getByText("That is no library file").waitFor();
    const files = unzipSync(new Uint8Array(exported));
    await bring(Buffer.from(zipSync({ ...files, "manifest.json": Buffer.from(strFromU8(files["manifest.json"]).replace('"version": 2', '"version": 3')) })));
    await there.page.getByText("made by a later version of this page").waitFor();

    // The page goes away in the middle.
    await bring(exported);
    await there.page.getByRole("dialog", { name: "Import a file" }).getByText(HOSTILE).waitFor();
    assert.deepEqual(await there.findings("dark"), []);
    await there.page.evaluate(stopBetween);
    await there.page.locator("#bring-begin").click();
    await there.page.waitForFunction(() => globalThis.is_in_the_middle);
    await there.page.reload();
    await there.page.locator("#library-list").waitFor({ state: "attached" });
    await there.idle();
    assert.equal(await there.entry("run", HOSTILE).count(), 0, "it is not there in part");
    assert.deepEqual(await there.page.evaluate(filesKept), [], "and takes no room");
    for (const name of ["fragen.csv", "shapes"]) await there.entry("dataset", name).waitFor();

    await bring(exported);
    const dialog = there.page.getByRole("dialog", { name: "Import a file" });
    await dialog.getByText("Is here already.").first().waitFor();
    await there.page.locator("#bring-begin").click();
    await there.entry("run", HOSTILE).waitFor();
    await there.idle();
    for (const kind of ["adapter", "dataset"]) assert.equal(await there.entry(kind, "fragen.csv").count(), 1, `one ${kind}, not two`);
    await there.entry("run", HOSTILE).filter({ hasText: "Learnt from fragen.csv" }).waitFor();
    await there.entry("model", MODEL).filter({ hasText: "3.1 MB" }).filter({ hasText: "downloaded" }).waitFor();

    await there.entry("run", HOSTILE).getByRole("button", { name: `More for ${HOSTILE}` }).click();
    await there.entry("run", HOSTILE).getByRole("button", { name: `Download ${HOSTILE}` }).waitFor();
    await there.entry("run", HOSTILE).getByRole("button", { name: `Less for ${HOSTILE}` }).click();
    assert.ok((await there.tooWide()) <= 0, `the page is ${await there.tooWide()} px too wide`);
    assert.deepEqual(await there.findings("light"), []);
    assert.equal(await there.page.evaluate(() => globalThis.was_run), undefined);

    // All of it goes again.
    await there.page.goto(`${server.origin}/#library`);
    for (const [kind, name] of [["run", HOSTILE], ["adapter", "fragen.csv"], ["dataset", "fragen.csv"], ["dataset", "shapes"], ["model", MODEL]]) {
      await there.entry(kind, name).getByRole("button", { name: `More for ${name}` }).click();
      await there.entry(kind, name).getByRole("button", { name: `Delete ${name}` }).click();
      await there.entry(kind, name).waitFor({ state: "detached" });
      await there.idle();
    }
    await there.page.getByText("Nothing is kept yet.").waitFor();
    assert.deepEqual(there.complaints, []);
  });
});
