// A run on the page: paused, resting, in two tabs, unsaved, in other ways, and at its best.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { paths } from "../../tools/lib/paths.mjs";
import { person } from "./person.mjs";
import { openStudio } from "./studio.mjs";

/** Runs in a page before its scripts: a battery that the test can empty, and a system under the highest pressure. */
function playSignals() {
  globalThis.PressureObserver = class {
    #tell;
    constructor(tell) {
      this.#tell = tell;
    }
    async observe() {
      this.#tell([{ state: "critical" }]);
    }
    disconnect() {}
  };
  globalThis.battery = Object.assign(new EventTarget(), { charging: false, level: 0.9 });
  navigator.getBattery = async () => globalThis.battery;
}

test("a run on the page", async (t) => {
  const { page, server, complaints, open, chooseRows, button, pick, report, setSteps, status, beyond, download, idle, learnt } = await openStudio(t);

  const happened = (pattern) => page.locator("#events li").filter({ hasText: pattern }).first().waitFor();

  await t.test("pauses, rests, tells what happened, and goes on after a reload", async () => {
    await page.addInitScript(playSignals);
    await open();
    await page.getByLabel("Never: go on whatever happens").uncheck();
    await page.getByLabel("Rest below battery, %").fill("30");
    // A machine that plays the GPU as well looks hot.
    await page.getByLabel("Rest at slowdown, times").fill("1000");
    await setSteps(5000);
    await button("Start fine-tuning").click();
    // Where the processor computes it makes the pressure itself, so that a run does not rest under it unasked.
    await status(/^Step ([3-9]|\d{2,}) of 5000$/);
    assert.match(await page.locator("#device-found").textContent(), /^Computed by \d+ workers? on the processor\./);
    await page.getByText(/^A run looks at: battery, .*speed of the steps/).waitFor();
    await button("Pause").click();
    await status(/^Paused after step \d+\. What was learnt is saved\.$/);
    const paused = await page.locator("#status").innerText();
    await happened(/step \d+\s*Saved: up to step \d+\./);
    await happened(/Paused\./);
    assert.ok(await button("Pause").isHidden());
    assert.equal(await page.locator("#status").innerText(), paused, "no step while it is paused");
    await button("Resume").click();
    await status(/^Step \d+ of 5000$/);

    await page.evaluate(() => (globalThis.battery.level = 0.25));
    await status("Resting because the battery is at 25 %, and training stops below 30 %.");
    await page.getByText(/^Looks again in [23]\d s\.$/).waitFor();
    await happened(/Rests: the battery is at 25 %/);
    for (const mark of ["saved", "paused", "rest"]) assert.ok(await page.locator(`#timeline-bar .${mark}`).first().isVisible(), mark);
    await button("Stop").click();
    await status(/^Stopped after \d+ steps\.$/);
    await happened(/Stopped: you asked for it\./);
    await idle();

    await page.evaluate(() => (globalThis.battery.level = 0.9));
    await page.getByLabel("Rest at system pressure").selectOption("serious");
    await page.getByRole("button", { name: /^Go on from step/ }).click();
    await status("Resting because the system is under critical pressure.");
    await button("Stop").click();
    await status(/^Stopped after \d+ steps\.$/);

    await open();
    await learnt(/^Bundled FAQ/).filter({ hasText: /\d+ of 5,000 steps/ }).waitFor();
    const go_on = page.getByRole("button", { name: /^Go on from step/ });
    const step = Number(/\d+/.exec(await go_on.innerText())[0]);
    await go_on.click();
    await beyond(step);
    await happened(/Taken up again/);
  });

  await t.test("watches a run that another tab has", async () => {
    const other = person(await page.context().newPage());
    await other.goto(`${server.origin}/`);
    await other.getByRole("button", { name: /^Go on from step/ }).click();
    await other.locator("#status").filter({ hasText: "Another tab has this run. This one waits for it." }).waitFor();
    await other.getByRole("button", { name: "Watch it" }).click();
    await other.locator("#status").filter({ hasText: /^Step \d+ of 5000$/ }).waitFor();
    await other.locator("#chart canvas").waitFor();
    for (const name of ["Pause", "Watch it"]) assert.ok(await other.getByRole("button", { name }).isHidden(), name);
    await button("Stop").click();
    await other.locator("#status").filter({ hasText: "The run of the other tab has ended." }).waitFor();
    await other.close();
  });

  await t.test("says loudly what is only in this tab, ends an engine that hangs, and goes on from what was saved", async () => {
    await open();
    await page.evaluate(() => {
      const { put } = IDBObjectStore.prototype;
      IDBObjectStore.prototype.put = function (...args) {
        if (this.transaction.db.name === "tabtune-adapters") throw new DOMException("There is no room.", "QuotaExceededError");
        return put.apply(this, args);
      };
      globalThis.makeRoom = () => (IDBObjectStore.prototype.put = put);
    });
    await setSteps(5000);
    await button("Start fine-tuning").click();
    await status(/^Step ([2-9]|\d{2,}) of 5000$/);
    await button("Stop").click();
    await status(/^Stopped after \d+ steps\.$/);
    await page.getByText("Only in this tab: download it before you close the tab. The browser could not keep it: There is no room.").waitFor();
    await idle();
    assert.equal(Object.keys(await download()).length, 2);
    await page.locator("#unsaved").waitFor({ state: "hidden" });

    await page.evaluate(() => globalThis.makeRoom());
    await button("Start fine-tuning").click();
    await status(/^Step ([2-9]|\d{2,}) of 5000$/);
    await button("Pause").click();
    await status(/^Paused after step \d+\. What was learnt is saved\.$/);
    await button("Resume").click();
    await status(/^Step \d+ of 5000$/);
    const engines = page.workers().filter((worker) => !worker.url().includes("kernel"));
    // The one that is asked for steps hangs, in a task of its own: where a debugger begins a loop in the middle of another task, the end of
    // the worker ends that loop alone.
    const hang = () => {
      const says = new BroadcastChannel("hangs");
      addEventListener("message", ({ data }) => {
        if (data.call !== "train_step") return;
        says.postMessage(data.call);
        for (;;);
      });
    };
    await page.evaluate(() => {
      globalThis.hangs = new Promise((said) => (new BroadcastChannel("hangs").onmessage = () => said()));
    });
    // One that has nothing to do may end meanwhile.
    await Promise.allSettled(engines.map((engine) => engine.evaluate(hang)));
    // It still answers for the step that it was in.
    await page.evaluate(() => globalThis.hangs);
    // These words are gone after some seconds.
    await page.evaluate(() => {
      const status = document.querySelector("#status");
      globalThis.statuses = [];
      new MutationObserver(() => globalThis.statuses.push(status.textContent)).observe(status, { childList: true });
    });
    await button("Stop").click();
    await status(/^The engine did not answer, so it was ended\. What it had learnt until step \d+ is saved/);
    const statuses = await page.evaluate(() => globalThis.statuses);
    assert.ok(statuses.some((text) => /^Finishing step \d+…$/.test(text)), statuses.join("; "));
    await page.getByRole("button", { name: /^Go on from step/ }).first().click();
    await status(/^Step \d+ of 5000$/);
    await button("Stop").click();
    await status(/^Stopped after \d+ steps\.$/);
    await idle();
  });

  await t.test("compares the ways to train, and learns without a gradient", async () => {
    await open();
    const bars = page.locator("#ways-list li");
    const chosen = (words) => page.locator("#ways-list [aria-current]").filter({ hasText: words }).waitFor();
    await chosen(/^QLoRA, 4 bits/);
    const words = (await bars.allInnerTexts()).map((text) => /^[^\d]+(\d bits)?/.exec(text)[0].trim());
    assert.deepEqual(words, ["MeZO, 4 bits", "QLoRA, 4 bits", "LoRA, 8 bits", "LoRA, as it is", "All weights"]);
    const how = page.getByRole("radiogroup", { name: "How it learns" });
    const values = async () => [await page.getByLabel("Learning rate").inputValue(), await page.getByLabel("Steps").inputValue()];
    for (const [name, expected] of [["SGD", ["0.1", "80"]], ["Adafactor", ["0.007", "80"]], ["MeZO", ["0.00105", "800"]]]) {
      await how.getByText(name, { exact: true }).click();
      assert.deepEqual(await values(), expected, name);
    }
    await chosen(/^MeZO, 4 bits/);
    await setSteps(4);
    await button("Start fine-tuning").click();
    await status(/^Done: 4 steps\.$/);
    await idle();
    assert.ok(Number(await page.locator("#loss").innerText()) > 0);
    assert.match(await page.locator("#chart").getAttribute("aria-label"), /^Loss by step: [\d.]+ at step 1, .* at step 4/);
    assert.notEqual(await page.locator("#answer-tuned").innerText(), "");
    await how.getByText("AdamW", { exact: true }).click();
    assert.deepEqual(await values(), ["0.007", "4"], "steps that the person set stay");
  });

  await t.test("keeps the best by held-out rows, and measures what was learnt by rows that it has not seen", async () => {
    await open();
    await pick("unseen.jsonl", readFileSync(paths.heldout));
    await button("Import").click();
    await report(/20 rows/);
    await chooseRows("Example rows");
    await page.getByLabel("Rows a step").fill("2");
    await page.getByLabel("Steps").fill("30");
    await page.getByLabel("Keep the best").check();
    await button("Start fine-tuning").click();
    await status(/^(Done: 30 steps|Ended after \d+ of 30 steps: the held-out rows got no better)\. The model is as it was after step \d+, where it did best on the held-out rows\.$/);
    assert.match(await page.locator("#events").innerText(), /Went back to the best: the least held-out loss was \d/);
    await idle();
    assert.match(await page.locator("#chart").getAttribute("aria-label"), /^Loss by step: [\d.]+ at step 1, .*\. Held-out loss/);
    assert.match(await page.locator("#memory").innerText(), /[MG]B$/);

    await page.getByText(/^Nothing is cut off: the longest row has \d+ tokens, and up to 128 tokens are kept\.$/).waitFor();
    assert.ok(await page.getByRole("img", { name: /^How long the rows are/ }).locator("canvas").isVisible());
    const [row] = await page.getByRole("article").filter({ hasText: "faq.jsonl line 1" }).all();
    assert.equal(await row.locator(".special").first().innerText(), "<|im_start|>");
    assert.match(await row.locator(".unlearnt:not(.special)").allInnerTexts().then((all) => all.join("")), /What is tabtune\?/);
    assert.match(await row.locator(".learnt:not(.special)").allInnerTexts().then((all) => all.join("")), /^tabtune is a program/);

    /** What the measurement says by the rows of that name. */
    const measured = async (words) => {
      await page.getByLabel("Rows to measure by").selectOption({ label: words });
      await button("Measure it").click();
      await page.locator("#measure-forgetting").filter({ hasText: /perplexity (rose|fell) from/ }).waitFor();
      await idle();
      return page.locator("#measure-result").innerText();
    };
    const few = await measured("held-out rows: “Bundled FAQ, held out”");
    assert.match(few, /^Not decided: fewer than five rows decide nothing\./);
    assert.match(few, /on 4 rows \(95 % interval of the change: .*The run kept what did best on these very rows/);
    assert.match(await measured("“unseen.jsonl”"), /^Better, on rows like these\.[^]* on 20 rows /);
    await page.locator("#measure-verdict:focus").waitFor();
    await page.locator("#library-list > li.is-open").filter({ hasText: "better on 20 other rows" }).waitFor();
    await page.getByLabel("Keep the best").uncheck();
  });

  assert.deepEqual(complaints, []);
});
