// The shelf of the page, as a person would use it: adapters that are kept, switched, compared, mixed, given away and got.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { unzipSync, zipSync } from "fflate";
import { paths } from "../../tools/lib/paths.mjs";
import { cardFor, checkAdapter, galleryIndex, verify, withCard } from "../../www/package/build/exchange/index.js";
import { person } from "./person.mjs";
import { buildSafetensors, parseSafetensors } from "./safetensors.mjs";
import { openLab, valueOf } from "./support.mjs";
import { openVisit } from "./visitor.mjs";

const RANK = 4;
/** Text that would do something if it were taken for HTML. */
const HOSTILE = `<img src=x onerror="globalThis.was_run = true"> & <b>words</b>`;

/** Numbers that look random, and are the same for a seed everywhere (mulberry32). */
function numbers(seed) {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 31 - 1;
  };
}

/** An adapter of the bundled model that answers in a way of its own. */
function adapterOf(seed, base_model_name_or_path = "https://example.org/models/tiny") {
  const model = parseSafetensors(readFileSync(join(paths.model, "model.safetensors")));
  const next = numbers(seed);
  const tensors = {};
  const add = (name, shape, scale) => {
    const bytes = new Uint8Array(Float32Array.from({ length: shape[0] * shape[1] }, () => scale * next()).buffer);
    tensors[name] = { dtype: "F32", shape, bytes };
  };
  for (const [name, { shape }] of Object.entries(model)) {
    if (!/\.(q|v)_proj\.weight$/.test(name)) continue;
    const path = `base_model.model.${name.replace(/\.weight$/, "")}`;
    add(`${path}.lora_A.weight`, [RANK, shape[1]], 0.4);
    add(`${path}.lora_B.weight`, [shape[0], RANK], 0.6);
  }
  const config = {
    peft_type: "LORA",
    base_model_name_or_path,
    r: RANK,
    lora_alpha: RANK,
    target_modules: ["q_proj", "v_proj"],
    bias: "none",
  };
  return {
    "adapter_config.json": new TextEncoder().encode(JSON.stringify(config)),
    "adapter_model.safetensors": buildSafetensors(tensors),
  };
}

const zipped = (files) => Buffer.from(zipSync(files, { level: 0 }));

/** The page in a Chromium of its own, and how a person uses its shelf. */
async function openShelf(t) {
  const { page, ...visit } = await openVisit(t, { as: person });
  /** Goes where the page says so. */
  const status = (pattern) => page.locator("#status").filter({ hasText: pattern }).waitFor();
  const entry = (name) => visit.entry("adapter", name);
  /** Picks a zip file and waits for its card. */
  const bring = async (name, files) => {
    await page.locator("#shelf-file").setInputFiles({ name: `${name}.zip`, mimeType: "application/zip", buffer: zipped(files) });
  };
  /** The value of a line of the card that is shown. */
  const line = (about) => page.locator("#card-lines dl > div").filter({ has: page.getByText(about, { exact: true }) }).locator("dd").innerText();
  const answer = (id) => page.locator(`#answer-${id}`).innerText();
  return { ...visit, page, status, entry, bring, line, answer };
}

/** Runs in the page: blends adapters, of which there are no more when the engine is lost, and tells what comes back and what is refused. */
async function blendAndLose(files) {
  const { tabtune, outcome } = globalThis.runner;
  const adapters = Object.fromEntries(Object.entries(files).map(([name, all]) => [name, Object.fromEntries(all.map(([file, bytes]) => [file, Uint8Array.from(bytes)]))]));
  const { Worker } = globalThis;
  const engines = [];
  globalThis.Worker = class extends Worker {
    constructor(...given) {
      super(...given);
      engines.push(this);
    }
  };
  return outcome(async () => {
    const trainer = await tabtune.Trainer.load("/bundled/", { device: "cpu" });
    for (const [name, adapter] of Object.entries(adapters)) await trainer.adapters.load(name, adapter);
    const refused = [];
    for (const parts of [[null], [{ adapter: "one" }], [{ adapter: "one", weight: NaN }], [{ adapter: "nobody", weight: 1 }], [{ adapter: "one", weight: 1, scale: 2 }, 3]]) {
      refused.push(await trainer.adapters.blend("refused", parts).catch(({ code }) => code));
    }
    const { r, lora_alpha } = await trainer.adapters.blend("blend", [{ adapter: "one", weight: 0.3 }, { adapter: "two", weight: -1.5 }]);
    const asked = async () => (await trainer.generate("What is tabtune?", { max_new_tokens: 12 })).text;
    const before = [await asked(), ...(await trainer.save("blend"))["adapter_model.safetensors"]];
    for (const name of Object.keys(adapters)) await trainer.adapters.delete(name);
    for (const engine of engines) engine.terminate();
    while (!trainer.ended) await new Promise((resolve) => setTimeout(resolve, 10));
    const after = [await asked(), ...(await trainer.save("blend"))["adapter_model.safetensors"]];
    const told = { r, lora_alpha, refused, active: trainer.adapters.active, is_same: JSON.stringify(before) === JSON.stringify(after), bytes: before.length };
    await trainer.dispose();
    return told;
  });
}

