// Rows on the page, as a person brings them: looked at, imported, refused and left out.
import assert from "node:assert/strict";
import { createWriteStream, mkdtempSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { gzipSync } from "node:zlib";
import { openStudio } from "./studio.mjs";

/** Runs in the page: the import that is begun next is cancelled once the page says how far it is. */
function cancelOnTheWay() {
  const state = document.querySelector("#import-state");
  const watching = new MutationObserver(() => {
    if (!/^[1-9][\d,]* rows · \d+ % · .* left$/.test(state.textContent)) return;
    watching.disconnect();
    document.querySelector("#import-cancel").click();
  });
  watching.observe(state, { childList: true, characterData: true, subtree: true });
}

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

test("rows on the page", async (t) => {
  const { page, complaints, folder, open, chooseRows, button, pick, report, idle } = await openStudio(t);

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
    // They go before the rows are read, which the next visit would find picked and not kept.
    await idle();
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
    // In one call: an import does not wait for a test that is held up.
    await page.evaluate(cancelOnTheWay);
    await button("Import").click();
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

  assert.deepEqual(complaints, []);
});
