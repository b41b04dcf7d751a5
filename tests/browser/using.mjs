// A person who uses the page again and again, for what must not grow by it: trains, talks, imports, switches, deletes.
import { person } from "./person.mjs";
import { openVisit } from "./visitor.mjs";

const ROWS = Array.from({ length: 40 }, (_, row) => `Question ${row}?,Answer ${row}.\n`);
const TABLE = { name: "table.csv", mimeType: "text/csv", buffer: Buffer.from(`question,answer\n${ROWS.join("")}`) };

/** Memory is measured when it is asked for, and not when the browser would tidy up anyway. */
const EAGER = { args: ["--enable-blink-features=ForceEagerMeasureMemory"], flags: ["--expose-gc"] };

/**
 * Runs in the page: the bytes of the page and its workers, those that it says are kept, those that the browser counts, and
 * how many things are kept of all kinds.
 */
async function measureNow() {
  for (let round = 0; round < 2; round++) globalThis.gc();
  const { bytes } = await performance.measureUserAgentSpecificMemory();
  const { usage } = await navigator.storage.estimate();
  const done = (request) => new Promise((resolve, reject) => ((request.onsuccess = () => resolve(request.result)), (request.onerror = () => reject(request.error))));
  const things = { localStorage: localStorage.length };
  for (const { name } of await indexedDB.databases()) {
    const database = await done(indexedDB.open(name));
    for (const store of database.objectStoreNames) things[`${name} ${store}`] = await done(database.transaction(store).objectStore(store).count());
    database.close();
  }
  for (const name of await caches.keys()) things[name] = (await (await caches.open(name)).keys()).length;
  return { memory: bytes, shown: document.querySelector("#kept-bytes").textContent, storage: usage, things };
}

/** Opens the page on the processor, and gives a round of use, and what measures what is there after it. */
export async function openUse(t) {
  const { page, server, complaints, button, status, idle, entry } = await openVisit(t, { ...EAGER, as: person });
  const remove = async (kind, name) => {
    await entry(kind, name).getByRole("button", { name: `Delete ${name}` }).click();
    await entry(kind, name).waitFor({ state: "detached" });
    await idle();
  };

  await page.goto(`${server.origin}/#train`);
  await page.getByText("Settings", { exact: true }).click();
  await page.getByLabel("Rows a step").fill("1");
  await page.getByLabel("Steps").fill("6");

  const train = async () => {
    await button("Start fine-tuning").click();
    await status("Done: 6 steps.");
    await idle();
  };
  const talk = async () => {
    if (await button("New chat").isVisible()) await button("New chat").click();
    await page.getByLabel("Message").fill("What is a lake?");
    await page.keyboard.press("Enter");
    await page.locator(".turn.assistant .answer[aria-busy=false]").first().waitFor();
    await idle();
  };
  const bring = async () => {
    await page.getByRole("group", { name: "Rows to learn from" }).getByText("Files", { exact: true }).click();
    await page.locator("#rows").setInputFiles(TABLE);
    await button("Import").click();
    await page.locator("#import-report").filter({ hasText: "40 rows kept." }).waitFor();
    await page.getByRole("group", { name: "Rows to learn from" }).getByText("Example rows", { exact: true }).click();
  };
  const ask = async () => {
    await button("Ask").click();
    await idle();
  };

  /** What stays: a run that was kept on the shelf, and the rows that come with the page. */
  const begin = async () => {
    await train();
    await button("Keep what is open").click();
    await status("“Bundled FAQ” is on the shelf.");
    await remove("run", "Bundled FAQ");
  };
  const round = async () => {
    await train();
    await talk();
    await bring();
    await entry("adapter", "Bundled FAQ").getByRole("button", { name: "Use Bundled FAQ" }).click();
    await status("“Bundled FAQ” answers now.");
    await ask();
    await button("Use none of them").click();
    await status("The model answers as it came.");
    await remove("run", "Bundled FAQ");
    await remove("dataset", "table.csv");
    await remove("chat", "What is a lake?");
  };
  /** The worker of datasets has an engine's code in its memory, and goes when it was not asked for a while. */
  const measure = async () => {
    const engines = () => page.workers().filter((worker) => !worker.url().includes("kernel"));
    while (engines().length > 1) await page.waitForTimeout(100);
    // What is thrown away may be there for a moment more, what is kept is there each time.
    const looks = [];
    for (let look = 0; look < 3; look++) looks.push(await page.evaluate(measureNow));
    return looks.reduce((least, look) => (look.memory < least.memory ? look : least));
  };
  return { begin, round, measure, complaints };
}
