// The whole job through the page, as a person would do it.
import assert from "node:assert/strict";
import { createWriteStream, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { gzipSync } from "node:zlib";
import { unzipSync, zipSync } from "fflate";
import { paths } from "../../tools/lib/paths.mjs";
import { checkPage } from "./plain.mjs";
import { person } from "./person.mjs";
import { parseSafetensors } from "./safetensors.mjs";
import { openVisit } from "./visitor.mjs";

/** The longest that the page may be deaf on a machine whose processor also plays the GPU. */
const LONGEST_PAUSE_MILLIS = 500;

/** How long anything may take there. */
const PATIENCE_MILLIS = 120_000;

/** Runs in a page before its scripts: a battery that the test can empty, and a processor that is never too busy. */
function playSignals() {
  delete globalThis.PressureObserver;
  globalThis.battery = Object.assign(new EventTarget(), { charging: false, level: 0.9 });
  navigator.getBattery = async () => globalThis.battery;
}

const zipped = (files) => Buffer.from(zipSync(files));

/** A model's name on the hub, whose files are the bundled model's here. */
const HUB_ID = "somebody/small-llama";
const LISTED_ID = "Qwen/Qwen3-0.6B";

/** A file of more rows than can be imported in a moment. */
async function manyRows(path) {
  const file = createWriteStream(path);
  const filler = "what a person might ask about their order ".repeat(10);
  for (let part = 0; part < 200; part++) {
    const rows = Array.from({ length: 400 }, (_, row) => `{"prompt":"${part}/${row} ${filler}","completion":"${row}"}\n`);
    if (!file.write(rows.join(""))) await new Promise((resolve) => file.once("drain", resolve));
  }
  await new Promise((resolve) => file.end(resolve));
  return 200 * 400;
}

/** Lets the page's requests to the hub be answered from here, and tells which files were asked for. */
async function playHub(page, origin) {
  const asked = [];
  const sha = "0123456789abcdef0123456789abcdef01234567";
  // The server of these tests admits its own origin only, in workers too.
  await page.route(`${origin}/**`, async (route) => {
    const response = await route.fetch();
    const { "content-security-policy": _, ...headers } = response.headers();
    await route.fulfill({ response, headers });
  });
  await page.route("https://huggingface.co/**", async (route) => {
    const path = new URL(route.request().url()).pathname;
    const headers = { "Access-Control-Allow-Origin": "*" };
    asked.push(path);
    if (path.endsWith("/revision/main")) return route.fulfill({ headers, json: { sha } });
    const files = readdirSync(paths.model).map((name) => ({ path: name, bytes: readFileSync(join(paths.model, name)) }));
    if (path.endsWith(`/tree/${sha}`)) {
      return route.fulfill({ headers, json: files.map(({ path, bytes }) => ({ type: "file", path, size: bytes.length, oid: path })) });
    }
    const file = files.find((file) => path.endsWith(`/resolve/${sha}/${file.path}`));
    return route.fulfill(file ? { headers, body: file.bytes } : { headers, status: 404 });
  });
  return asked;
}

/** Runs in a page before its scripts: a system under the highest pressure. */
function playPressure() {
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
}

test("a run rests under the pressure of its own processor only if the person chose so", async (t) => {
  const { page, server } = await openVisit(t, { patience: PATIENCE_MILLIS, as: person });
  await page.addInitScript(playPressure);
  const start = async () => {
    await page.getByLabel("Rows a step").fill("1");
    await page.getByLabel("Steps").fill("3");
    await page.getByRole("button", { name: "Start fine-tuning" }).click();
  };
  const status = (text) => page.locator("#status").filter({ hasText: text }).waitFor();
  const open = async () => {
    await page.goto(`${server.origin}/`);
    await page.getByText("Settings", { exact: true }).click();
  };
  await open();
  await start();
  await status("Done: 3 steps.");
  await open();
  await page.getByText("When to rest", { exact: true }).click();
  await page.getByLabel("Rest at system pressure").selectOption("serious");
  await start();
  await status("Resting because the system is under critical pressure.");
});

/** The page in a Chromium of its own, and how a person uses it. */
async function openStudio(t, device) {
  const { page, ...visit } = await openVisit(t, { device, patience: PATIENCE_MILLIS, as: person });
  const { server, button } = visit;
  const folder = mkdtempSync(join(tmpdir(), "tabtune-rows-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const open = async () => {
    // What was chosen at the visit before is the matter of other tests.
    await page.evaluate(() => ["settings", "model", "draft:way"].forEach((name) => localStorage.removeItem(`tabtune:${name}`)));
    await page.goto(`${server.origin}/`);
    await page.getByText("Settings", { exact: true }).click();
    await page.getByText("When to rest", { exact: true }).click();
    // Where the processor plays the GPU it is under pressure.
    await page.getByLabel("Never: go on whatever happens").check();
  };
  /** Chooses what computes. */
  const runsOn = (word) => page.getByRole("radiogroup", { name: "Runs on" }).getByText(word, { exact: true }).click();
  /** Chooses a word of the switch in that part of the form. */
  const choose = (part, word) => page.getByRole("group", { name: part }).getByText(word, { exact: true }).click();
  const chooseRows = (word) => choose("Rows to learn from", word);
  /** Picks a file of that content, or the one of that name in the folder. */
  const pick = async (name, content) => {
    await chooseRows("Files");
    const file = content === undefined ? join(folder, name) : { name, mimeType: "", buffer: Buffer.from(content) };
    await page.locator("#rows").setInputFiles(file);
    await page.locator("#rows-name").filter({ hasText: name }).waitFor();
    await page.locator("#own").waitFor();
  };
  const report = (pattern) => page.locator("#import-report").filter({ hasText: pattern }).waitFor();
  const setSteps = async (count) => {
    await page.getByLabel("Rows a step").fill("1");
    await page.getByLabel("Steps").fill(String(count));
  };
  /** Goes where the page says so. */
  const status = (pattern) => page.locator("#status").filter({ hasText: pattern }).waitFor();
  /** The zip that a button named so gives. */
  const downloaded = async (name) => {
    const [file] = await Promise.all([page.waitForEvent("download"), button(name).click()]);
    return { name: file.suggestedFilename(), bytes: readFileSync(await file.path()) };
  };
  const download = async () => unzipSync(new Uint8Array((await downloaded("Download")).bytes));
  /** The entry of that name in the list of what was learnt. */
  const learnt = (name) => page.locator("#library-list > li:is([data-kind=run], [data-kind=adapter])").filter({ has: page.locator(".item-name").getByText(name, { exact: true }) });

  return { ...visit, page, folder, open, runsOn, choose, chooseRows, pick, report, setSteps, status, downloaded, download, learnt };
}

test("the page by WebGPU", async (t) => {
  const { page, server, requests, complaints, open, runsOn, button, setSteps, status, downloaded, download, idle, learnt, answers } = await openStudio(t, "webgpu");

  await t.test("trains the bundled model, answers before and after, and gives the adapter", async () => {
    await open();
    await runsOn("GPU");
    await setSteps(8);
    await page.evaluate(() => {
      globalThis.longest_pause = 0;
      let last = performance.now();
      setInterval(() => {
        const now = performance.now();
        globalThis.longest_pause = Math.max(globalThis.longest_pause, now - last);
        last = now;
      }, 10);
    });
    const start = button("Start fine-tuning");
    const { y, height } = await start.boundingBox();
    assert.ok(y + height <= page.viewportSize().height, "in sight with all settings open");
    await start.click();
    await page.locator("#stop:focus").waitFor();
    assert.ok(await page.getByLabel("Steps").isDisabled(), "what was ordered stays as it is");
    await status(/^Step \d+ of 8$/);
    const seen = requests.length;
    assert.ok(await button("Stop").isVisible());
    await page.getByText(/^This run takes [\d.]+ MB of GPU memory\.$/).waitFor();
    await status(/^Step [567] of 8$/);
    // The package asks for nothing while it trains; the page shows its progress by an icon, and may look at what it keeps.
    const own = new RegExp(`^${server.origin}/(icon-\\d\\.svg|assets/[\\w.-]+)$`);
    assert.deepEqual(requests.slice(seen).filter((url) => !own.test(url)), [], "no other request while training");
    await status(/^Done: 8 steps\.$/);
    assert.ok(Number(await page.locator("#loss").innerText()) > 0);
    assert.ok(Number(await page.locator("#heldout-loss").innerText()) > 0);
    assert.match(await page.locator("#memory").innerText(), /[MG]B$/);
    assert.ok(await page.locator("#chart canvas").isVisible());

    assert.match(await page.locator("#chart").getAttribute("aria-label"), /^Loss by step: [\d.]+ at step 1, .* at step 8\. Held-out loss/);

    const ask = page.locator("#ask-begin");
    await idle();
    await page.locator("#start:focus").waitFor();
    assert.notEqual(await page.locator("#answer-base").innerText(), "");
    const unasked = await page.locator("#answer-tuned").innerText();
    assert.notEqual(unasked, "");
    await page.getByRole("textbox", { name: "Question", exact: true }).fill("Does my data leave the browser?");
    await ask.click();
    await idle();
    assert.notEqual(await page.locator("#answer-base").innerText(), "");

    await page.getByText(/^Nothing is cut off: the longest row has \d+ tokens, and up to 128 tokens are kept\.$/).waitFor();
    assert.ok(await page.getByRole("img", { name: /^How long the rows are/ }).locator("canvas").isVisible());
    const [row] = await page.getByRole("article").filter({ hasText: "faq.jsonl line 1" }).all();
    assert.equal(await row.locator(".special").first().innerText(), "<|im_start|>");
    assert.match(await row.locator(".unlearnt:not(.special)").allInnerTexts().then((all) => all.join("")), /What is tabtune\?/);
    assert.match(await row.locator(".learnt:not(.special)").allInnerTexts().then((all) => all.join("")), /^tabtune is a program/);

    const zip = await downloaded("Download");
    assert.equal(zip.name, "Bundled-FAQ.zip");
    const files = unzipSync(new Uint8Array(zip.bytes));
    assert.deepEqual(Object.keys(files).sort(), ["adapter_config.json", "adapter_model.safetensors"]);
    assert.equal(JSON.parse(new TextDecoder().decode(files["adapter_config.json"])).peft_type, "LORA");
    const longest = await page.evaluate(() => globalThis.longest_pause);
    assert.ok(longest < LONGEST_PAUSE_MILLIS, `the page was deaf for ${longest} ms`);

    // The next day, from what the browser keeps.
    await page.evaluate(() => localStorage.setItem("tabtune:run:damaged", "{"));
    await open();
    await learnt("Bundled FAQ").filter({ hasText: /8 steps.*Learnt from the example rows, on the bundled model/ }).waitFor();
    await button("Open Bundled FAQ").click();
    await status("“Bundled FAQ” is open.");
    await idle();
    assert.equal(await page.locator("#answer-tuned").innerText(), unasked);
    assert.match(await page.locator("#device-found").innerText(), /^Computed by .*, which the processor plays\.$/, "what was chosen is kept");
    assert.deepEqual(await download(), files);
    await button("Delete Bundled FAQ").click();
    await learnt("Bundled FAQ").waitFor({ state: "detached" });
    assert.ok(await button("Download").isDisabled());

    // A friend, from the file.
    await page.locator("#adapter-files").setInputFiles({ name: "gift.zip", mimeType: "", buffer: zipped({ "notes.txt": new Uint8Array(1) }) });
    await page.locator("#error-hint").filter({ hasText: /^That is no adapter: choose a zip file/ }).waitFor();
    await page.locator("#adapter-files").setInputFiles({ name: "gift.zip", mimeType: "", buffer: zip.bytes });
    await status("“gift” is open.");
    await idle();
    assert.equal(await page.locator("#answer-tuned").innerText(), unasked);
    await button("Rename gift").click();
    await page.getByLabel("Name of gift").fill("From Lena");
    await page.keyboard.press("Enter");
    await learnt("From Lena").filter({ hasText: "open" }).waitFor();
    assert.deepEqual(unzipSync(new Uint8Array((await downloaded("Download From Lena")).bytes)), files);
  });

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
    await page.getByRole("button", { name: /^Go on from step/ }).click();
    await status(/^Step \d+ of 5000$/);
    assert.match(answers.asked.at(-1), /^This run began on another kind of device/);
    await button("Stop").click();
    await status(/^Stopped after \d+ steps\.$/);
    await idle();
  });

  assert.deepEqual(complaints, []);
});

