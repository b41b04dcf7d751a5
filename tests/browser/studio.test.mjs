// The whole job through the page, as a person would do it.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { unzipSync } from "fflate";
import { paths } from "../../tools/lib/paths.mjs";
import { fewRows, openLab } from "./support.mjs";

/** The longest that the page may be deaf on a machine whose processor also plays the GPU. */
const LONGEST_PAUSE_MILLIS = 500;

test("the page", async (t) => {
  const { page, server, requests, mounts } = await openLab(t);
  mounts["/data/faq.heldout.jsonl"] = fewRows(paths.heldout);
  const complaints = [];
  page.on("console", (message) => message.type() === "error" && complaints.push(message.text()));
  page.on("pageerror", (error) => complaints.push(error.message));
  page.on("dialog", (dialog) => dialog.accept());
  const open = async () => {
    await page.goto(`${server.origin}/`);
    await page.locator("summary").click();
  };
  const setSteps = async (count) => {
    await page.getByLabel("Rows a step").fill("1");
    await page.getByLabel("Steps").fill(String(count));
  };
  const status = (pattern) => page.locator("#status").filter({ hasText: pattern }).waitFor();
  const download = async () => {
    const [file] = await Promise.all([page.waitForEvent("download"), page.getByRole("button", { name: "Download" }).click()]);
    assert.equal(file.suggestedFilename(), "adapter.zip");
    return unzipSync(new Uint8Array(readFileSync(await file.path())));
  };

  await t.test("trains the bundled model, answers before and after, and gives the adapter", async () => {
    await open();
    await setSteps(12);
    await page.evaluate(() => {
      globalThis.longest_pause = 0;
      let last = performance.now();
      setInterval(() => {
        const now = performance.now();
        globalThis.longest_pause = Math.max(globalThis.longest_pause, now - last);
        last = now;
      }, 10);
    });
    await page.getByRole("button", { name: "Start fine-tuning" }).click();
    await status(/^Step \d+ of 12$/);
    const seen = requests.length;
    assert.ok(await page.getByRole("button", { name: "Stop" }).isVisible());
    await status(/^Done: 12 steps\.$/);
    assert.deepEqual(requests.slice(seen), [], "no request while training");
    assert.ok(Number(await page.locator("#loss").innerText()) > 0);
    assert.ok(Number(await page.locator("#heldout-loss").innerText()) > 0);
    assert.match(await page.locator("#memory").innerText(), /[MG]B$/);
    assert.ok(await page.locator("#chart canvas").isVisible());

    const ask = page.locator("#ask button");
    await page.waitForFunction(() => !document.querySelector("#ask button").disabled);
    assert.notEqual(await page.locator("#answer-base").innerText(), "");
    const unasked = await page.locator("#answer-tuned").innerText();
    assert.notEqual(unasked, "");
    await page.getByLabel("Question").fill("Does my data leave the browser?");
    await ask.click();
    await page.waitForFunction(() => !document.querySelector("#ask button").disabled);
    assert.notEqual(await page.locator("#answer-base").innerText(), "");

    const files = await download();
    assert.deepEqual(Object.keys(files).sort(), ["adapter_config.json", "adapter_model.safetensors"]);
    assert.equal(JSON.parse(new TextDecoder().decode(files["adapter_config.json"])).peft_type, "LORA");
    const longest = await page.evaluate(() => globalThis.longest_pause);
    assert.ok(longest < LONGEST_PAUSE_MILLIS, `the page was deaf for ${longest} ms`);
  });

  await t.test("stops when asked, and the adapter so far is there", async () => {
    await open();
    await setSteps(5000);
    await page.getByRole("button", { name: "Start fine-tuning" }).click();
    await status(/^Step [2-9] of 5000$/);
    await page.getByRole("button", { name: "Stop" }).click();
    await status(/^Stopped after \d+ steps\.$/);
    await page.waitForFunction(() => !document.querySelector("#download").disabled);
    assert.equal(Object.keys(await download()).length, 2);
  });

  await t.test("takes a model folder and rows of one's own", async () => {
    await open();
    await page.getByText("From a folder").click();
    await page.locator("#folder").setInputFiles(paths.model);
    await page.getByText("My own file").click();
    const rows = '{"prompt":"Two and two?","completion":" Four."}\n'.repeat(4);
    await page.locator("#rows").setInputFiles({ name: "mine.jsonl", mimeType: "application/jsonl", buffer: Buffer.from(rows) });
    await setSteps(2);
    await page.getByRole("button", { name: "Start fine-tuning" }).click();
    await status(/^Done: 2 steps\.$/);
    assert.match(await page.locator("#report").innerText(), /^4 rows · /);
  });

  await t.test("shows what is wrong with a file, in words and with its code", async () => {
    await open();
    await page.getByText("My own file").click();
    await page.getByRole("button", { name: "Start fine-tuning" }).click();
    await page.getByText("Choose a JSONL file with your rows first.").waitFor();
    const rows = '{"text":"fine"}\n{"text":\n';
    await page.locator("#rows").setInputFiles({ name: "broken.jsonl", mimeType: "application/jsonl", buffer: Buffer.from(rows) });
    await page.getByRole("button", { name: "Start fine-tuning" }).click();
    await page.locator("#error-code").filter({ hasText: "bad-data" }).waitFor();
    assert.match(await page.locator("#error-message").innerText(), /broken\.jsonl.*line 2\b/s);
    assert.ok(await page.getByRole("button", { name: "Start fine-tuning" }).isEnabled());
  });

  await t.test("asks the model before any training", async () => {
    await open();
    await page.locator("#ask button").click();
    await page.waitForFunction(() => !document.querySelector("#ask button").disabled);
    assert.notEqual(await page.locator("#answer-base").innerText(), "The model as it came.");
  });

  await t.test("lets nothing connect but its own origin", async () => {
    await open();
    const policy = await page.locator('meta[http-equiv="Content-Security-Policy"]').getAttribute("content");
    assert.match(policy, /default-src 'self';/);
    assert.match(policy, /connect-src 'self';/);
    assert.ok(!/unsafe-inline|unsafe-eval(?!.*wasm)|\*/.test(policy.replace("'wasm-unsafe-eval'", "")));
    assert.ok(requests.every((url) => url.startsWith(server.origin) || url.startsWith("blob:")), requests.join("\n"));
    const before = complaints.length;
    const refused = await page.evaluate(() => fetch("https://example.com/").then(() => false, () => true));
    assert.ok(refused);
    complaints.splice(before);
  });

  await t.test("fits a narrow window", async () => {
    for (const width of [360, 390]) {
      await page.setViewportSize({ width, height: 800 });
      await open();
      assert.equal(await page.evaluate(() => document.documentElement.scrollWidth - innerWidth), 0, `${width} px`);
    }
  });

  assert.deepEqual(complaints, []);
});
