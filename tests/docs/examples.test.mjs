// Each example is built as its package.json says and used as a person would, in one Chromium without a GPU, where the
// processor trains the bundled model.
import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { launch } from "../../tools/lib/chromium.mjs";
import { paths } from "../../tools/lib/paths.mjs";
import { serve } from "../../tools/lib/server.mjs";
import { folderFor, shell, startServer } from "./stage.mjs";

const EXAMPLES = join(paths.root, "examples");
const MODEL = "/bundled/";
const NO_MODEL = "/no/such/model/";
/** What the rows of all examples teach. */
const TAUGHT = "We open at nine, every day but Monday.";

let browser;
before(async () => (browser = await launch({ gpu: "none" })));
after(() => browser?.close());

/** The built example, with what its `build` script writes in a folder that goes away. */
async function built(t, name, environment = "") {
  const folder = join(folderFor(t), name);
  await shell(`${environment} npm run --silent build -- --logLevel warn --emptyOutDir --outDir "${folder}"`, join(EXAMPLES, name));
  return folder;
}

/** A page of `site`. Once the test is over, it must have told of nothing but the model that is not there. */
async function open(t, site) {
  const page = await browser.newPage();
  const told = [];
  page.setDefaultTimeout(300_000);
  page.on("pageerror", (error) => told.push(String(error)));
  page.on("console", (message) => message.type() === "error" && told.push(message.text()));
  // A machine that runs tests is under pressure, and runs would rest.
  await page.addInitScript(() => delete globalThis.PressureObserver);
  t.after(async () => {
    await page.close();
    await site.close();
    assert.deepEqual(told.filter((text) => !text.includes("404 (Not Found)")), []);
  });
  await page.goto(`${site.origin}/`);
  return page;
}

const textOf = (page, selector) => page.locator(selector).innerText();
const until = (page, selector, text) => page.locator(selector).filter({ hasText: text }).waitFor();

/** The step that the page tells, once it is `least` or more. */
async function stepFrom(page, least) {
  const handle = await page.waitForFunction((least) => {
    const step = Number(/step (\d+) of 60/i.exec(document.body.innerText)?.[1]);
    return step >= least && step;
  }, least);
  return handle.jsonValue();
}

/**
 * Presses a button as soon as the page tells step `least` or a later one, in the same turn of the page, so that the run cannot end in
 * between; gives all that the page told then.
 */
async function pressFrom(page, least, words) {
  const press = ({ least, words }) => {
    const told = document.body.innerText;
    const button = [...document.querySelectorAll("button:enabled")].find(({ textContent }) => textContent === words);
    if (!button || !(Number(/step (\d+) of 60/i.exec(told)?.[1]) >= least)) return undefined;
    button.click();
    return told;
  };
  const handle = await page.waitForFunction(press, { least, words });
  return handle.jsonValue();
}

const versionsOf = (file) => {
  const { version, dependencies, devDependencies } = JSON.parse(readFileSync(file, "utf8"));
  return { version, all: { ...dependencies, ...devDependencies } };
};

test("the examples name the versions that they are tested with", () => {
  const { all } = versionsOf(join(paths.root, "package.json"));
  const known = { ...all, tabtune: versionsOf(join(paths.root, "www/package/package.json")).version };
  for (const name of ["plain", "vite", "react"]) {
    for (const [dependency, version] of Object.entries(versionsOf(join(EXAMPLES, name, "package.json")).all)) {
      assert.equal(version, known[dependency], `${name}: ${dependency}`);
    }
  }
});

test("plain: a page without a build fine-tunes", async (t) => {
  const folders = { "/": join(EXAMPLES, "plain/"), "/tabtune/": paths.package, [MODEL]: paths.model };
  const page = await open(t, await startServer({ texts: { "/favicon.ico": "" }, folders }));

  await page.fill("#model", NO_MODEL);
  await page.click("text=Fine-tune");
  await until(page, "#error", "There is no model at this place");
  assert.match(await textOf(page, "#error"), /\(bad-model\)$/);

  await page.fill("#model", MODEL);
  await page.click("text=Fine-tune");
  assert.ok((await stepFrom(page, 1)) < 60);
  await until(page, "#status", "Done");
  assert.equal(await textOf(page, "#error"), "");
  assert.notEqual(await textOf(page, "#before"), TAUGHT);
  assert.equal(await textOf(page, "#after"), TAUGHT);
});

const appOf = (folder) => serve({ "/": folder, [MODEL]: paths.model, "/favicon.ico": new Uint8Array() });

test("vite: an app fine-tunes, stops and gives the adapter away", async (t) => {
  const page = await open(t, await appOf(await built(t, "vite")));

  await page.fill("#model", NO_MODEL);
  await page.click("#start");
  await until(page, "#error", "(bad-model)");
  assert.ok(await page.isDisabled("#stop"));

  await page.fill("#model", MODEL);
  await page.click("#start");
  assert.match(await pressFrom(page, 20, "Stop"), /loss \d+\.\d\d, \d+ s left$/m);
  await until(page, "#status", "Stopped");
  assert.ok((await stepFrom(page, 20)) < 60);
  const [first, second] = [await textOf(page, "#before"), await textOf(page, "#after")];
  assert.ok(first !== "" && second !== "" && first !== second, `"${first}" and "${second}"`);

  const [download] = await Promise.all([page.waitForEvent("download"), page.click("text=adapter_config.json")]);
  const config = JSON.parse(readFileSync(await download.path(), "utf8"));
  assert.equal(config.r, 16);
  assert.equal(await page.getAttribute("text=adapter_model.safetensors", "download"), "adapter_model.safetensors");
});

test("react: a hook loads once in StrictMode, trains, answers, and frees the model with its component", async (t) => {
  // React mounts twice in development alone.
  const page = await open(t, await appOf(await built(t, "react", "NODE_ENV=development")));

  await page.fill("#model", NO_MODEL);
  await page.click("text=Load");
  await until(page, "[role=alert]", "(bad-model)");
  await page.click("text=Another model");

  const engines = [];
  page.on("worker", (worker) => engines.push(worker));
  await page.fill("#model", MODEL);
  await page.click("text=Load");
  await until(page, "[role=status]", "Ready");
  assert.equal(engines.length, 1);

  await page.click("text=Teach it");
  assert.ok((await stepFrom(page, 1)) < 60);
  await until(page, "[role=status]", "Ready");
  await page.click("text=Ask");
  await until(page, "h2:text('After') + p", TAUGHT);
  await until(page, "[role=status]", "Ready");
  assert.notEqual(await textOf(page, "h2:text('Before') + p"), TAUGHT);

  await page.click("text=Teach it");
  await pressFrom(page, 1, "Stop");
  await until(page, "[role=status]", "Ready");
  assert.equal(await page.locator("[role=alert]").count(), 0);

  // The component goes in the middle of a run.
  await page.click("text=Teach it");
  const gone = engines[0].waitForEvent("close");
  await pressFrom(page, 1, "Another model");
  await page.waitForSelector("#model");
  await gone;
});