test("the page on the processor", async (t) => {
  const studio = await openStudio(t, "cpu");
  const { page, server, requests, complaints, tooWide, folder, open, choose, chooseRows, button, pick, report, setSteps, status, downloaded, download, idle, learnt } = studio;

  await t.test("trains the bundled model and rows of one's own, answers, and knows what was learnt the next day", async (t) => {
    const { held_out, computes } = await checkPage(page, server.origin, { steps: 8 });
    t.diagnostic(`held-out loss ${held_out}; ${computes}`);
  });

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
    await status(/^Step ([3-9]|\d{2,}) of 5000$/);
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

    await open();
    await learnt(/^Bundled FAQ/).filter({ hasText: /\d+ of 5,000 steps/ }).waitFor();
    const go_on = page.getByRole("button", { name: /^Go on from step/ });
    const step = Number(/\d+/.exec(await go_on.innerText())[0]);
    await go_on.click();
    await status(/^Step \d+ of 5000$/);
    await happened(/Taken up again/);
    assert.ok(Number(/\d+/.exec(await page.locator("#status").innerText())[0]) > step);
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
    const workers = page.workers();
    // Workers are told of in the order of their beginning, and those of the kernels are the engine's first work.
    const engine = workers[workers.findIndex((worker) => worker.url().includes("kernel")) - 1];
    engine.evaluate(() => {
      for (;;);
    }).catch(() => {});
    await button("Stop").click();
    await status(/^Finishing step \d+…$/);
    await status(/^The engine did not answer, so it was ended\. What it had learnt until step \d+ is saved/);
    await page.getByRole("button", { name: /^Go on from step/ }).first().click();
    await status(/^Step \d+ of 5000$/);
    await button("Stop").click();
    await status(/^Stopped after \d+ steps\.$/);
    await idle();
  });

  await t.test("takes a model folder and a table whose columns the person names", async () => {
    await open();
    await choose("Model", "Files");
    await page.locator("#folder").setInputFiles(paths.model);
    const sums = Array.from({ length: 9 }, (_, a) => `${a} und ${a}?;${a + a} für alle.;Rechnen\n`);
    const table = `Frage;Antwort;Thema\n${"Zwei und zwei?;Vier für alle.;Rechnen\n".repeat(4)}${sums.join("")}`;
    await pick("fragen.csv", Buffer.from(table, "latin1"));
    await page.getByLabel("What the column Frage is").and(page.locator(":focus")).waitFor();
    await page.locator("#look-note").getByText("Say which column is the question and which is the answer.").waitFor();
    assert.ok(await button("Start fine-tuning").isDisabled());
    await page.getByLabel("What the column Frage is").selectOption("question");
    await page.getByLabel("What the column Antwort is").selectOption("answer");
    await page.locator("#found").filter({ hasText: "CSV · questions and answers" }).waitFor();
    assert.match(await page.locator("#first-rows .row-card").first().innerText(), /Zwei und zwei\?\s+.*\s+Vier für alle\./);
    await page.locator("#look-note").getByText("Say whether the letters of the rows are right.").waitFor();
    assert.ok(await button("Start fine-tuning").isDisabled());
    await button("Yes, read it as Windows-1252").click();
    await page.waitForFunction(() => !document.querySelector("#start").disabled);
    assert.equal(await page.getByLabel("What the column Antwort is").inputValue(), "answer", "what was said of the columns holds");
    await page.getByLabel("Leave out rows that occur twice").check();
    await setSteps(2);
    await page.getByLabel("Held-out share, %").fill("40");
    await button("Start fine-tuning").click();
    await report("10 rows kept · 3 rows left out that occurred twice.");
    await status(/^Done: 2 steps\.$/);
    assert.match(await page.locator("#report").innerText(), /^10 rows · .* · [1-9] rows? held out$/);
    assert.ok(Number(await page.locator("#heldout-loss").innerText()) > 0);
    assert.equal(await page.getByRole("textbox", { name: "Question", exact: true }).inputValue(), "Zwei und zwei?", "the first of the rows is asked");
    const [row] = await page.getByRole("article").filter({ hasText: "fragen.csv line" }).all();
    assert.equal(await row.locator(".special").first().innerText(), "<|im_start|>", "a pair is a chat");
    assert.equal(await row.locator(".learnt:not(.special)").allInnerTexts().then((all) => all.join("").trim()), "Vier für alle.");
    await idle();

    await button("Start fine-tuning").click();
    await status(/^Done: 2 steps\.$/);
    await idle();
    await learnt("fragen.csv (2)").filter({ hasText: "open" }).waitFor();
    assert.ok(await button("Open fragen.csv").isVisible(), "a run takes the place of no other");
    await chooseRows("Kept here");
    await button("Delete fragen.csv").first().click();
    await page.getByRole("radio", { name: "fragen.csv" }).waitFor({ state: "detached" });
    assert.ok(await page.locator("#error").isHidden());
    assert.ok(await button("Open fragen.csv").isVisible(), "what was learnt stays without its rows");
  });

  await t.test("saves what was learnt for other programs, and opens the GGUF again as a model", async () => {
    const menu = page.getByLabel("For other programs");
    const state = (pattern) => page.locator("#export-state").filter({ hasText: pattern }).waitFor();
    /** Chooses the form of those words, and saves. */
    const save = async (words) => {
      const form = (await menu.locator("option").allInnerTexts()).find((text) => text.startsWith(words));
      await menu.selectOption(form);
      await button("Save…").click();
    };
    /** The downloads that come of it, by name. */
    const downloads = async (words, count) => {
      const [begun, collect] = [[], (download) => begun.push(download)];
      page.on("download", collect);
      await save(words);
      await state(/^Saved [\d.]+ [kM]B among your downloads: .*, Modelfile\.$/);
      while (begun.length < count) await page.waitForEvent("download");
      page.off("download", collect);
      const files = await Promise.all(begun.map(async (download) => [download.suggestedFilename(), readFileSync(await download.path())]));
      return Object.fromEntries(files);
    };
    /** A browser whose person picks a folder, or turns that down, or that has no such dialog. */
    const picking = (how) =>
      page.evaluate((how) => {
        const turnDown = () => Promise.reject(new DOMException("none", "AbortError"));
        const dialogs = { folder: () => navigator.storage.getDirectory(), none: turnDown };
        globalThis.showDirectoryPicker = dialogs[how];
      }, how);
    const tensorsOf = (gguf) => [gguf.toString("latin1", 0, 4), Number(gguf.readBigUInt64LE(8))];

    const sizes = (await menu.locator("option").allInnerTexts()).map((text) => /[\d.]+ MB$/.exec(text)?.[0]);
    assert.deepEqual(sizes, ["2.9 MB", "5.5 MB", "5.5 MB", undefined]);
    await picking("nothing that there is");
    const merged = await downloads("Ollama, 8 bits", 2);
    assert.deepEqual(Object.keys(merged).sort(), ["Modelfile", "fragen-2-Q8_0.gguf"]);
    const gguf = merged["fragen-2-Q8_0.gguf"];
    assert.deepEqual(tensorsOf(gguf), ["GGUF", 56]);
    assert.ok(Math.abs(gguf.length - 2.9e6) < 0.1 * 2.9e6, "as large as the menu said");
    assert.match(merged.Modelfile.toString(), /^FROM \.\/fragen-2-Q8_0\.gguf\nTEMPLATE /);
    const lora = await downloads("LoRA for llama.cpp", 2);
    // A and B of seven products of six layers.
    assert.deepEqual(tensorsOf(lora["fragen-2-LoRA.gguf"]), ["GGUF", 2 * 7 * 6]);

    await picking("none");
    await save("transformers");
    await idle();
    assert.equal(await page.locator("#export-state").innerText(), "", "who picks no folder saves nothing");
    await picking("folder");
    await page.evaluate(() => {
      document.querySelector("#export").click();
      document.querySelector("#export-stop").click();
    });
    await state("Stopped. Nothing was saved.");
    await idle();
    await save("transformers");
    await state(/^Saved 5\.\d MB in the folder “fragen-2-BF16”: model\.safetensors, /);
    const folder = await page.evaluate(async () => {
      const folder = await (await navigator.storage.getDirectory()).getDirectoryHandle("fragen-2-BF16");
      const files = await Array.fromAsync(folder.values(), (handle) => handle.getFile());
      const weights = files.find(({ name }) => name === "model.safetensors").slice(0, 1 << 16);
      return { names: files.map(({ name }) => name).sort(), weights: Array.from(new Uint8Array(await weights.arrayBuffer())) };
    });
    assert.deepEqual(folder.names, ["config.json", "generation_config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"]);
    const header = Object.values(parseSafetensors(Uint8Array.from(folder.weights)));
    assert.deepEqual([header.length, new Set(header.map(({ dtype }) => dtype))], [56, new Set(["BF16"])]);

    await page.locator("#gguf").setInputFiles({ name: "mine.gguf", mimeType: "", buffer: gguf });
    await page.locator("#folder-name").filter({ hasText: "mine.gguf" }).waitFor();
    await chooseRows("Example rows");
    await page.locator("#estimate-sum").filter({ hasText: /^A run takes up to [\d.]+ MB of memory/ }).waitFor();
    await button("Start fine-tuning").click();
    await status(/^Done: 2 steps\.$/);
    await idle();
    assert.equal(await page.locator("#export-state").innerText(), "", "what was said of another adapter is gone");
    assert.ok(Number(await page.locator("#heldout-loss").innerText()) < 7.2, "less than the 7.6 of one who knows nothing of 2,048 tokens");
  });

  await t.test("trains all weights, which come out as a model, and opens that again", async () => {
    await open();
    const part = (name) => page.locator("#estimate li").filter({ hasText: new RegExp(`^${name} [\\d.]+ MB$`) });
    await part("Adapter").waitFor();
    await page.getByRole("radiogroup", { name: "What is trained" }).getByText("All weights", { exact: true }).click();
    for (const label of ["LoRA rank", "Keep the model in"]) assert.ok(await page.getByLabel(label).isHidden(), label);
    assert.equal(await page.getByLabel("Learning rate").inputValue(), "0.0007");
    await part("Weights that learn").waitFor();
    // What the model says changes in three steps if they are long ones.
    await page.getByLabel("Learning rate").fill("0.03");
    await setSteps(3);
    await button("Start fine-tuning").click();
    await status(/^Done: 3 steps\.$/);
    await idle();
    const tuned = await page.locator("#answer-tuned").innerText();
    assert.notEqual(tuned, await page.locator("#answer-base").innerText());
    assert.ok(await page.getByRole("heading", { name: "Model", exact: true }).isVisible());
    assert.ok(await button("Download").isHidden(), "there is no adapter");
    const forms = await page.getByLabel("For other programs").locator("option").allInnerTexts();
    assert.deepEqual(forms.map((text) => text.split(" · ")[0]), ["Ollama, 8 bits", "Ollama, 16 bits", "transformers, 16 bits"]);
    await page.evaluate(() => (globalThis.showDirectoryPicker = () => navigator.storage.getDirectory()));
    await button("Save…").click();
    await page.locator("#export-state").filter({ hasText: /^Saved [\d.]+ MB in the folder “Bundled-FAQ(-\d+)?-Q8_0”: .*\.gguf, Modelfile\.$/ }).waitFor();
    await idle();

    await open();
    const kept = page.locator("#library-list > li[data-kind=run]").filter({ hasText: /all weights · 3 steps/ });
    await kept.getByRole("button", { name: /^Open/ }).click();
    await status(/^Done: 3 steps\.$/);
    await idle();
    assert.equal(await page.locator("#answer-tuned").innerText(), tuned);
    await kept.getByRole("button", { name: /^Delete/ }).click();
    await kept.waitFor({ state: "detached" });
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
    await page.getByLabel("Rows a step").fill("4");
    await page.getByLabel("Steps").fill("30");
    await page.getByLabel("Keep the best").check();
    await button("Start fine-tuning").click();
    await status(/^(Done: 30 steps|Ended after \d+ of 30 steps: the held-out rows got no better)\. The model is as it was after step \d+, where it did best on the held-out rows\.$/);
    assert.match(await page.locator("#events").innerText(), /Went back to the best: the least held-out loss was \d/);
    await idle();

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

  await t.test("looks at rows without training, and says what is cut off", async () => {
    await open();
    await pick("rows.jsonl.gz", gzipSync('{"prompt":"Two and two?","completion":" Four."}\n'.repeat(9)));
    await page.locator("#found").filter({ hasText: "JSON Lines · questions and answers" }).waitFor();
    await page.getByLabel("Longest row").fill("16");
    await page.getByLabel("Pack short rows together").check();
    await button("See them as the model does").click();
    await page.getByText(/^9 rows are longer than 16 tokens; \d+ tokens are cut off\.$/).waitFor();
    assert.equal(await page.getByRole("article").filter({ hasText: "rows.jsonl.gz line" }).count(), 3);
    await button("Show more of them").click();
    await page.getByText("rows.jsonl.gz line 6").waitFor();
    const marks = page.locator(".seen-row").first().locator(".special").filter({ hasText: "<|im_start|>" });
    assert.notEqual(await marks.count(), 0, "what is called prompt and completion is a chat here too");
    await page.getByText("How the rows are read").click();
    await page.getByLabel("The model learns them").selectOption("as plain text");
    await page.waitForFunction(() => !document.querySelector("#look").disabled);
    await button("See them as the model does").click();
    await marks.first().waitFor({ state: "detached" });
    assert.equal(await page.locator("#loss").innerText(), "–", "nothing was trained");
  });

  await t.test("stops at a bad row, with its place and a code, or leaves it out", async () => {
    await open();
    await chooseRows("Files");
    await button("Start fine-tuning").click();
    await page.locator("#error-hint").filter({ hasText: "Choose a file with your rows first." }).waitFor();
    await pick("broken.jsonl", '{"text":"fine"}\n{"text":\n{"text":"good"}\n');
    await page.getByText("broken.jsonl, line 2").waitFor();
    await button("Import").click();
    await page.locator("#error-code").filter({ hasText: "bad-data" }).waitFor();
    assert.match(await page.locator("#error-message").innerText(), /broken\.jsonl.*line 2\b/s);
    await chooseRows("Kept here");
    await page.getByRole("radio", { name: "rows.jsonl.gz" }).waitFor();
    assert.equal(await page.getByRole("radio", { name: "broken.jsonl" }).count(), 0, "nothing stays of what was refused");
    assert.ok(await page.locator("#error").isHidden(), "an error goes with the next change");
    await chooseRows("Files");
    assert.ok(await button("Start fine-tuning").isEnabled());
    await page.getByRole("radio", { name: "Leave it out" }).check();
    await button("Import").click();
    await report("2 rows kept · 1 bad row left out.");
    assert.ok(await page.locator("#error").isHidden());

    // A file that cannot even be looked at does not leave the one before it in its place.
    await page.locator("#rows").setInputFiles({ name: "cut.parquet", mimeType: "", buffer: Buffer.from("PAR1") });
    await page.locator("#error-message").filter({ hasText: "cut.parquet" }).waitFor();
    await button("See them as the model does").click();
    await page.locator("#error-hint").filter({ hasText: "This file cannot be read. Choose another one." }).waitFor();
    assert.ok(await page.locator("#look-card").isHidden());

    await page.locator("#heldout").setInputFiles({ name: "held.csv", mimeType: "", buffer: Buffer.from("a;b") });
    await page.locator("#heldout-name").filter({ hasText: "held.csv" }).waitFor();
    await button("Remove the held-out rows").click();
    await page.locator("#heldout-name").filter({ hasText: "Held-out rows" }).waitFor();
  });

  await t.test("takes a folder of files of several formats", async () => {
    const mine = mkdtempSync(join(folder, "mine-"));
    writeFileSync(join(mine, "a.md"), "# One\n\nA text.\n");
    writeFileSync(join(mine, "b.tsv"), "question\tanswer\nWho?\tMe.\n");
    writeFileSync(join(mine, "c.bin"), "nothing of interest");
    await open();
    await chooseRows("Files");
    await page.locator("#rows-folder").setInputFiles(mine);
    await page.getByText(/^First of the files: mine-\w+\/a\.md\. The text is cut into rows at blank lines\.$/).waitFor();
    await page.locator("#found").filter({ hasText: "Markdown · plain text" }).waitFor();
    await button("Import").click();
    await report("2 rows kept.");
  });

  await t.test("learns preferences of rows that are pairs, and says what does not go together", async () => {
    const from = page.getByRole("radiogroup", { name: "What it learns from" });
    const rate = () => page.getByLabel("Learning rate").inputValue();
    await open();
    await pick("pairs.json", '[{"prompt":"a","chosen":"b","rejected":"c"}]');
    await page.getByText("These are preferences: the model learns which answers are liked.").waitFor();
    await from.getByRole("radio", { name: "Preferences", exact: true }).and(page.locator(":checked")).waitFor();
    assert.equal(await rate(), "0.0007");
    await page.getByText("How preferences count", { exact: true }).click();
    assert.equal(await page.getByLabel("Beta").inputValue(), "0.1");
    await page.getByRole("radiogroup", { name: "How preferences count" }).getByText("SimPO").click();
    assert.equal(await page.getByLabel("Beta").inputValue(), "2");
    await from.getByText("Examples").click();
    await page.getByText("The chosen rows are pairs of answers.").waitFor();
    assert.ok(await button("Start fine-tuning").isDisabled());
    assert.equal(await rate(), "0.007");
    await button("Import").click();
    await report("1 row kept.");

    await chooseRows("Kept here");
    await page.getByRole("radio", { name: "pairs.json" }).check();
    // Rows of the same kind leave a way to learn alone that the person has chosen, as others before them may not.
    await from.getByText("Preferences").click();
    await page.waitForFunction(() => !document.querySelector("#start").disabled);
    await chooseRows("Example rows");
    await from.getByRole("radio", { name: "Examples", exact: true }).and(page.locator(":checked")).waitFor();
    await from.getByText("Preferences").click();
    await page.getByText(/^Preferences are learnt from pairs or ratings/).waitFor();
    assert.ok(await button("Start fine-tuning").isDisabled());
  });

  await t.test("cancels an import and goes on with it after a reload; keeps what was imported", async () => {
    const rows = (await manyRows(join(folder, "many.jsonl"))).toLocaleString("en");
    await open();
    await pick("many.jsonl");
    await button("Import").click();
    await page.locator("#import-state").filter({ hasText: /^[1-9][\d,]* rows · \d+ % · .* left$/ }).waitFor();
    await button("Cancel the import").click();
    await button("Resume the import").waitFor();
    assert.ok(await page.locator("#error").isHidden());

    await open();
    await chooseRows("Kept here");
    await page.locator("#kept").getByText(/interrupted after [\d,]+ rows: choose its file again to go on/).waitFor();
    await pick("many.jsonl");
    await page.getByText(/An import of these rows was interrupted\. [\d,]+ rows of it are stored/).waitFor();
    await button("Resume the import").click();
    await report(`${rows} rows kept.`);

    await open();
    await chooseRows("Kept here");
    await page.locator("#kept").getByText(new RegExp(`^${rows} rows · [\\d.]+ MB$`)).waitFor();
    await button("Delete many.jsonl").click();
    await page.getByRole("radio", { name: "many.jsonl" }).waitFor({ state: "detached" });
    await page.getByRole("radio", { name: "broken.jsonl" }).check();
    await button("See them as the model does").click();
    await page.getByText("broken.jsonl · 2 rows").waitFor();
    await page.getByText("broken.jsonl line 3").waitFor();
  });

  await t.test("takes a model from the hub", async () => {
    const asked = await playHub(page, server.origin);
    await open();
    await choose("Model", "Hub");
    await button("See them as the model does").click();
    const missing = "Choose a model from the list, or write its name";
    for (const id of ["error-hint", "status"]) await page.locator(`#${id}`).filter({ hasText: missing }).waitFor({ state: "attached" });
    await page.getByRole("radio", { name: /^Qwen3 0\.6B/ }).check();
    assert.equal(await page.getByLabel("Model on Hugging Face").inputValue(), LISTED_ID);
    await page.getByLabel("Model on Hugging Face").fill(HUB_ID);
    assert.equal(await page.locator("#listed :checked").count(), 0, "a model that is not listed");
    await page.getByLabel("Model on Hugging Face").press("Enter");
    await page.getByText(/^A run takes up to [\d.]+ [MG]B of memory with the longest rows\.$/).waitFor();
    assert.ok(await button("Stop").isHidden(), "Enter begins no run");
    const parts = (await page.locator("#estimate li").allInnerTexts()).map((text) => text.split(/ \d/)[0]);
    assert.deepEqual(parts, ["Model", "Adapter", "Working space", "Other"]);
    await button("See them as the model does").click();
    await page.locator("#look-about").filter({ hasText: "Bundled FAQ · " }).waitFor();
    assert.ok(asked.some((path) => path.endsWith("/model.safetensors")));
    assert.ok(asked.every((path) => path.includes(HUB_ID) || path.includes(LISTED_ID)), "nothing else is asked of the hub");
    await button(`Delete ${HUB_ID}`).click();
    await page.locator("#library-list > li[data-kind=model]").waitFor({ state: "detached" });
    await page.unrouteAll({ behavior: "wait" });
  });

  await t.test("asks the model before any training", async () => {
    await open();
    await page.locator("#ask-begin").click();
    await page.waitForFunction(() => !document.querySelector("#ask-begin").disabled);
    assert.notEqual(await page.locator("#answer-base").innerText(), "The model as it came.");
  });

  const said = (text) => page.locator("#picked-count").filter({ hasText: text }).waitFor();
  const say = async (text) => {
    await page.getByRole("textbox", { name: "Message", exact: true }).fill(text);
    await page.keyboard.press("Enter");
    await page.waitForFunction(() => document.querySelector("#message").value === "" && !document.querySelector("#send").disabled);
  };
  /** What is drawn is the same each time. */
  const drawTheSame = () =>
    page.evaluate(() => {
      let drawn = 1;
      Math.random = () => (drawn = (drawn * 48271) % 2147483647) / 2147483647;
    });

  await t.test("is taught by picking: two answers, a thumb, an edit, and all of it as rows", async () => {
    await drawTheSame();
    await say("What is a GPU?");
    const first = await page.locator(".turn.assistant .answer").innerText();
    const good = page.getByRole("button", { name: "Good answer" });
    await good.press("Enter");
    await said("1 rated");
    assert.equal(await good.getAttribute("aria-pressed"), "true");

    await page.getByLabel("Two answers").check();
    await say("Does my data leave the browser?");
    const answers = await page.locator(".answer-pair .answer").allInnerTexts();
    assert.equal(new Set(answers).size, 2, answers.join(" / "));
    await button("This one (Answer B)").press("Enter");
    await said("1 picked");
    await page.locator("#message:focus").waitFor();
    assert.equal(await page.locator(".turn.assistant .answer").last().innerText(), answers[1]);
    await button("Undo the last pick").click();
    await button("This one (Answer A)").click();
    await said("1 picked");
    await button("Edit").click();
    await page.getByRole("textbox", { name: "The answer as you would have it" }).fill("No, it stays here.");
    await button("Save the answer").click();
    await said("2 picked");

    await page.getByText("What you picked", { exact: true }).click();
    await button("Look (pairs)").click();
    await page.locator("#picked-cards .row-card").first().filter({ hasText: /Better answer\s*No, it stays here\./ }).waitFor();
    const file = await downloaded("Export (pairs)");
    assert.equal(file.name, "picks.jsonl");
    const message = (role, content) => ({ role, content });
    const prompt = [message("user", "What is a GPU?"), message("assistant", first), message("user", "Does my data leave the browser?")];
    assert.deepEqual(file.bytes.toString().trimEnd().split("\n").map((line) => JSON.parse(line)), [
      { prompt, chosen: [message("assistant", answers[0])], rejected: [message("assistant", answers[1])] },
      { prompt, chosen: [message("assistant", "No, it stays here.")], rejected: [message("assistant", answers[0])] },
    ]);

    await button("Learn from them (pairs)").click();
    await page.getByRole("radio", { name: "picks" }).and(page.locator(":checked")).waitFor();
    await page.getByRole("radio", { name: "Preferences", exact: true }).and(page.locator(":checked")).waitFor();
    assert.equal((await downloaded("Export picks")).bytes.toString(), file.bytes.toString(), "as any other dataset");
  });

  const storiesOf = (heroes) => heroes.map((hero) => `Tell me a story about ${hero}.`);
  /** Presses what is under the better of two answers, or the button of that name where neither is. */
  const judge = async (place, likes, neither) => {
    const [a, b] = (await page.locator(`${place} .answer`).allInnerTexts()).map(likes);
    await button(a === b ? neither : a ? "This one (Answer A)" : "This one (Answer B)").click();
    return a !== b;
  };

  await t.test("learns a taste from ten picks, which wins where it was not picked on, unseen", async (t) => {
    const likes = (story) => /storm/.test(story);
    await open();
    await drawTheSame();
    await page.getByLabel("Two answers").check();
    await page.getByText("What you picked", { exact: true }).click();
    await page.getByLabel("Pairs are kept as").fill("stories with a storm");
    await page.getByLabel("Pairs are kept as").press("Enter");
    await page.locator("#picked-sets").getByText("none yet").first().waitFor();
    const heroes = ["a cat", "a dog", "a fox", "a horse", "a bear", "a mouse", "Anna", "Ben", "Lily", "Omar"];
    let [picked, asked] = [0, 0];
    while (picked < 10) {
      assert.ok(asked < 80, `${picked} picks of ${asked} pairs of answers`);
      await say(storiesOf(heroes)[asked++ % heroes.length]);
      if (!(await judge(".answer-pair", likes, "Neither"))) continue;
      await said(`${++picked} picked`);
      await button("New chat").click();
    }
    await button("Learn from them (pairs)").click();
    await page.getByRole("radio", { name: "stories with a storm" }).and(page.locator(":checked")).waitFor();
    assert.ok(await page.locator("#toy-note").isHidden(), "its own answers are what the toy can learn from");
    // Some words are gone sooner than they could be waited for.
    await page.evaluate(() => {
      const status = document.querySelector("#status");
      globalThis.statuses = [];
      new MutationObserver(() => globalThis.statuses.push(status.textContent)).observe(status, { childList: true });
    });
    const began = performance.now();
    await button("Start fine-tuning").click();
    await status(/^Done: 80 steps\.$/);
    await idle();
    const statuses = await page.evaluate(() => globalThis.statuses);
    assert.ok(statuses.some((text) => /^Asking the model as it was how likely it finds each answer: \d+, /.test(text)), statuses.slice(0, 20).join("\n"));
    const seconds = ((performance.now() - began) / 1000).toFixed(0);
    assert.equal(await page.locator("#report").innerText().then((text) => text.replace(/[\d,]+ tokens/, "tokens")), "10 rows · tokens · 80 steps");
    assert.ok(await page.locator("#rewards canvas").isVisible());
    const rewards = await page.locator("#rewards").getAttribute("aria-label");
    assert.match(rewards, /^Margin by step: 0\.000 at step 1, .* [1-9]\.\d+ at step 80\. Share in your order by step: .* 1\.000 at step 80\.$/);
    await page.locator("#samples th").filter({ hasText: "Step 80" }).waitFor();
    await page.locator("#events li").filter({ hasText: /step 40\s*Answered 1 prompt\./ }).waitFor();
    const looks = page.locator("#seen-rows article").first();
    assert.match(await looks.innerText(), /Row 1, the better answer.*\d+ learnt.*storm.*Row 1, the worse answer.*\d+ avoided/s);

    const unseen = ["an owl", "a rabbit", "a bird", "Tom", "Emma", "Max", "Leo", "a sheep", "Hugo", "Nora"];
    await page.getByLabel("What to ask, one a line, ten at most").fill(storiesOf(unseen).join("\n"));
    await button("Begin the blind test").click();
    const judging = page.locator("#blind-judging");
    await page.locator("#blind-judging:not([hidden]), #blind-result:not([hidden])").waitFor();
    while (await judging.isVisible()) await judge("#blind-pair", likes, "No difference");
    const counted = await page.locator("#blind-counted").innerText();
    const [, won, of] = /^The answers after won (\d+) of (\d+), which is \d+ % \(95 % interval: \d+ to \d+ %\)\.( No difference in \d+\.)?$/.exec(counted);
    assert.ok(of >= 6 && won >= 0.8 * of, counted);
    assert.equal(await page.locator("#blind-verdict").innerText(), "Better, on questions like these.");
    t.diagnostic(`10 picks of ${asked} pairs of answers, 80 steps in ${seconds} s: ${counted}`);

    // What it knew is still there.
    await page.getByRole("textbox", { name: "Question", exact: true }).fill("What is a lake?");
    await page.locator("#ask-begin").click();
    await idle();
    assert.equal(await page.locator("#answer-tuned").innerText(), await page.locator("#answer-base").innerText());
  });

  await t.test("learns from thumbs, which keep what they said, by KTO", async () => {
    await open();
    await page.getByText("What you picked", { exact: true }).click();
    await page.getByLabel("Ratings are kept as").fill("thumbs");
    await page.getByLabel("Ratings are kept as").press("Enter");
    await page.locator("#picked-sets").getByText("none yet").first().waitFor();
    const labels = [true, false, false, true];
    for (const [index, story] of storiesOf(["Clara", "a fox", "a dog", "Eva"]).entries()) {
      await say(story);
      await button(labels[index] ? "Good answer" : "Bad answer").click();
      await said(`${index + 1} rated`);
      await button("New chat").click();
    }
    const rows = (await downloaded("Export (ratings)")).bytes.toString().trimEnd().split("\n").map((line) => JSON.parse(line));
    assert.deepEqual(rows.map(({ label }) => label), labels);
    await button("Learn from them (ratings)").click();
    await page.getByRole("radio", { name: "thumbs" }).and(page.locator(":checked")).waitFor();
    await page.locator("[name=method][value=kto]:checked").waitFor({ state: "attached" });
    await page.locator("#estimate-sum").filter({ hasText: /^A run takes up to [\d.]+ MB of memory/ }).waitFor();
    await page.getByLabel("Steps").fill("4");
    await button("Start fine-tuning").click();
    await status(/^Done: 4 steps\.$/);
    await idle();
    const seen = await page.locator("#seen-rows article").allInnerTexts();
    assert.deepEqual(seen.map((text) => /^Row \d, rated \w+\s*\d+ tokens · \d+ (learnt|avoided)/.exec(text)?.[1]), ["learnt", "avoided", "avoided"]);
    assert.match(await page.locator("#rewards").getAttribute("aria-label"), /^Margin by step: 0\.000 at step 1, .* at step 4\.$/);
  });

  await t.test("connects to its own origin and the hub unless a person names another server, and its workers to these alone", async () => {
    await open();
    const policy = await page.locator('meta[http-equiv="Content-Security-Policy"]').getAttribute("content");
    assert.match(policy, /default-src 'self';/);
    assert.match(policy, /connect-src 'self' https:;/);
    assert.ok(!/unsafe-inline|unsafe-eval/.test(policy.replace("'wasm-unsafe-eval'", "")));
    const hub = [HUB_ID, LISTED_ID].flatMap((id) => [`https://huggingface.co/api/models/${id}/`, `https://huggingface.co/${id}/`]);
    const own = [server.origin, "blob:", ...hub];
    assert.ok(requests.every((url) => own.some((start) => url.startsWith(start))), requests.join("\n"));
    const before = complaints.length;
    const refused = await page.evaluate(() => fetch("http://example.com/").then(() => false, () => true));
    assert.ok(refused);
    const { headers } = await fetch(new URL(await page.evaluate(() => performance.getEntriesByType("resource").find(({ name }) => /worker-.*\.js$/.test(name)).name)));
    assert.match(headers.get("content-security-policy"), /connect-src 'self' https:\/\/huggingface\.co https:\/\/\*\.huggingface\.co https:\/\/\*\.hf\.co;/);
    complaints.splice(before);
  });

  await t.test("fits a narrow window", async () => {
    for (const width of [360, 390]) {
      await page.setViewportSize({ width, height: 800 });
      await open();
      assert.equal(await tooWide(), 0, `${width} px`);
    }
  });

  assert.deepEqual(complaints, []);
});
