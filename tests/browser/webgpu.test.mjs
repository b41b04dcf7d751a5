// Without WebGPU both faces say so, and how to get it.
import assert from "node:assert/strict";
import { test } from "node:test";
import { openLab } from "./support.mjs";

test("without WebGPU", async (t) => {
  const lab = await openLab(t, { gpu: "none" });

  await t.test("loading a model fails with webgpu-unavailable", async () => {
    const { error } = await lab.page.evaluate(() =>
      globalThis.runner.outcome(() => globalThis.runner.tabtune.Trainer.load("/bundled/")),
    );
    assert.equal(error?.code, "webgpu-unavailable");
    assert.match(error.message, /WebGPU/);
  });

  await t.test("the page says what to do and offers nothing that cannot work", async () => {
    await lab.page.goto(`${lab.server.origin}/`);
    const notice = lab.page.locator("#no-webgpu");
    await notice.waitFor({ state: "visible" });
    const text = await notice.innerText();
    for (const word of ["webgpu-unavailable", "Chrome", "Safari", "Firefox"]) assert.ok(text.includes(word), word);
    assert.ok(await lab.page.locator("#start").isDisabled());
    assert.ok(await lab.page.locator("#ask-begin").isDisabled());
  });
});
