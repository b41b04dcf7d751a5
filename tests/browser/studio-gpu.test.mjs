// The page by WebGPU, on a GPU that the processor plays. What it does with a run from the first press to the last is in seven.test.mjs.
import assert from "node:assert/strict";
import { test } from "node:test";
import { openStudio } from "./studio.mjs";

/** The longest that the page may be deaf on a machine whose processor also plays the GPU. */
const LONGEST_PAUSE_MILLIS = 500;

/** Runs in the page: notes from now on how long the page was deaf, in `globalThis.longest_pause`. */
function notePauses() {
  globalThis.longest_pause = 0;
  let last = performance.now();
  setInterval(() => {
    const now = performance.now();
    globalThis.longest_pause = Math.max(globalThis.longest_pause, now - last);
    last = now;
  }, 10);
}

test("the page by WebGPU", async (t) => {
  const { page, server, requests, complaints, open, runsOn, button, setSteps, status, beyond, idle } = await openStudio(t, "webgpu");

  const go_on = page.getByRole("button", { name: /^Go on from step/ });

  await t.test("asks before it goes on with a run that the processor began", async () => {
    await open();
    await runsOn("Processor");
    await setSteps(5000);
    await button("Start fine-tuning").click();
    await status(/^Step ([3-9]|\d{2,}) of 5000$/);
    await page.getByText(/^This run takes [\d.]+ MB of memory\.$/).waitFor();
    await button("Stop").click();
    await status(/^Stopped after \d+ steps\.$/);
    await idle();
    await runsOn("GPU");
    const [question] = await Promise.all([page.waitForEvent("dialog"), go_on.click()]);
    assert.match(question.message(), /^This run began on another kind of device/);
    // A page is deaf while it asks.
    await page.evaluate(notePauses);
    await status(/^Step \d+ of 5000$/);
  });

  await t.test("hears the person, and asks nothing of anybody, while it trains", async () => {
    const [before, seen] = [await beyond(0), requests.length];
    await page.getByText(/^This run takes [\d.]+ MB of GPU memory\.$/).waitFor();
    await beyond(before + 3);
    // The package asks for nothing while it trains; the page shows its progress by an icon, and may look at what it keeps.
    const own = new RegExp(`^${server.origin}/(icon-\\d\\.svg|assets/[\\w.-]+)$`);
    assert.deepEqual(requests.slice(seen).filter((url) => !own.test(url)), [], "no other request while training");
    assert.ok(await page.getByLabel("Steps").isDisabled(), "what was ordered stays as it is");
    const stop = async () => {
      await button("Stop").click();
      await status(/^Stopped after \d+ steps\.$/);
      await idle();
    };
    await stop();
    assert.match(await page.locator("#device-found").innerText(), /^Computed by .*, which the processor plays\.$/);
    assert.ok(Number(await page.locator("#loss").innerText()) > 0);
    for (const answer of ["#answer-base", "#answer-tuned"]) assert.notEqual(await page.locator(answer).innerText(), "");
    const longest = [await page.evaluate(() => globalThis.longest_pause)];
    // Whatever else the machine does may hold the page up too, but hardly each time.
    while (longest.at(-1) >= LONGEST_PAUSE_MILLIS && longest.length < 3) {
      await page.evaluate(notePauses);
      const from = Number(/\d+/.exec(await go_on.innerText())[0]);
      await go_on.click();
      await beyond(from + 3);
      await stop();
      longest.push(await page.evaluate(() => globalThis.longest_pause));
    }
    assert.ok(longest.at(-1) < LONGEST_PAUSE_MILLIS, `the page was deaf for ${longest.join(", then ")} ms`);
  });

  assert.deepEqual(complaints, []);
});
