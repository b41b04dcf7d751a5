// The page as a person finds it without a network, and what happens when there is a new version of it. Chromium tells a service
// worker nothing of being offline here, so the server is closed as well.
import assert from "node:assert/strict";
import { cpSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { build } from "vite";
import { launch } from "../../tools/lib/chromium.mjs";
import { paths } from "../../tools/lib/paths.mjs";
import { serve } from "../../tools/lib/server.mjs";

/** A slow phone on a slow line: a quarter of the processor, and what Lighthouse calls "slow 4G". */
const SLOW = { latency: 150, downloadThroughput: (1.6 * 1024 * 1024) / 8, uploadThroughput: (750 * 1024) / 8, offline: false };
const SLOWER_PROCESSOR = 4;

/** Where Lighthouse calls a first paint slow, and a layout one that shifts. */
const FIRST_PAINT_MILLIS = 3000;
const LAYOUT_SHIFT = 0.1;

/** Runs in the page before its scripts. */
function watchShifts() {
  globalThis.shifts = [];
  const take = (list) => {
    for (const { value, hadRecentInput, sources } of list.getEntries()) {
      if (!hadRecentInput) globalThis.shifts.push({ value, of: sources.map(({ node }) => node?.id || node?.className || node?.nodeName) });
    }
  };
  new PerformanceObserver(take).observe({ type: "layout-shift", buffered: true });
}

/** Builds the page once more, from sources that differ in a line. */
async function buildNext(folder) {
  const changed = { name: "next", transform: (code, id) => (id.endsWith("studio/main.ts") ? `${code}\nglobalThis.edition = 2;` : null) };
  const root = join(paths.root, "www/studio");
  await build({ root, logLevel: "error", plugins: [changed], build: { outDir: folder, emptyOutDir: true } });
}

/** A site whose files are its own, so that another version can be put there; and a browser that keeps pages. */
async function openSite(t) {
  const folder = mkdtempSync(join(tmpdir(), "tabtune-site-"));
  cpSync(paths.dist, folder, { recursive: true });
  const browser = await launch({ gpu: "none", keeps_pages: true });
  const site = { folder, server: await serve({ "/": folder }, { isolated: true }), browser };
  site.origin = site.server.origin;
  site.reopen = async () => (site.server = await serve({ "/": folder }, { isolated: true, port: Number(new URL(site.origin).port) }));
  t.after(async () => {
    await browser.close();
    await site.server.close();
    rmSync(folder, { recursive: true, force: true });
  });
  return site;
}

const notice = (page, text) => page.locator(".page-notice").filter({ hasText: text });
const kept = (page) => page.evaluate(async () => (await caches.keys()).filter((name) => name.startsWith("tabtune-page")).length);

async function eventually(what, is_so) {
  for (const until = Date.now() + 120_000; !(await is_so()); ) {
    if (Date.now() > until) assert.fail(`not after two minutes: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

test("the page paints early and stays in its place, works without a network, and takes a new version when it is told to", async (t) => {
  const site = await openSite(t);
  const complaints = [];
  const open = async () => {
    const page = await site.browser.newPage();
    page.setDefaultTimeout(120_000);
    page.on("pageerror", (error) => complaints.push(error.message));
    // A page that learns asks before it goes.
    page.on("dialog", (dialog) => void dialog.accept());
    return page;
  };
  const page = await open();
  // Before there is a run, which takes all the processors that it gets.
  const next = mkdtempSync(join(tmpdir(), "tabtune-next-"));
  t.after(() => rmSync(next, { recursive: true, force: true }));
  await buildNext(next);

  await t.test("a page that does not come as a whole says so", async () => {
    const half = await open();
    await half.route("**/assets/main-*.js", (route) => route.abort());
    await half.goto(`${site.origin}/`);
    await half.getByRole("alert").filter({ hasText: "The page did not come as a whole" }).waitFor();
    await half.close();
    assert.equal(complaints.splice(0).length, 1);
  });

  await t.test("on a slow phone the first paint is there in time, and nothing shifts after it", async (t) => {
    /** A first visit. Resolves to the milliseconds until something is there. */
    const visit = async (page) => {
      await page.addInitScript(watchShifts);
      const session = await page.context().newCDPSession(page);
      await session.send("Network.enable");
      await session.send("Network.emulateNetworkConditions", SLOW);
      await session.send("Emulation.setCPUThrottlingRate", { rate: SLOWER_PROCESSOR });
      await page.goto(`${site.origin}/`);
      await notice(page, "Ready to use offline.").waitFor();
      const { first, shifts } = await page.evaluate(() => ({
        first: performance.getEntriesByName("first-contentful-paint")[0].startTime,
        shifts: globalThis.shifts,
      }));
      await session.detach();
      const shifted = shifts.reduce((sum, { value }) => sum + value, 0);
      t.diagnostic(`first paint after ${first.toFixed(0)} ms; shifts of ${shifted.toFixed(3)}: ${JSON.stringify(shifts)}`);
      assert.ok(shifted < LAYOUT_SHIFT, JSON.stringify(shifts));
      return first;
    };
    const paints = [await visit(page)];
    // What else the machine does makes it slower still, so that of three first visits the best one counts.
    while (paints.at(-1) >= FIRST_PAINT_MILLIS && paints.length < 3) {
      const browser = await launch({ gpu: "none", keeps_pages: true });
      const other = await browser.newPage();
      other.setDefaultTimeout(120_000);
      paints.push(await visit(other).finally(() => browser.close()));
    }
    assert.ok(paints.at(-1) < FIRST_PAINT_MILLIS, `${paints.join(", ")} ms`);
  });

  await t.test("it says once that it works offline, and offers to be installed where the browser would", async () => {
    await page.evaluate(() => {
      const offer = new Event("beforeinstallprompt", { cancelable: true });
      offer.prompt = async () => (globalThis.prompted = true);
      dispatchEvent(offer);
    });
    const install = (within) => within.getByRole("button", { name: "Install as an app" });
    await install(page.locator("#install")).waitFor();
    await install(notice(page, "Ready to use offline.")).click();
    await notice(page, "Ready to use offline.").waitFor({ state: "detached" });
    assert.equal(await page.evaluate(() => globalThis.prompted), true);
    await install(page.locator("#install")).waitFor({ state: "detached" });
    await page.reload();
    await page.waitForFunction(() => navigator.serviceWorker.controller !== null);
    await page.waitForTimeout(1500);
    assert.equal(await page.locator(".page-notice").count(), 0);
  });

  await t.test("without a network it opens, trains the bundled model and answers, isolated as before", async () => {
    await site.server.close();
    await page.context().setOffline(true);
    await page.reload();
    await page.locator(".offline-sign").filter({ hasText: "Offline" }).waitFor();
    assert.equal(await page.evaluate(() => crossOriginIsolated), true, "the page is isolated");
    await page.getByRole("link", { name: "Train", exact: true }).first().click();
    await page.getByText("Settings", { exact: true }).click();
    await page.getByLabel("Rows a step").fill("1");
    await page.getByLabel("Steps").fill("3");
    await page.getByRole("button", { name: "Start fine-tuning" }).click();
    await page.locator("#status").filter({ hasText: "Done: 3 steps." }).waitFor();
    await page.waitForFunction(() => document.querySelector("#answer-tuned").textContent !== "");
    const listed = readdirSync(site.folder, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
    const addresses = listed.map(({ parentPath, name }) => join(parentPath, name).slice(site.folder.length + 1));
    const missing = await page.evaluate(async (addresses) => {
      // An answer that nobody reads would keep a new version waiting.
      const isThere = async (address) => {
        const response = await fetch(address).catch(() => undefined);
        return (await response?.blob()) !== undefined && response.ok;
      };
      const there = await Promise.all(addresses.map(isThere));
      return addresses.filter((_, at) => !there[at]);
    }, addresses);
    const pictures = addresses.filter((address) => address.endsWith(".webp"));
    assert.deepEqual(missing.sort(), ["federation.json", "service-worker.js", ...pictures].sort());
  });

  await t.test("without a network a model that is not here is told of at once", async () => {
    await page.getByRole("group", { name: "Model" }).getByText("Hub", { exact: true }).click();
    await page.getByRole("textbox", { name: "Model on Hugging Face" }).fill("somebody/a-model");
    await page.getByRole("button", { name: "Start fine-tuning" }).click();
    await page.locator("#error-hint").filter({ hasText: "You are offline, and somebody/a-model is not in this browser yet." }).waitFor();
    await page.getByRole("group", { name: "Model" }).getByText("Bundled", { exact: true }).click();
  });

  await t.test("without a network the guides can be read", async () => {
    const reader = await open();
    await reader.goto(`${site.origin}/`);
    await reader.getByRole("link", { name: "Guides" }).click();
    await reader.getByRole("link", { name: "With Vite" }).first().click();
    await reader.locator("article h1, article h2").first().waitFor();
    await reader.goto(`${site.origin}/guides/`);
    await reader.locator("article").waitFor();
    await reader.close();
    await page.bringToFront();
  });

  await t.test("what is there of a file answers heads and ranges as a server does", async () => {
    const told = await page.evaluate(async () => {
      const address = "models/tiny/config.json";
      const whole = await (await fetch(address)).text();
      const head = await fetch(address, { method: "HEAD" });
      const part = await fetch(address, { headers: { Range: "bytes=2-5" } });
      const length = Number(head.headers.get("content-length"));
      return { whole, length, status: part.status, range: part.headers.get("content-range"), part: await part.text() };
    });
    const { length } = told.whole;
    assert.deepEqual(told, { whole: told.whole, length, status: 206, range: `bytes 2-5/${length}`, part: told.whole.slice(2, 6) });
  });

  await site.reopen();
  await page.context().setOffline(false);
  await page.locator(".offline-sign").filter({ hasText: "Offline" }).waitFor({ state: "detached" });

  await t.test("a new version is told and not taken in the middle of a run, and the other tab keeps its own", async () => {
    const other = await open();
    await other.goto(`${site.origin}/`);
    await other.evaluate(() => (globalThis.stays = true));
    const script = readdirSync(join(site.folder, "assets")).find((name) => name.startsWith("main-") && name.endsWith(".js"));

    await page.bringToFront();
    await page.evaluate(() => (globalThis.stays = true));
    await page.getByLabel("Steps").fill("5000");
    await page.getByRole("button", { name: "Start fine-tuning" }).click();
    await page.locator("#status").filter({ hasText: /^Step [3-9]/ }).waitFor();
    rmSync(site.folder, { recursive: true });
    cpSync(next, site.folder, { recursive: true });
    assert.ok(!readdirSync(join(site.folder, "assets")).includes(script), "the new version has none of the old files that changed");
    await page.evaluate(async () => (await navigator.serviceWorker.getRegistration()).update());
    await notice(page, "A new version is here. You can change to it when the work is done.").waitFor();
    assert.equal(await page.locator(".page-notice button").count(), 0);
    const step = async () => Number(/\d+/.exec(await page.locator("#status").textContent())[0]);
    const before = await step();
    await eventually("the run goes on", async () => (await step()) > before);
    assert.equal(await page.evaluate(() => globalThis.stays), true);

    await page.locator("#stop").click();
    await notice(page, "Reload to use it.").getByRole("button", { name: "Reload" }).click();
    await page.waitForFunction(() => globalThis.edition === 2);

    await other.bringToFront();
    await notice(other, "A new version is here. Reload to use it.").waitFor();
    const old = await other.evaluate(async (script) => {
      const { ok, status } = await fetch(`assets/${script}`);
      return { ok, status, stays: globalThis.stays, edition: globalThis.edition };
    }, script);
    assert.deepEqual(old, { ok: true, status: 200, stays: true, edition: undefined });
    assert.equal(await kept(other), 2);
    await other.getByRole("button", { name: "Reload" }).click();
    await other.waitForFunction(() => globalThis.edition === 2);
    await page.reload();
    await eventually("the old version is gone with its last page", async () => (await kept(page)) === 1);
  });

  assert.deepEqual(complaints, []);
});
