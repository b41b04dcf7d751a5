// What a run can be told beside the usual settings, on the page: kept, set, refused, learnt by and told of.
import assert from "node:assert/strict";
import { test } from "node:test";
import { seriousIn } from "./axe.mjs";
import { openVisit } from "./visitor.mjs";

/** What an earlier visit has left. */
const KEPT = { version: 1, preset: "facts", changed: { max_steps: 2 }, finer: { "lora.bias": "all", "lora.rank_pattern": { o_proj: 2 } } };

test("everything else is set by its own name, told before a run and told of it", async (t) => {
  const { page, server, complaints, button, status, idle, entry, tooWide } = await openVisit(t);
  await page.addInitScript((kept) => location.protocol !== "about:" && localStorage.setItem("tabtune:settings", kept), JSON.stringify(KEPT));
  const sum = page.locator("#estimate-sum");
  const field = (name) => page.getByLabel(name, { exact: true });
  const set = async (name, text) => {
    await field(name).fill(text);
    await field(name).blur();
  };
  const megabytes = async () => {
    await sum.filter({ hasText: /^A run takes up to [\d.]+ MB/ }).waitFor();
    return Number(/up to ([\d.]+) MB/.exec(await sum.innerText())[1]);
  };

  await page.setViewportSize({ width: 390, height: 844 });
  await page.emulateMedia({ colorScheme: "dark" });
  await page.goto(`${server.origin}/#train`);
  await page.getByText("Changed by you: Steps, Other ranks, Biases that learn").waitFor();
  await page.getByText("Settings", { exact: true }).click();
  await page.getByText("Everything else", { exact: true }).click();
  assert.deepEqual([await field("Other ranks rank_pattern").inputValue(), await field("Biases that learn bias").inputValue()], ["o_proj = 2", "all"], "they are there again");
  assert.equal(await field("Dropout lora_dropout").getAttribute("placeholder"), "as usual: 0");
  assert.equal(await page.getByRole("group", { name: "Without a gradient" }).count(), 0, "only what the chosen way has is there");
  const before = await megabytes();

  await set("Only in these layers layers_to_transform", "first");
  await page.getByText("Write numbers of layers, and ranges of them, such as 0, 2, 8-11.").waitFor();
  await button("Start fine-tuning").click();
  assert.equal(await page.evaluate(() => document.activeElement.id), "finer-lora-layers_to_transform", "the browser points at it");
  await set("Only in these layers layers_to_transform", "0");
  await sum.filter({ hasText: "These settings make no run: look at “Only in these layers”." }).waitFor();
  await page.locator("#finer").getByText(/^lora\.layers_to_transform goes with a list of target_modules alone/).waitFor();
  assert.deepEqual([await seriousIn(page), await tooWide()], [[], 0]);
  await set("Layers with an adapter target_modules", "q_proj, o_proj");
  assert.ok((await megabytes()) < before, "two modules of one layer take less");
  await set("Modules that learn whole modules_to_save", "q_proj");
  await sum.filter({ hasText: "look at “Modules that learn whole”." }).waitFor();
  assert.match(await page.locator("#estimate-problem").innerText(), /put "q_proj" into lora\.target_modules, or train all weights/, "with what to do");
  await set("Modules that learn whole modules_to_save", "norm");

  await button("Start fine-tuning").click();
  await status(/^Done: 2 steps/);
  await idle();
  await button("Back to the preset").click();
  assert.ok(await page.locator("#changed").isHidden());
  await page.locator('#places a[href="#library"]').click();
  const [run] = await page.locator("#library-list > li[data-kind=run] .item-name").allInnerTexts();
  const item = entry("run", run);
  assert.match(await item.innerText(), /Layers with an adapter: q_proj, o_proj · Only in these layers: 0 · Other ranks: o_proj = 2 · 2 other finer settings · 2 steps/);
  await item.getByRole("button", { name: /^More/ }).click();
  await button(`Use its settings ${run}`).click();
  await page.waitForURL(/#train$/);
  await page.getByText("Changed by you: Steps, Layers with an adapter, Only in these layers, Other ranks, Modules that learn whole, Biases that learn").waitFor();
  assert.equal(await field("Modules that learn whole modules_to_save").inputValue(), "norm");
  const { finer } = await page.evaluate(() => JSON.parse(localStorage.getItem("tabtune:settings")));
  const set_now = { "lora.target_modules": ["q_proj", "o_proj"], "lora.layers_to_transform": [0], "lora.modules_to_save": ["norm"] };
  assert.deepEqual(finer, { ...KEPT.finer, ...set_now }, "and kept for the next visit");
  assert.deepEqual(complaints, []);
});
