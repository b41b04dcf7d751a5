// The place Data as a person uses it: rows that are typed, pasted, mapped by clicking, mended and looked through.
import assert from "node:assert/strict";
import { test } from "node:test";
import { seriousIn } from "./axe.mjs";
import { openVisit } from "./visitor.mjs";

const HOSTILE = "<img src=x onerror=\"globalThis.harmed = true\">";

/** What keeps people from using the place, by day and by night. */
const barriers = (page) => seriousIn(page, { within: "[data-place=data]", schemes: ["light", "dark"] });

/** Pastes into what has the keyboard, as a browser does. */
const paste = (page, text, html = "") =>
  page.evaluate(({ text, html }) => {
    const clipboardData = new DataTransfer();
    clipboardData.setData("text/plain", text);
    if (html) clipboardData.setData("text/html", html);
    document.activeElement.dispatchEvent(new ClipboardEvent("paste", { clipboardData, bubbles: true, cancelable: true }));
  }, { text, html });

test("a person's own rows", async (t) => {
  const { page, server, complaints, answers, button, status, tooWide } = await openVisit(t);
  const way = (words) => page.locator(".rows-from").getByText(words, { exact: true }).click();
  const chosenWay = () => page.locator('[name="data"]:checked').inputValue();
  const cell = (name) => page.getByRole("textbox", { name, exact: true });
  const counted = (pattern) => page.locator("#typed-count").filter({ hasText: pattern }).waitFor();
  const column = (name) => page.getByLabel(`What the column ${name} is`);
  const seen = () => page.locator("#first-rows .row-card").first().innerText();
  const reload = async () => {
    await page.reload();
    await page.locator(".grid-table").waitFor({ state: "attached" });
  };

  await page.setViewportSize({ width: 1280, height: 900 });
  await page.goto(`${server.origin}/#data`);

  await t.test("pairs are typed, and stay over a reload", async () => {
    await way("Type or paste");
    await cell("Question 1").fill("When do you open?");
    await page.keyboard.press("Enter");
    await page.keyboard.type("At nine.");
    await page.keyboard.press("Enter");
    await page.keyboard.type(HOSTILE);
    await counted("1 row · 1 not finished, which is left out.");
    await reload();
    assert.equal(await chosenWay(), "type");
    assert.equal(await cell("Answer 1").inputValue(), "At nine.");
    assert.equal(await cell("Question 2").inputValue(), HOSTILE);
    await cell("Answer 2").fill("That is text.");
  });

  await t.test("a table of a spreadsheet is pasted from a cell on, and taken back", async () => {
    await cell("Question 3").focus();
    await paste(page, 'Frage\tAntwort\nWo sind Sie?\t"Mühlgasse 12,\nim Hof."\nWas kostet das?\t18 Euro.');
    await counted("4 rows. 2 rows pasted. The first line held names, and is left out.");
    assert.equal(await cell("Answer 3").inputValue(), "Mühlgasse 12,\nim Hof.");
    await button("Undo").click();
    await counted("2 rows.");
    await cell("Question 3").focus();
    const html = `<table><tr><td>Wer?</td><td>Lena.<br>Und ${HOSTILE.replaceAll("<", "&lt;")}</td></tr><tr><td><img src=x onerror="globalThis.harmed = true">Wann?</td><td>Um neun.</td></tr></table>`;
    await paste(page, "Wer? Lena. Wann? Um neun.", html);
    await counted("4 rows. 2 rows pasted.");
    assert.equal(await cell("Answer 3").inputValue(), `Lena.\nUnd ${HOSTILE}`);
    await button("Delete row 2").click();
    await counted("3 rows. Row 2 is deleted.");
    await cell("Question 2").and(page.locator(":focus")).waitFor();
    await button("Use these rows").click();
    await counted("3 rows. 3 rows kept as “My rows”.");
    assert.deepEqual(await barriers(page), []);
  });

  await t.test("a wide table is mapped by clicking its columns, beside the rows as the model will see them", async () => {
    await cell("Question 4").focus();
    await paste(page, "Nr\tFrage\tAntwort\n1\ta?\tb.\n2\tc?\td.");
    await page.locator("#found").filter({ hasText: "CSV · columns that nobody has named yet" }).waitFor();
    assert.equal(await chosenWay(), "file");
    const names = Array.from({ length: 8 }, (_, n) => `Was kostet Nummer ${n}?;${n} Euro.;Preise;`).join("\n");
    const table = Buffer.from(`Frage;Antwort;Thema;Notiz\n${names}\nWo ist die Mühle?;Hier;Ort;; im Hof\n`, "latin1");
    await page.locator("#rows").setInputFiles({ name: "fragen.csv", mimeType: "", buffer: table });
    await page.locator("#columns-note").filter({ hasText: "Say which column is the question and which is the answer." }).waitFor();
    await column("Frage").and(page.locator(":focus")).waitFor();
    await column("Frage").selectOption("Question");
    await page.locator("#columns-note").filter({ hasText: "Say which column is the answer." }).waitFor();
    await column("Notiz").selectOption("Answer");
    await page.getByText("8 of the first 9 are empty").waitFor();
    await column("Antwort").selectOption("Answer");
    assert.equal(await column("Notiz").inputValue(), "", "one column is the answer");
    await page.locator("#first-rows .row-card").filter({ hasText: /Question\s*Was kostet Nummer 0\?\s*Answer\s*0 Euro\./ }).waitFor();
    await page.locator("#found").filter({ hasText: "CSV · questions and answers" }).waitFor();
    await column("Thema").selectOption("Instruction");
    await page.locator("#first-rows").getByText("Preise").first().waitFor();
    await button("Yes, read it as Windows-1252").click();
    await page.waitForFunction(() => !document.querySelector("#import").disabled);
  });

  await t.test("a bad row is mended in place, and all of it stays over a reload", async () => {
    await page.waitForFunction(() => /fragen\.csv, line 10 It has 5 cells where the table has 4 columns\./.test(document.querySelector("#bad-rows").innerText));
    await button("Mend it: fragen.csv, line 10").click();
    const editor = page.locator("#bad-rows .editor");
    assert.equal(await editor.getByRole("textbox", { name: "Frage" }).inputValue(), "Wo ist die Mühle?");
    await editor.getByText("It can be used so.").waitFor();
    await editor.getByRole("textbox", { name: "Antwort" }).fill("Hier; im \"Hof\".");
    await editor.getByRole("textbox", { name: "Notiz" }).fill("");
    await editor.getByText("It can be used so.").waitFor();
    await button("Keep it mended: fragen.csv, line 10").click();
    await page.getByText("All that are known are mended or left out.").waitFor();
    await page.waitForFunction(() => !document.querySelector("#import").disabled);
    assert.deepEqual(await barriers(page), []);

    await reload();
    await page.locator("#found").filter({ hasText: "CSV · questions and answers" }).waitFor();
    assert.equal(await chosenWay(), "file");
    assert.equal(await column("Thema").inputValue(), "instruction");
    await page.waitForFunction(() => !document.querySelector("#import").disabled);
    await button("Import").click();
    await page.locator("#import-report").filter({ hasText: "9 rows kept." }).waitFor();
  });

  await t.test("a quotation mark that nothing closes is mended before anything is imported", async () => {
    await page.locator("#rows").setInputFiles({ name: "open.csv", mimeType: "", buffer: Buffer.from('question,answer\na?,"b\nc?,d.\n') });
    await button("Mend it: open.csv, line 2").click();
    const editor = page.locator("#bad-rows .editor");
    assert.equal(await editor.getByRole("textbox", { name: "answer" }).inputValue(), '"b');
    await editor.getByRole("textbox", { name: "answer" }).fill("b.");
    await button("Keep it mended: open.csv, line 2").click();
    await page.locator("#first-rows .row-card").nth(1).waitFor();
    assert.match(await seen(), /Question\s+a\?\s+Answer\s+b\./);
  });

  await t.test("a line that is no JSON is mended as text, found by the import that stopped at it, or left out", async () => {
    const good = Array.from({ length: 60 }, (_, n) => `{"text":"Row ${n}"}`).join("\n");
    const lines = `${good}\n{"text":"broken\n${good}\n{"text"\n{"text":"last"}\n`;
    await page.locator("#rows").setInputFiles({ name: "lines.jsonl", mimeType: "", buffer: Buffer.from(lines) });
    await page.locator("#found").filter({ hasText: "JSON Lines · plain text" }).waitFor();
    await button("Import").click();
    await page.locator("#error-code").filter({ hasText: "bad-data" }).waitFor();
    await button("Mend it: lines.jsonl, line 61").click();
    await page.locator("#bad-rows").getByText(/The line breaks off/).nth(1).waitFor();
    await page.getByLabel("The row as the file has it").fill('{"text":"mended"}');
    await button("Keep it mended: lines.jsonl, line 61").click();
    await page.waitForFunction(() => !document.querySelector("#import").disabled);
    await button("Import").click();
    await button("Leave it out: lines.jsonl, line 122").click();
    await page.getByText("All that are known are mended or left out.").waitFor();
    await page.waitForFunction(() => !document.querySelector("#import").disabled);
    await button("Import").click();
    await page.locator("#import-report").filter({ hasText: "122 rows kept." }).waitFor();
    assert.ok(await page.locator("#error").isHidden());
  });

  await t.test("what is kept is looked through, found, changed and edited, on a phone too", async () => {
    await page.setViewportSize({ width: 390, height: 844 });
    await reload();
    await way("Kept here");
    await page.getByRole("radio", { name: /lines\.jsonl/ }).and(page.locator(":checked")).waitFor();
    await button("Look through lines.jsonl").click();
    await page.locator(".browse").getByText("1–10 of 122").waitFor();
    await button("Later rows").click();
    await page.locator(".browse").getByText("11–20 of 122").waitFor();
    await page.getByRole("searchbox", { name: "Find in lines.jsonl" }).fill("MENDED");
    await page.keyboard.press("Enter");
    await page.getByText("1 row with “MENDED”.").waitFor();
    await button("Change row 61").click();
    await page.locator(".browse textarea").fill(`mended ${HOSTILE}`);
    await button("Keep the change").click();
    await page.locator(".browse .bubble").filter({ hasText: HOSTILE }).waitFor();
    await button("Leave out row 61").click();
    await page.getByText("0 rows with “MENDED”.").waitFor();
    await page.getByRole("list", { name: "Kept datasets" }).getByText("121 rows").waitFor();
    assert.match(answers.asked.at(-1), /^Leave this row out of “lines\.jsonl”\?/);
    assert.deepEqual(await barriers(page), []);

    await button("Edit My rows").click();
    assert.equal(await cell("Question 3").inputValue(), "Wann?");
    await cell("Answer 3").fill("Um zehn.");
    assert.equal(await tooWide(), 0);
    await reload();
    assert.equal(await cell("Answer 3").inputValue(), "Um zehn.");
    await button("Use these rows").click();
    await counted("3 rows kept as “My rows”.");
  });

  await t.test("columns are cards on a phone", async () => {
    await way("Files");
    const wide = `Donaudampfschifffahrtsgesellschaftskapitän;Antwort\n${HOSTILE};b\n`;
    await page.locator("#rows").setInputFiles({ name: "phone.csv", mimeType: "", buffer: Buffer.from(wide) });
    await column("Antwort").selectOption("Answer");
    await column("Donaudampfschifffahrtsgesellschaftskapitän").selectOption("Question");
    await page.locator("#first-rows .bubble").filter({ hasText: HOSTILE }).waitFor();
    assert.equal(await page.locator(".column-cards > li").count(), 2);
    for (const width of [390, 320]) {
      await page.setViewportSize({ width, height: 844 });
      assert.equal(await tooWide(), 0, `${width} px`);
    }
    assert.deepEqual(await barriers(page), []);
  });

  await t.test("the typed rows are trained on, and are there at the next visit", async () => {
    await page.setViewportSize({ width: 1280, height: 900 });
    await way("Type or paste");
    await page.getByRole("link", { name: "Go on to train" }).click();
    await page.locator("#chosen-rows").filter({ hasText: "“My rows”" }).waitFor();
    await page.getByText("Settings", { exact: true }).click();
    await page.getByLabel("Steps", { exact: true }).fill("2");
    await button("Start fine-tuning").click();
    await page.locator("#status").filter({ hasText: /^Done: 2 steps\.$/ }).waitFor({ timeout: 60_000 });
    await page.goto("about:blank");
    await page.goto(`${server.origin}/#data`);
    await page.locator('[name="data"][value="type"]:checked').waitFor({ state: "attached" });
    assert.equal(await cell("Answer 3").inputValue(), "Um zehn.");
    await way("Kept here");
    await page.getByRole("radio", { name: /My rows/ }).waitFor();
  });

  assert.equal(await page.evaluate(() => "harmed" in globalThis), false, "text of strangers stays text");
  assert.deepEqual(complaints, []);
});
