// The page in a Chromium of its own, and how a person uses it.
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { unzipSync } from "fflate";
import { person } from "./person.mjs";
import { openVisit } from "./visitor.mjs";

/** Opens a browser for the page, whose person goes to the place of what they look for. */
export async function openStudio(t, device = "cpu") {
  const { page, ...visit } = await openVisit(t, { device, as: person });
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
