// Models on the page: from a folder, a GGUF and the hub, with all weights trained, and saved for other programs.
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { unzipSync, zipSync } from "fflate";
import { paths } from "../../tools/lib/paths.mjs";
import { parseSafetensors } from "./safetensors.mjs";
import { openStudio } from "./studio.mjs";

/** A model's name on the hub, whose files are the bundled model's here. */
const HUB_ID = "somebody/small-llama";
const LISTED_ID = "Qwen/Qwen3-0.6B";

/** Lets the page's requests to the hub be answered from here, and tells which files were asked for. */
async function playHub(context) {
  const asked = [];
  const sha = "0123456789abcdef0123456789abcdef01234567";
  await context.route("https://huggingface.co/**", async (route) => {
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

test("models on the page", async (t) => {
  const { page, server, requests, complaints, tooWide, open, choose, chooseRows, button, pick, report, setSteps, status, downloaded, download, idle, learnt } = await openStudio(t);

  await t.test("knows what was learnt the next day, and takes it from a file", async () => {
    await open();
    await setSteps(4);
    const start = button("Start fine-tuning");
    await start.click();
    await page.locator("#stop:focus").waitFor();
    await status(/^Done: 4 steps\.$/);
    await idle();
    await page.locator("#start:focus").waitFor();
    const answer = await page.locator("#answer-tuned").innerText();
    assert.notEqual(answer, "");
    await page.getByRole("textbox", { name: "Question", exact: true }).fill("Does my data leave the browser?");
    await page.locator("#ask-begin").click();
    await idle();
    assert.notEqual(await page.locator("#answer-base").innerText(), "");
    const zip = await downloaded("Download");
    assert.equal(zip.name, "Bundled-FAQ.zip");
    const files = unzipSync(new Uint8Array(zip.bytes));
    assert.deepEqual(Object.keys(files).sort(), ["adapter_config.json", "adapter_model.safetensors"]);
    assert.equal(JSON.parse(new TextDecoder().decode(files["adapter_config.json"])).peft_type, "LORA");

    // The next day, from what the browser keeps.
    await page.evaluate(() => localStorage.setItem("tabtune:run:damaged", "{"));
    await open();
    await learnt("Bundled FAQ").filter({ hasText: /4 steps.*Learnt from the example rows, on the bundled model/ }).waitFor();
    await button("Open Bundled FAQ").click();
    await status("“Bundled FAQ” is open.");
    await idle();
    assert.equal(await page.locator("#answer-tuned").innerText(), answer);
    assert.deepEqual(await download(), files);
    await button("Delete Bundled FAQ").click();
    await learnt("Bundled FAQ").waitFor({ state: "detached" });
    assert.ok(await button("Download").isDisabled());

    // A friend, from the file.
    const gift = (buffer) => page.locator("#adapter-files").setInputFiles({ name: "gift.zip", mimeType: "", buffer: Buffer.from(buffer) });
    await gift(zipSync({ "notes.txt": new Uint8Array(1) }));
    await page.locator("#error-hint").filter({ hasText: /^That is no adapter: choose a zip file/ }).waitFor();
    await gift(zip.bytes);
    await status("“gift” is open.");
    await idle();
    assert.equal(await page.locator("#answer-tuned").innerText(), answer);
    await button("Rename gift").click();
    await page.getByLabel("Name of gift").fill("From Lena");
    await page.keyboard.press("Enter");
    await learnt("From Lena").filter({ hasText: "open" }).waitFor();
    assert.deepEqual(unzipSync(new Uint8Array((await downloaded("Download From Lena")).bytes)), files);
    await button("Delete From Lena").click();
    await learnt("From Lena").waitFor({ state: "detached" });
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
    const row = page.getByRole("article").filter({ hasText: "fragen.csv line" }).first();
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

  await t.test("takes a model from the hub", async () => {
    const asked = await playHub(page.context());
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
    // Of the listed one there may be as much by now as it took to tell its size.
    await page.locator(`#library-list > li[data-key="model/${HUB_ID}"]`).waitFor({ state: "detached" });
    await page.context().unrouteAll({ behavior: "wait" });
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
