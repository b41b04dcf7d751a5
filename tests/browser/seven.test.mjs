// All that a person does with the page, one thing after another on a phone, who is called away in the middle of each.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { unzipSync } from "fflate";
import { paths } from "../../tools/lib/paths.mjs";
import { checkAdapter, galleryIndex, verify } from "../../www/package/build/exchange/index.js";
import { seriousIn } from "./axe.mjs";
import { bundledConfig } from "./support.mjs";
import { openVisit } from "./visitor.mjs";

/** Steps of the bundled run: enough for a reload on the way, and no more where the processor plays the GPU. */
const STEPS = { cpu: 6, webgpu: 3 };

const NAME = "My rows";
const QUESTION = "When do you open?";

for (const device of Object.keys(STEPS)) {
  test(`a person does all seven things on a phone, by ${device}`, (t) => walk(t, device));
}

async function walk(t, device) {
  const { page, server, mounts, complaints, answers, button, status, idle, entry } = await openVisit(t, { device, patience: 120_000 });
  mounts["/data/faq.config.json"] = new TextEncoder().encode(JSON.stringify(bundledConfig({ max_steps: STEPS[device], save_steps: 1 })));
  await page.setViewportSize({ width: 390, height: 844 });
  await page.emulateMedia({ reducedMotion: "reduce" });
  const place = (name) => page.getByRole("navigation", { name: "Places" }).getByRole("link", { name, exact: true }).click();
  let learnt;

  if (device === "webgpu") {
    await page.goto(`${server.origin}/#train`);
    await page.getByText("Settings", { exact: true }).click();
    await page.getByRole("radiogroup", { name: "Runs on" }).getByText("GPU", { exact: true }).click();
    await page.getByText("When to rest", { exact: true }).click();
    // Where the processor plays the GPU it is under pressure.
    await page.getByLabel("Never: go on whatever happens").check();
  }
  await page.goto("about:blank");
  await page.goto(`${server.origin}/`);

  await t.test("opens the page and sees it work", async () => {
    await button("Train it now").click();
    await page.locator("#live").getByText(/^Now, after step [1-9]/).first().waitFor();
    await page.reload();
    await button("Go on with it: Bundled FAQ").click();
    await page.locator("#live-watch").getByText(/^Now, after step \d+$/).first().waitFor();
    await status(`Done: ${STEPS[device]} steps.`);
    const [before, now] = await page.locator("#live-watch .live-asked").first().locator(".answer").allTextContents();
    assert.ok(before.length > 0 && now.length > 0, "before and now");
    await idle();
  });

  await t.test("brings rows and a model", async () => {
    const cell = (name) => page.getByRole("textbox", { name, exact: true });
    await place("Data");
    await page.locator(".rows-from").getByText("Type or paste", { exact: true }).click();
    await cell("Question 1").fill(QUESTION);
    await cell("Answer 1").fill("At nine.");
    await cell("Question 2").fill("When do you close?");
    await page.locator("#typed-count").filter({ hasText: "1 row · 1 not finished" }).waitFor();
    await page.reload();
    assert.equal(await cell("Answer 1").inputValue(), "At nine.");
    assert.equal(await cell("Question 2").inputValue(), "When do you close?");
    await cell("Answer 2").fill("At five.");
    await button("Use these rows").click();
    await page.locator("#typed-count").filter({ hasText: `2 rows kept as “${NAME}”.` }).waitFor();

    await place("Train");
    const model = page.getByRole("group", { name: "Model" });
    await model.getByText("Files", { exact: true }).click();
    await page.locator("#folder").setInputFiles(paths.model);
    await place("Data");
    await button("See them as the model does").click();
    await page.locator("#look-about").filter({ hasText: `${NAME} · 2 rows` }).waitFor();
    await place("Train");
    await model.getByText("Bundled", { exact: true }).click();
  });

  await t.test("chooses how it learns", async () => {
    await page.getByRole("radio", { name: "A quick try" }).check();
    await page.getByText("Settings", { exact: true }).click();
    await page.getByLabel("Rows a step").fill("1");
    await page.getByLabel("Steps", { exact: true }).fill("5000");
    const changed = page.locator("#changed").filter({ hasText: /Changed by you: .*Steps/ });
    await changed.waitFor();
    await page.reload();
    await changed.waitFor();
    assert.ok(await page.getByRole("radio", { name: "A quick try" }).isChecked());
    await page.locator("#summary").filter({ hasText: new RegExp(`learns from “${NAME}”: about [\\d.]+ MB of memory`) }).waitFor();
  });

  await t.test("watches it learn", async () => {
    await button("Start fine-tuning").click();
    await status(/^Step ([2-9]|\d{2,}) of 5000$/);
    await button("Pause").click();
    await status(/^Paused after step \d+\. What was learnt is saved\.$/);
    await page.reload();
    await place("Home");
    await button(`Go on with it: ${NAME}`).click();
    await status(/^Step \d+ of 5000$/);
    await button("Stop").click();
    await status(/^Stopped after \d+ steps\.$/);
    await page.getByRole("img", { name: /^Loss by step: [\d.]+ at step 1, .* at step \d+\./ }).waitFor();
    await idle();
    learnt = await page.locator("#answer-tuned").textContent();
    const played = /, which the processor plays\.$/.test(await page.locator("#device-found").textContent());
    assert.equal(played, device === "webgpu");
  });

  await t.test("talks to it", async () => {
    await place("Chat");
    await page.getByLabel("Message").fill(QUESTION);
    await page.reload();
    assert.equal(await page.getByLabel("Message").inputValue(), QUESTION);
    await page.getByLabel("Who answers").selectOption({ label: NAME });
    await idle();
    await page.getByLabel("Message").press("Enter");
    const answer = page.locator(".turn.assistant .answer[aria-busy=false]");
    await answer.waitFor();
    await idle();
    await button("Good answer").click();
    await page.locator("#picked-count").filter({ hasText: "1 rated" }).waitFor();
    const said = await answer.innerText();
    await page.reload();
    assert.equal(await answer.innerText(), said);
    await button("Good answer").and(page.locator("[aria-pressed=true]")).waitFor();
  });

  await t.test("keeps it", async () => {
    await place("Library");
    const run = entry("run", NAME);
    const more = () => run.getByRole("button", { name: `More for ${NAME}` }).click();
    await more();
    await run.getByRole("button", { name: `Rename ${NAME}` }).click();
    await page.getByLabel(`Name of ${NAME}`).fill("Half a na");
    await page.reload();
    for (const [kind, name] of [["run", NAME], ["run", "Bundled FAQ"], ["dataset", NAME], ["chat", QUESTION]]) await entry(kind, name).waitFor();
    await run.getByRole("button", { name: `Open ${NAME}` }).click();
    await status(`“${NAME}” is open.`);
    await idle();
    assert.equal(await page.locator("#answer-tuned").textContent(), learnt, "it answers as it did, without training");
  });

  await t.test("gives it away", async () => {
    await place("Library");
    await button("Keep what is open").click();
    await status(`“${NAME}” is on the shelf.`);
    const begin = async () => {
      const mine = entry("adapter", NAME);
      await mine.getByRole("button", { name: `More for ${NAME}` }).click();
      await mine.getByRole("button", { name: `Give away ${NAME}` }).click();
      await page.getByLabel("Licence", { exact: true }).fill("mit");
    };
    await begin();
    await page.reload();
    await begin();
    const [file] = await Promise.all([page.waitForEvent("download"), button("Share or download").click()]);
    const zip = readFileSync(await file.path());
    const files = unzipSync(new Uint8Array(zip));
    assert.deepEqual([(await verify(files)).signed, (await verify(files)).card.license], ["yes", "mit"]);
    await button("Close").click();

    mounts["/gallery/mine.zip"] = zip;
    const exhibit = { name: "mine", path: "mine.zip", bytes: zip.length, adapter: await checkAdapter(files) };
    mounts["/gallery/index.json"] = new TextEncoder().encode(await galleryIndex([exhibit], "Our town"));
    await page.getByText("Get one from elsewhere", { exact: true }).click();
    await page.getByLabel("Address of a gallery").fill(`${server.origin}/gallery/`);
    await button("Open the gallery").click();
    await page.getByText("1 adapter", { exact: true }).waitFor();
    await page.locator("#gallery-cards").getByText(NAME).first().waitFor();
  });

  // What the places look like is the same on any device.
  if (device === "cpu") await t.test("finds no place that keeps anybody out", async () => {
    for (const name of ["Home", "Data", "Train", "Chat", "Library", "Guides"]) {
      await place(name);
      await page.waitForLoadState();
      assert.deepEqual(await seriousIn(page, { schemes: ["light", "dark"] }), [], name);
    }
  });

  assert.deepEqual(complaints, []);
}
