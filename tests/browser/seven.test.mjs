// All that a person does with the page, one thing after another, who is called away in the middle of each.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { unzipSync } from "fflate";
import { paths } from "../../tools/lib/paths.mjs";
import { checkAdapter, galleryIndex, verify } from "../../www/package/build/exchange/index.js";
import { seriousIn } from "./axe.mjs";
import { farHub } from "./far-hub.mjs";
import { handing } from "./handed.mjs";
import { holdRuns, holdSteps } from "./holding.mjs";
import { parseSafetensors } from "./safetensors.mjs";
import { bundledConfig, keepEngines } from "./support.mjs";
import { openVisit, PATIENCE_MILLIS, visitorOf } from "./visitor.mjs";

/** Steps of the bundled run: enough for a reload on the way, and no more where the processor plays the GPU. */
const STEPS = { cpu: 6, webgpu: 3 };

/** Where a person is, and how large the page is there. */
const SIZES = { "at a desk": { width: 1280, height: 900 }, "on a phone": { width: 390, height: 844 } };

const NAME = "My rows";
const QUESTION = "When do you open?";
/** Where it is given away to, and by what. */
const REPO = "lena/my-rows";
const TOKEN = "hf_secretsecretsecret";

// What the page looks like is the same on any device, so that each device has a size of its own.
for (const [where, device] of [["at a desk", "cpu"], ["on a phone", "webgpu"]]) {
  test(`a person does all seven things ${where}, by ${device}`, (t) => walk(t, where, device));
}

/** Chooses the GPU, once and for all visits. */
async function computeByGpu(page, origin) {
  await page.goto(`${origin}/#train`);
  await page.getByText("Settings", { exact: true }).click();
  await page.getByRole("radiogroup", { name: "Runs on" }).getByText("GPU", { exact: true }).click();
  await page.getByText("When to rest", { exact: true }).click();
  // Where the processor plays the GPU it is under pressure.
  await page.getByLabel("Never: go on whatever happens").check();
  await page.goto("about:blank");
}

