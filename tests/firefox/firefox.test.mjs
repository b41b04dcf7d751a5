// The engine and the page in Firefox on the processor. What does not hang on the browser is tested in Chromium alone.
import assert from "node:assert/strict";
import { test } from "node:test";
import { checkParity } from "../browser/parity.mjs";
import { checkData, checkPage, checkSurvival, importAs } from "../browser/plain.mjs";
import { valueOf } from "../browser/support.mjs";
import { openLab } from "./support.mjs";

/** Runs in the page: what the browser says of its storage, and whether it answers a question that nobody sees. */
async function lookAround() {
  const { state } = await navigator.permissions.query({ name: "persistent-storage" });
  const unanswered = new Promise((resolve) => setTimeout(resolve, 500, "unanswered"));
  const persist = await Promise.race([navigator.storage.persist(), unanswered]);
  return { state, persist };
}

test("in Firefox without WebGPU", async (t) => {
  const lab = await openLab(t, { prefs: { "dom.webgpu.enabled": false }, isolated: true });
  const { server, mounts } = lab;

  await t.test("rows are imported while nobody has answered whether they may be kept", async () => {
    const { state, persist } = await lab.page.evaluate(lookAround);
    assert.deepEqual([state, persist], ["prompt", "unanswered"]);
    const base64 = Buffer.from('{"text": "a"}\n').toString("base64");
    assert.equal(valueOf(await lab.page.evaluate(importAs, { kind: "file", name: "first.jsonl", base64 })).rows, 1);
  });

  await t.test("datasets of every kind of source are imported, listed and deleted, and bad rows are found", () =>
    checkData(lab.page, { has_folders: true }),
  );

  await t.test("small models train as PyTorch trains them", (t) => checkParity(t, (job) => lab.run({ device: "auto", ...job })));

  await t.test("a run that is killed goes on to the same adapter, to the bit", async () => {
    const reload = () => lab.openRunner();
    const close = async () => {
      await lab.page.close();
      await lab.openPage();
    };
    const { adapter } = await checkSurvival(() => lab.page, mounts, [reload, close]);
    assert.equal(adapter.backend, "cpu");
  });

  await t.test("the page trains, draws the loss, answers, and knows what was learnt the next day", async (t) => {
    const complaints = [];
    lab.page.on("pageerror", (error) => complaints.push(error.message));
    lab.page.on("console", (message) => message.type() === "error" && complaints.push(message.text()));
    const { held_out, computes } = await checkPage(lab.page, server.origin, { steps: 8 });
    assert.deepEqual(complaints, []);
    t.diagnostic(`held-out loss ${held_out}; ${computes}`);
  });
});