test("a blend outlives its parts and its engine, to the bit", async (t) => {
  const { page } = await openLab(t, { device: "cpu" });
  const files = [adapterOf(1), adapterOf(2)].map((adapter) => Object.entries(adapter).map(([name, bytes]) => [name, [...bytes]]));
  const { bytes, ...told } = valueOf(await page.evaluate(blendAndLose, { one: files[0], two: files[1] }));
  assert.deepEqual(told, { r: 2 * RANK, lora_alpha: 2 * RANK, refused: Array(5).fill("bad-option"), active: "blend", is_same: true });
  assert.ok(bytes > 100_000);
});

test("the shelf of the page", async (t) => {
  const { page, server, requests, mounts, complaints, answers, button, status, entry, idle, tooWide, bring, line, answer } = await openShelf(t);
  const ask = async () => {
    await button("Ask").click();
    await idle();
  };
  const modelsLoaded = () => requests.filter((url) => url.endsWith("/models/tiny/model.safetensors")).length;
  const said = {};

  await t.test("shows what was brought before it is kept, as text and nothing else", async () => {
    // The page has looked at what a run takes, and reads the model no more for that.
    await page.goto(`${server.origin}/#train`);
    await page.locator("#ways-list li").first().waitFor({ state: "attached" });
    said.looks = modelsLoaded();
    await page.getByText("Nothing yet. Train or open an adapter").waitFor();
    assert.ok(await button("Keep what is open").isHidden());
    const second = adapterOf(2);
    const card = await cardFor(second, { title: "Second", words: HOSTILE, license: "cc0-1.0", rows: 12, steps: 30, loss_before: 2.5, loss_after: 1.25 });
    await bring("second", withCard(second, card));
    await page.getByRole("dialog", { name: "Second" }).waitFor();
    assert.equal(await line("In the author's words"), HOSTILE);
    assert.equal(await line("Touches"), "q_proj, v_proj in 6 layers");
    assert.equal(await line("Held-out loss"), "2.500 before, 1.250 after");
    assert.match(await line("Signed"), /^by nobody: anyone may have written this card$/);
    assert.equal(await entry("Second").count(), 0, "nothing is kept unasked");
    await button("Only keep it").click();
    await entry("Second").filter({ hasText: /on the shelf · not signed · cc0-1\.0[^]*Made for the bundled model/i }).waitFor();
    assert.equal(modelsLoaded(), said.looks);

    await bring("first", adapterOf(1));
    await page.getByRole("dialog", { name: "first" }).waitFor();
    assert.match(await line("Licence"), /^none is told/);
    await page.keyboard.press("Escape");
    assert.equal(await entry("first").count(), 0);
    const changed = adapterOf(1);
    changed["adapter_model.safetensors"].fill(0xff, -4);
    await bring("broken", changed);
    await page.locator("#error-code").filter({ hasText: "not-finite" }).waitFor();
    await bring("first", adapterOf(1));
    await button("Try it").click();
    await status("“first” answers now.");
    await entry("first").filter({ hasText: "answers now" }).waitFor();
    await idle();
    said.loads = modelsLoaded();
    [said.base, said.first] = [await answer("base"), await answer("tuned")];
    assert.notEqual(said.base, said.first);
    assert.equal(await page.evaluate(() => globalThis.was_run), undefined);
  });

  await t.test("compares two, and switches in the middle of a chat, without loading the model again", async () => {
    const question = await page.locator("#question").inputValue();
    const talk = async (who) => {
      await page.getByLabel("Who answers").selectOption({ label: who });
      await idle();
      if (await button("New chat").isVisible()) await button("New chat").click();
      await page.getByLabel("Message").fill(question);
      await button("Send").click();
      await page.locator(".turn.assistant .answer[aria-busy=false]").waitFor();
      await idle();
      return page.locator(".turn.assistant .answer").innerText();
    };
    said.second = await talk("Second");
    assert.ok(![said.base, said.first].includes(said.second));
    assert.equal(await talk("first"), said.first);
    assert.equal(await talk("The model as it came"), said.base);

    await button("New chat").click();
    await page.getByLabel("Who answers").selectOption({ label: "Second" });
    await idle();
    await button("Answer side by side").click();
    await page.getByLabel("Beside it").selectOption({ label: "first" });
    await page.getByLabel("Message").fill(question);
    await button("Send").click();
    await page.locator(".beside article .answer[aria-busy=false]").nth(1).waitFor();
    await idle();
    assert.deepEqual(await page.locator(".beside article .answer").allInnerTexts(), [said.second, said.first]);
    await button("Use first").click();
    await status("“first” answers now.");
    await button("Use none of them").click();
    await status("The model answers as it came.");
    assert.equal(modelsLoaded(), said.loads);
  });

  await t.test("mixes by sliders, from the keyboard too", async () => {
    await page.locator("#mixing summary").click();
    await button("Mix them").click();
    await page.getByText(/^Move a slider first/).waitFor();
    const slide = async (name, key, times = 1) => {
      const slider = page.getByRole("slider", { name, exact: true });
      await slider.focus();
      for (; times > 0; times--) await page.keyboard.press(key);
      return slider.getAttribute("aria-valuetext");
    };
    assert.equal(await slide("Second", "Home"), "−2.00");
    assert.equal(await slide("Second", "ArrowRight", 40), "0.00");
    assert.equal(await slide("first", "ArrowRight", 20), "1.00");
    await button("Mix them").click();
    await status("“Mix of first” is on the shelf, and answers now.");
    await ask();
    assert.equal(await answer("tuned"), said.first);
    await slide("first", "ArrowRight", 10);
    await slide("Second", "ArrowLeft", 20);
    await page.getByLabel("Call it").fill("Both");
    await button("Mix them").click();
    await status("“Both” is on the shelf, and answers now.");
    await button("Card Both").click();
    assert.equal(await line("In the author's words"), "0.50 × first − 1.00 × Second");
    assert.match(await line("Size"), /of rank 8$/);
    assert.equal(await line("Fits"), "Yes, the model that is loaded.");
    await page.keyboard.press("Escape");
    await page.locator("button:focus", { hasText: "Card" }).waitFor();
    assert.equal(modelsLoaded(), said.loads);
  });

  await t.test("renames and deletes, also what answers", async () => {
    const rename = async (name, to) => {
      await button(`Rename ${name}`).click();
      await page.getByLabel(`Name of ${name}`).fill(to);
      await page.keyboard.press("Enter");
    };
    await rename("Both", "Halves");
    await entry("Halves").filter({ hasText: "answers now" }).waitFor();
    await rename("Halves", "first");
    await page.getByText(/the shelf has an adapter "first" already/).waitFor();
    await button("Delete Halves").click();
    await entry("Halves").waitFor({ state: "detached" });
    await ask();
    assert.equal(await answer("base"), said.base);
    assert.match(await answer("tuned"), /once that is trained or opened/);
    await button("Delete Mix of first").click();
    await entry("Mix of first").waitFor({ state: "detached" });
  });

  await t.test("gives away with a licence and a signature, and tells what was changed since", async () => {
    await button("Give away Second").click();
    await page.getByLabel("Licence", { exact: true }).fill("");
    await button("Share or download").click();
    await page.getByText(/^Write a licence/).waitFor();
    await page.getByLabel("Licence", { exact: true }).fill("mit");
    await page.getByLabel(/^Your name/).fill("Lena <b>");
    const [file] = await Promise.all([page.waitForEvent("download"), button("Share or download").click()]);
    assert.equal(file.suggestedFilename(), "Second.zip");
    const files = unzipSync(new Uint8Array(readFileSync(await file.path())));
    const { signed, by, card } = await verify(files);
    assert.deepEqual([signed, by, card.license, card.author, card.rows, card.words], ["yes", "Lena <b>", "mit", "Lena <b>", 12, HOSTILE]);
    await button("Close").click();

    files["adapter_config.json"][files["adapter_config.json"].length - 1] ^= 1;
    await bring("changed", files);
    await page.getByText(/^adapter_config\.json.* was changed after its card was written|^bad-adapter$/).first().waitFor();
    files["adapter_config.json"][files["adapter_config.json"].length - 1] ^= 1;
    mounts["/gift.zip"] = zipped(files);
  });

  await t.test("asks before it downloads what a link leads to", async () => {
    await page.goto("about:blank");
    await page.goto(`${server.origin}/#adapter=${server.origin}/gift.zip`);
    await page.getByRole("dialog", { name: "Try “gift”?" }).waitFor();
    assert.ok(!page.url().includes("#"));
    assert.ok(!requests.some((url) => url.endsWith("/gift.zip")), "nothing is fetched unasked");
    await button("Not now").click();
    await page.goto(`${server.origin}/#adapter=${server.origin}/gift.zip`);
    await button("Download and look").click();
    await page.getByRole("dialog", { name: "Second" }).waitFor();
    assert.match(await line("Signed"), /^by “Lena <b>”, with the key [0-9a-f ]{24}$/);
    await button("Try it").click();
    await status("“Second (2)” answers now.");
    await idle();
    assert.equal(await answer("tuned"), said.second);
    await page.goto(`${server.origin}/#adapter=http://example.org/a.zip`);
    await page.getByText(/it has to begin with https/).waitFor();
  });

  await t.test("searches a gallery, and shows its cards", async () => {
    const exhibits = [];
    for (const [seed, name, words] of [[3, "pirate", "Arr!"], [4, "polite", HOSTILE]]) {
      const adapter = adapterOf(seed);
      const files = withCard(adapter, await cardFor(adapter, { title: `A ${name} one`, words }));
      const zip = zipped(files);
      mounts[`/gallery/${name}.zip`] = zip;
      exhibits.push({ name, path: `${name}.zip`, bytes: zip.length, adapter: await checkAdapter(files) });
    }
    mounts["/gallery/index.json"] = new TextEncoder().encode(await galleryIndex(exhibits, "Our town"));
    await page.getByText("Get one from elsewhere", { exact: true }).click();
    await page.getByLabel("Address of a gallery").fill(`${server.origin}/gallery/`);
    await button("Open the gallery").click();
    await page.getByText("2 adapters", { exact: true }).waitFor();
    await page.getByLabel("Search in it").fill("POLITE");
    await page.getByText("1 adapter", { exact: true }).waitFor();
    await page.locator("#gallery-cards").getByText(HOSTILE, { exact: true }).waitFor();
    await button("Try it A polite one").click();
    assert.ok(!requests.some((url) => url.endsWith("/polite.zip")));
    await button("Download and look").click();
    await button("Only keep it").click();
    await entry("A polite one").waitFor();
    // What lies there now is another one than the gallery shows.
    mounts["/gallery/pirate.zip"] = mounts["/gallery/polite.zip"];
    await page.getByLabel("Search in it").fill("pirate");
    await button("Try it A pirate one").click();
    await button("Download and look").click();
    await page.locator("#card-problem").filter({ hasText: /is not the one that the gallery shows/ }).waitFor();
    await button("Not now").click();
    assert.equal(await page.evaluate(() => globalThis.was_run), undefined);
  });

  await t.test("asks before it loads another model, which a stranger may have named", async () => {
    const before = requests.length;
    await bring("far", adapterOf(5, "somebody/large-llama"));
    answers.next = false;
    await button("Try it").click();
    await entry("far").waitFor();
    await idle();
    const loads = "Load that in place of the bundled model?";
    assert.equal(answers.asked.at(-1), `“far” was made for somebody/large-llama from Hugging Face, which is downloaded unless this browser has it. ${loads}`);
    // The page's own workers begin when there is time for them.
    assert.deepEqual(requests.slice(before).filter((address) => !address.startsWith(`${server.origin}/assets/`)), []);
    assert.equal(await entry("far").getByText("answers now").count(), 0);
    answers.next = undefined;
    await button("Delete far").click();
    await entry("far").waitFor({ state: "detached" });
  });

  await t.test("keeps what a run learnt, with what is known of it", async () => {
    await page.getByText("Settings", { exact: true }).click();
    await page.getByText("When to rest", { exact: true }).click();
    await page.getByLabel("Never: go on whatever happens").check();
    await page.getByLabel("Rows a step").fill("1");
    await page.getByLabel("Steps").fill("2");
    await button("Start fine-tuning").click();
    await status("Done: 2 steps.");
    await idle();
    const learnt = await answer("tuned");
    await button("Keep what is open").click();
    await status("“Bundled FAQ” is on the shelf.");
    await entry("Bundled FAQ").getByRole("button", { name: "Card Bundled FAQ" }).click();
    assert.match(await line("Learnt"), /^from examples, \d+ rows, 2 steps$/);
    await button("Close").click();
    await button("Use first").click();
    await status("“first” answers now.");
    await ask();
    assert.equal(await answer("tuned"), said.first);
    await entry("Bundled FAQ").getByRole("button", { name: "Use Bundled FAQ" }).click();
    await status("“Bundled FAQ” answers now.");
    await ask();
    assert.equal(await answer("tuned"), learnt);
  });

  await t.test("fits a narrow window", async () => {
    for (const width of [360, 390]) {
      await page.setViewportSize({ width, height: 800 });
      for (const [name, open] of [["Second", "Card Second"], ["first", "Give away first"]]) {
        if (await button(`More for ${name}`).isVisible()) await button(`More for ${name}`).click();
        await button(open).click();
        const inside = await page.locator("dialog[open]").evaluate((dialog) => dialog.scrollWidth - dialog.clientWidth);
        assert.equal(inside, 0, `${open} at ${width} px`);
        await button("Close").click();
      }
      assert.equal(await tooWide(), 0, `${width} px`);
    }
  });

  assert.deepEqual(complaints, []);
});