async function walk(t, where, device) {
  // SwiftShader takes seconds to compile what each of a dozen engines would compile anew.
  const keeps = device === "webgpu";
  const { page, server, mounts, complaints, button, status, idle, entry, tooWide } = await openVisit(t, { device, keeps });
  const { origin } = server;
  const is_phone = where === "on a phone";
  mounts["/data/faq.config.json"] = new TextEncoder().encode(JSON.stringify(bundledConfig({ max_steps: STEPS[device], save_steps: 1 })));
  await page.setViewportSize(SIZES[where]);
  await page.emulateMedia({ reducedMotion: "reduce" });
  const handed = await handing(page, !is_phone);
  const hub = await farHub(t, { id: REPO, revision: "main", sha: "0".repeat(40), files: {}, lfs: [] });
  await hub.reach(page.context());
  hub.faults.token = TOKEN;
  const place = (name, on = page) => on.getByRole("navigation", { name: "Places" }).getByRole("link", { name, exact: true }).click();
  /** Does something with what is kept; a phone has room for the first of what can be done alone. */
  const act = async (kind, name, word) => {
    const kept = entry(kind, name);
    const more = kept.getByRole("button", { name: `More for ${name}` });
    await kept.waitFor();
    if (is_phone && (await more.isVisible())) await more.click();
    await kept.getByRole("button", { name: `${word} ${name}` }).click();
  };
  /** Presses what begins a run, waits until that is on its way, and goes before anything of it is saved. */
  const leaveEarly = async (name) => {
    await holdRuns(page);
    await button(name).click();
    await status(/^(Loading|Reading|Getting|Turning|Measuring)/);
    await page.reload();
  };
  const came = (name) => page.getByText(new RegExp(`^A run of “${name}” on the bundled model was begun on .* and came to nothing: `)).and(page.locator(":visible"));
  /** Another browser of the same size. */
  const elsewhere = async () => {
    const context = await page.context().browser().newContext({ viewport: SIZES[where] });
    await hub.reach(context);
    if (keeps) await keepEngines(context, origin);
    const tab = await context.newPage();
    tab.setDefaultTimeout(PATIENCE_MILLIS);
    if (device === "webgpu") await computeByGpu(tab, origin);
    return { ...visitorOf(tab), page: tab };
  };
  let learnt;
  let friend;

  if (device === "webgpu") await computeByGpu(page, origin);
  await page.goto(`${origin}/`);

  await t.test("opens the page and sees it work", async () => {
    await leaveEarly("Train it now");
    await came("Bundled FAQ").waitFor();
    assert.deepEqual(await seriousIn(page, { within: "#begun-home" }), []);
    await button("Forget it: Bundled FAQ").click();
    await came("Bundled FAQ").waitFor({ state: "detached" });
    // One step is still to come.
    await holdSteps(page, STEPS[device] - 1);
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
    await leaveEarly("Start fine-tuning");
    await place("Home");
    await came(NAME).waitFor();
    await place("Library");
    await came(NAME).waitFor();
    assert.equal(await entry("run", NAME).count(), 0, "nothing was learnt");
    await button(`Begin it anew: ${NAME}`).and(page.locator(":visible")).click();
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

  await t.test("keeps it, and takes it elsewhere", async () => {
    await place("Library");
    await act("run", NAME, "Rename");
    await page.getByLabel(`Name of ${NAME}`).fill("Half a na");
    await page.reload();
    const kinds = [["run", NAME], ["run", "Bundled FAQ"], ["dataset", NAME], ["chat", QUESTION]];
    for (const [kind, name] of kinds) await entry(kind, name).waitFor();
    assert.equal(await came(NAME).count(), 0, "what came to nothing was begun anew");

    const goes_on = entry("run", NAME).getByRole("button", { name: /^Go on from step/ });
    await goes_on.waitFor();
    await button("Free some room…").click();
    await page.getByLabel(new RegExp(`^Saved steps of ${NAME}`)).check();
    await page.getByRole("button", { name: /^Delete 1 thing, / }).click();
    await status(/ are free again\.$/);
    await goes_on.waitFor({ state: "detached" });

    await button("Export to one file…").click();
    const [library] = Object.values(await handed(async () => {
      await page.getByRole("button", { name: /^Export \d things, / }).click();
      await page.getByText(/^\d things exported\. The file is /).waitFor();
      return 1;
    }));
    await button("Close").click();

    friend = await elsewhere();
    await friend.page.goto(`${origin}/#library`);
    const bring = async () => {
      await friend.idle();
      await friend.page.locator("#bring-file").setInputFiles({ name: "all.tabtune", mimeType: "", buffer: library });
      await friend.page.getByRole("dialog", { name: "Import a file" }).waitFor();
    };
    await bring();
    await friend.page.getByRole("button", { name: /^Import \d things, / }).click();
    await friend.page.reload();
    await bring();
    // Whatever was there by then is not brought twice.
    const rest = friend.page.getByRole("button", { name: /^Import \d things?, / });
    await ((await rest.isVisible()) ? rest : friend.button("Close")).click();
    for (const [kind, name] of kinds) await friend.entry(kind, name).waitFor();
    await friend.entry("run", NAME).getByRole("button", { name: `Open ${NAME}` }).click();
    await friend.status(`“${NAME}” is open.`);
    await friend.idle();
    assert.equal(await friend.page.locator("#answer-tuned").textContent(), learnt, "it answers there as it did here, without training");
    const listed = friend.page.locator("#library-list > li").evaluateAll((all) => all.map((one) => `${one.dataset.kind} ${one.querySelector(".item-name").textContent}`).sort());
    // The thumb made rows, too.
    assert.deepEqual(await listed, [...kinds.map((one) => one.join(" ")), "dataset ratings"].sort());

    await act("run", NAME, "Open");
    await status(`“${NAME}” is open.`);
    await idle();
    assert.equal(await page.locator("#answer-tuned").textContent(), learnt);
  });

  await t.test("gives it away", async () => {
    await place("Library");
    const [download] = await Promise.all([page.waitForEvent("download"), button("Download").click()]);
    const adapter = unzipSync(new Uint8Array(readFileSync(await download.path())));
    assert.deepEqual(Object.keys(adapter).sort(), ["adapter_config.json", "adapter_model.safetensors"]);
    const menu = page.getByLabel("For other programs");
    const forms = {};
    for (const form of await menu.locator("option").allInnerTexts()) {
      await menu.selectOption(form);
      const files = await handed(async () => {
        await button("Save…").click();
        const saved = page.locator("#export-state").filter({ hasText: /^Saved / });
        await saved.waitFor();
        await idle();
        return /: (.+?)\.(\s|$)/.exec(await saved.textContent())[1].split(", ").length;
      }, 1 << 16);
      Object.assign(forms, files);
    }
    for (const ending of ["Q8_0", "F16", "LoRA"]) assert.equal(forms[`My-rows-${ending}.gguf`]?.toString("latin1", 0, 4), "GGUF", ending);
    const weights = Object.values(parseSafetensors(new Uint8Array(forms["model.safetensors"])));
    assert.deepEqual([...new Set(weights.map(({ dtype }) => dtype))], ["BF16"]);

    await button("Keep what is open").click();
    await status(`“${NAME}” is on the shelf.`);
    const begin = async () => {
      await act("adapter", NAME, "Give away");
      await page.getByLabel("Licence", { exact: true }).fill("mit");
    };
    await begin();
    await page.reload();
    await begin();
    const [file] = await Promise.all([page.waitForEvent("download"), button("Share or download").click()]);
    const zip = readFileSync(await file.path());
    const files = unzipSync(new Uint8Array(zip));
    assert.deepEqual([(await verify(files)).signed, (await verify(files)).card.license], ["yes", "mit"]);
    assert.deepEqual(files["adapter_model.safetensors"], adapter["adapter_model.safetensors"]);

    await page.getByText("Upload it to Hugging Face", { exact: true }).click();
    await page.getByLabel("Repository").fill(REPO);
    await page.getByRole("dialog").getByLabel("Access token").fill(TOKEN);
    await button("Upload").click();
    await page.getByText(`It lies at https://huggingface.co/${REPO}.`).waitFor();
    await page.getByText("A link to it", { exact: true }).click();
    const link = await page.locator("#give-link").inputValue();
    assert.equal(link, `${origin}/#adapter=https://huggingface.co/${REPO}`);
    assert.ok(hub.hub.requests.filter(({ method }) => method === "POST").every(({ authorization }) => authorization === `Bearer ${TOKEN}`));
    assert.ok(hub.cdn.requests.every(({ authorization }) => authorization === null));
    assert.ok(!(await page.evaluate(() => JSON.stringify(localStorage))).includes(TOKEN), "the token is kept nowhere");
    await button("Close").click();

    // The one who gets the link needs no token for what everybody may have.
    delete hub.faults.token;
    await friend.page.goto("about:blank");
    await friend.page.goto(link);
    await friend.button("Download and look").click();
    await friend.page.getByRole("dialog", { name: NAME }).getByText(/^by .*, with the key [0-9a-f ]{24}$/).waitFor();
    await friend.button("Only keep it").click();
    await friend.page.goto(`${origin}/#library`);
    await friend.entry("adapter", NAME).filter({ hasText: "mit" }).waitFor();

    mounts["/gallery/mine.zip"] = zip;
    const exhibit = { name: "mine", path: "mine.zip", bytes: zip.length, adapter: await checkAdapter(files) };
    mounts["/gallery/index.json"] = new TextEncoder().encode(await galleryIndex([exhibit], "Our town"));
    await page.getByText("Get one from elsewhere", { exact: true }).click();
    await page.getByLabel("Address of a gallery").fill(`${origin}/gallery/`);
    await button("Open the gallery").click();
    await page.getByText("1 adapter", { exact: true }).waitFor();
    await page.locator("#gallery-cards").getByText(NAME).first().waitFor();
  });

  // In the dark they look alike at any size.
  await t.test("finds no place that keeps anybody out", async () => {
    for (const name of ["Home", "Data", "Train", "Chat", "Library", "Guides"]) {
      await place(name);
      await page.waitForLoadState();
      assert.deepEqual(await seriousIn(page, { schemes: is_phone ? ["light", "dark"] : ["light"] }), [], name);
      assert.ok((await tooWide()) <= 0, `${name} is too wide`);
    }
  });

  assert.deepEqual([...complaints, ...friend.complaints], []);
}
