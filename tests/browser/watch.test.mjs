// The place Home and the watching half of the place Train, as a person uses them.
import assert from "node:assert/strict";
import { test } from "node:test";
import { seriousIn } from "./axe.mjs";
import { holdSteps, letGo } from "./holding.mjs";
import { bundledConfig } from "./support.mjs";
import { openVisit } from "./visitor.mjs";

/** From the click to an answer that was learnt, on this machine's processor. */
const SOON_MILLIS = 30_000;

const STEPS = 60;
/** Steps after which the questions are asked again. */
const ASKED = 6;

/** Runs in a page before its scripts: notifications that are only noted, and a tab that can be looked away from. */
function playPerson() {
  globalThis.shown = [];
  globalThis.Notification = class extends EventTarget {
    static permission = "default";
    static requestPermission = async () => (this.permission = "granted");
    constructor(name, { body }) {
      super();
      globalThis.shown.push(body);
    }
  };
  globalThis.is_away = false;
  Object.defineProperty(document, "hidden", { get: () => globalThis.is_away });
}

test("a person sees it learn, stops it, comes back to it and watches its curves", async (t) => {
  const { page, server, mounts, complaints, button, status, tooWide } = await openVisit(t);
  const config = bundledConfig({ max_steps: STEPS, save_steps: 5 });
  mounts["/data/faq.config.json"] = new TextEncoder().encode(JSON.stringify(config));
  await page.addInitScript(playPerson);
  await page.setViewportSize({ width: 1280, height: 900 });
  await page.goto(`${server.origin}/`);

  const live = page.locator("#live");
  /** What axe-core finds to be serious: at the desk by day, and on a phone at night. */
  const check = async (place) => {
    for (const [width, height, colorScheme] of [[1280, 900, "light"], [390, 844, "dark"]]) {
      await page.setViewportSize({ width, height });
      assert.deepEqual(await seriousIn(page, { within: `[data-place="${place}"]`, schemes: [colorScheme] }), [], `${place}, ${width} pixels`);
      const wide = await tooWide();
      assert.ok(wide <= 0, `${place} is ${wide} pixels wider than ${width}`);
    }
    await page.setViewportSize({ width: 1280, height: 900 });
  };

  await t.test("before the first press an example says what will be there", async () => {
    await live.getByText("This is what an earlier run came to.").waitFor();
    assert.equal(await live.locator(".live-asked").count(), 2);
    await page.setViewportSize({ width: 390, height: 844 });
    const places = await page.locator("#places").boundingBox();
    const answer = await live.locator(".live-asked").first().boundingBox();
    assert.ok(answer.y + answer.height < places.y, `the first answers end at ${answer.y + answer.height}, above the places at ${places.y}`);
    await live.getByText("Ask it something else").click();
    await live.getByLabel("What is QLoRA?").check();
    await live.getByText("I do not know what YLoRA is.").waitFor();
    assert.equal(await live.getByLabel("What is an adapter?").isDisabled(), true, "three are enough");
    await live.getByLabel("Where does my data go?").uncheck();
    await check("home");
  });

  await t.test("one button trains, and answers come before and now while it does", async () => {
    // What is there then stays until it was looked at.
    await holdSteps(page, ASKED);
    const begun = performance.now();
    await button("Train it now").click();
    await live.getByText(`Now, after step ${ASKED}`, { exact: true }).first().waitFor({ timeout: SOON_MILLIS });
    t.diagnostic(`${((performance.now() - begun) / 1000).toFixed(1)} s until the first answer that was learnt`);
    const [before, now] = await live.locator(".live-asked").first().locator(".answer").allTextContents();
    assert.equal(before, "I do not know what tabtune is.");
    assert.ok(now.length > 0 && now !== "It is asked again as it learns.");
    assert.ok((await live.locator("mark.new-words").count()) > 0, "what changed is marked");
    assert.match(await page.title(), /^\d+ % · tabtune$/);
    assert.match(await page.locator('link[rel="icon"]').getAttribute("href"), /\/icon-[0-8]\.svg$/);
    assert.match(await live.locator(".going-words").textContent(), /^Step \d+ of 60\d+:\d\d left$/);
    await button("Stop").click();
    await letGo(page);
    await status(/^Stopped after \d+ steps?\.$/);
    await button("Train it now").waitFor();
    assert.equal(await page.title(), "tabtune");
    assert.match(await page.locator('link[rel="icon"]').getAttribute("href"), /\/icon\.svg$/);
    await live.getByText("Talk to it").waitFor();
  });

  await t.test("a reload in the middle loses nothing: it goes on, with its curve and its answers", async () => {
    await holdSteps(page, 2 * ASKED);
    await button("Train it now").click();
    await button("Stop").waitFor();
    await live.getByText(`Now, after step ${2 * ASKED}`, { exact: true }).first().waitFor();
    await page.reload();
    // It does not end before the person looks away.
    await holdSteps(page, 2);
    await button("Go on with it: Bundled FAQ (2)").click();
    assert.equal(new URL(page.url()).hash, "#train");
    await page.locator("#live-watch").getByText(/^Now, after step \d+$/).first().waitFor();
    await page.getByLabel("Tell me when it is done").check();
    await page.evaluate(() => (globalThis.is_away = true));
    await letGo(page);
    await status(`Done: ${STEPS} steps.`);
    await page.waitForFunction(() => globalThis.shown.length > 0);
    assert.deepEqual(await page.evaluate(() => globalThis.shown), [`Done: ${STEPS} steps.`]);
    await page.evaluate(() => (globalThis.is_away = false));
    const [before] = await page.locator("#live-watch .answer").allTextContents();
    assert.equal(before, "I do not know what tabtune is.", "what it said at first is still known");
    const columns = await page.locator("#samples thead th").allTextContents();
    assert.deepEqual([columns[0], columns[1], columns.at(-1)], ["Asked", "Before", `Step ${STEPS}`]);
    await page.getByRole("img", { name: /^Loss by step: [\d.]+ at step 1, .* at step 60\. Held-out loss by step: .* at step 60\.$/ }).waitFor();
  });

  await t.test("curves zoom by keys, go by time and tokens, lie over one another and are a table", async () => {
    const curve = page.getByRole("group", { name: "Curve of the loss" });
    const zoom = page.locator("#zoom-state");
    await curve.focus();
    await page.keyboard.press("+");
    assert.equal(await zoom.textContent(), "Steps 12 to 48.");
    await page.keyboard.press("ArrowRight");
    assert.equal(await zoom.textContent(), "Steps 19 to 55.");
    await button("Show all").click();
    assert.equal(await zoom.textContent(), "");
    const box = await curve.boundingBox();
    await page.mouse.move(box.x + 0.4 * box.width, box.y + 80);
    await page.mouse.down();
    await page.mouse.move(box.x + 0.7 * box.width, box.y + 80, { steps: 3 });
    await page.mouse.up();
    assert.match(await zoom.textContent(), /^Steps [12]\d to [34]\d\.$/);
    await curve.dblclick({ position: { x: 200, y: 80 } });
    assert.equal(await zoom.textContent(), "");

    const legend = page.locator("#chart .u-legend .u-label");
    await page.getByText("By token", { exact: true }).click();
    assert.equal((await legend.allTextContents())[0], "Tokens");
    await page.getByText("By time", { exact: true }).click();
    assert.equal((await legend.allTextContents())[0], "Time");
    await page.getByLabel("Logarithmic").check();
    await page.getByText("Gradient", { exact: true }).click();
    await page.getByRole("img", { name: /^Gradient by step: [\d.]+ at step 1, / }).waitFor();

    await page.getByText("Compare it with earlier runs").click();
    await page.getByLabel("Bundled FAQ", { exact: true }).check();
    await page.getByRole("img", { name: /“Bundled FAQ”: Loss by step: [\d.]+ at step 1/ }).waitFor();
    assert.ok((await legend.allTextContents()).includes("Bundled FAQ, held-out"));

    await button("Show as a table").click();
    const values = page.locator("#values");
    assert.deepEqual((await values.locator("thead th").allTextContents()).slice(0, 4), ["Step", "Loss", "Held-out", "Learning rate"]);
    assert.equal(await values.locator("tbody tr").count(), STEPS / 2 + 1, "every other step, and the first measurement");
    await check("train");
  });

  await t.test("what was watched is as it was on the next visit, and a kept run shows its curve", async () => {
    await page.goto(`${server.origin}/?again#home`);
    await button("Talk to it: Bundled FAQ (2)").click();
    await status(/^“Bundled FAQ \(2\)” is open\.$/);
    await page.getByRole("link", { name: "Train" }).click();
    await page.getByRole("img", { name: /^Loss by step: [\d.]+ at step 1, .* at step 60\./ }).waitFor();
    assert.equal(await page.getByLabel("Logarithmic").isChecked(), true);
    assert.equal((await page.locator("#chart .u-legend .u-label").allTextContents())[0], "Time");
  });
  assert.deepEqual(complaints, []);
});
