// Learning together on the page, as a person would: they read what it means at a desk, join, close the page on the way, go on with it as
// phones show it, and leave.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { launch } from "../../tools/lib/chromium.mjs";
import { paths } from "../../tools/lib/paths.mjs";
import { seriousIn } from "../browser/axe.mjs";
import { person } from "../browser/person.mjs";
import { visitorOf } from "../browser/visitor.mjs";
import { PlayedClient } from "./played-client.mjs";
import { recorder, repliesOf } from "./recorder.mjs";
import { federation, termsOf, until } from "./support.mjs";

/** Text that would do something if it were taken for HTML. */
const HOSTILE = `<img src=x onerror="globalThis.was_run = true"> & <b>words</b>`;

/** Rows as a file that a person picks. */
function fileOf(name, from, to) {
  const lines = readFileSync(paths.data, "utf8").split("\n").slice(from, to);
  return { name, mimeType: "application/jsonl", buffer: Buffer.from(`${lines.join("\n")}\n`) };
}

/** The page that the proxy serves, in a Chromium of its own, with all calls of its node in `calls`. */
async function open(t, terms) {
  const there = await federation(t, terms, { page: paths.dist });
  const { base, calls } = await recorder(t, there.base);
  const browser = await launch({ gpu: "none" });
  t.after(() => browser.close());
  const page = person(await browser.newPage());
  page.setDefaultTimeout(600_000);
  const { complaints, idle, tooWide } = visitorOf(page);
  await page.goto(`${base}/`);
  await page.locator("#together").waitFor();
  const lines = async (id) => {
    const all = page.locator(`#${id} dl > div`);
    return Object.fromEntries(await all.evaluateAll((found) => found.map((line) => [...line.children].map(({ textContent }) => textContent))));
  };
  /** Asks what joining means, and waits for the answer. */
  const look = async () => {
    await page.click("#together-look");
    await page.locator("#together-offer").waitFor();
  };
  const round = (number) => page.locator(`#together-list [data-round="${number}"]`);
  /** What keeps people from the card as it is now, also that a part of it is out of sight. */
  const barriers = async () => [...(await seriousIn(page, { within: "#together", schemes: ["light", "dark"] })), ...((await tooWide()) > 0 ? ["too wide"] : [])];
  return { there, base, calls, page, complaints, lines, idle, look, round, barriers };
}

/** What a node told of its layout, once it was asked. */
const layoutIn = (calls) =>
  until("the layout of the page's node", async () => {
    const [reply] = await repliesOf(calls).catch(() => []);
    return reply?.content.layout.config;
  });

/** Runs in the page: in the midst of the second round its engine is asked for nothing more, so that the round stays there. */
function haltInSecond() {
  const [round, waits] = ["round", "waits"].map((name) => document.querySelector(`#together-${name}`));
  const halt = () => {
    if (round.textContent.startsWith("Round 2") && /^Step [2-7] of 8/.test(waits.textContent)) Worker.prototype.postMessage = () => {};
  };
  new MutationObserver(halt).observe(waits, { childList: true, characterData: true, subtree: true });
}

test("a person takes part on the page", async (t) => {
  const train = { max_steps: 8, learning_rate: 0.01, per_device_train_batch_size: 2, max_length: 64 };
  const terms = termsOf({ name: "Our town", operator: HOSTILE, purpose: "To try it.", base_model_name_or_path: "tabtune/tiny", train, rounds: 3 });
  const { there, base, calls, page, complaints, lines, idle, look, round, barriers } = await open(t, terms);
  await page.setViewportSize({ width: 1280, height: 900 });

  assert.equal(await page.locator("#together-name").innerText(), "Our town");
  const told = await lines("together-terms");
  assert.equal(told["Run by"], HOSTILE);
  assert.equal(told.For, "To try it.");
  assert.match(told.Rounds, /^3\. .* 8 steps /);
  assert.match(told["Who may join"], /^Anyone\. .* 2 /);
  assert.equal(await page.locator("#together-terms").locator("img, b").count(), 0);

  await page.getByText("Hub", { exact: true }).click();
  await page.locator("#together-switch").waitFor();
  assert.ok(await page.locator("#together-look").isDisabled(), "another model is chosen");
  await page.click("#together-switch");
  await page.locator("#together-model").waitFor({ state: "hidden" });
  assert.ok(await page.locator('[name=model][value="bundled"]').isChecked());

  await page.getByRole("group", { name: "Rows to learn from" }).getByText("Files", { exact: true }).click();
  await page.locator("#rows").setInputFiles(fileOf("ours.jsonl", 0, 8));
  await page.locator("#heldout").setInputFiles(fileOf("held-out.jsonl", 40, 44));
  await page.waitForFunction(() => !document.querySelector("#together-look").disabled);
  await look();
  const offer = await lines("together-lines");
  assert.equal(offer["Trains on"], "8 rows of “ours.jsonl”");
  assert.match(offer["Is sent"], /81,408 small parts .* 326 kB .* hold out, 4,/);
  assert.match(offer.To, new RegExp(`^${base},`));
  assert.match(offer["How often"], /3 rounds, after 8 steps/);
  assert.match(offer.Hidden, /^Not masked: the server sees your own changes/);
  assert.match(await page.locator("#together-fingerprint").textContent(), /^[0-9a-f]{4}( [0-9a-f]{4}){15}$/);
  assert.deepEqual(await barriers(), []);
  await page.click("#together-decline");
  await idle();
  assert.equal(await page.locator("#together-round").innerText(), "You have not joined, and nothing was sent.");
  assert.equal(calls.length, 0, "a look sends nothing");

  await look();
  await page.evaluate(haltInSecond);
  await page.click("#together-join");
  await page.locator("#together-stop").getByText("Leave").waitFor();
  const layout = await layoutIn(calls);
  // The last round is not over before it is left.
  const skips = (type, round) => type === "train" && round === 3;
  const other = new PlayedClient({ base: there.base, terms, layout, number: 3, examples: 8, skips });
  const played = other.takePart();
  t.after(() => (other.over = true));
  await round(1).waitFor();
  assert.match(await round(1).innerText(), /^1\s+\d\.\d{3} → \d\.\d{3}\s.*3\d\d kB\s+\d+:\d\d$/s);
  await page.locator("#together-chart canvas").waitFor();
  await page.locator("#together-round").getByText("Round 2 of 3").waitFor();
  await page.locator("#together-waits").getByText(/^Step [2-7] of 8/).waitFor();

  await page.setViewportSize({ width: 390, height: 844 });
  await page.reload();
  await page.getByRole("button", { name: "Go on with round 2" }).waitFor();
  await page.getByText("Kept here", { exact: true }).click();
  await page.locator("#kept").getByText("ours.jsonl", { exact: true }).click();
  await page.locator("#heldout").setInputFiles(fileOf("held-out.jsonl", 40, 44));
  await look();
  await page.click("#together-join");
  await round(2).waitFor();
  await page.waitForFunction(() => document.querySelector("#together-chart").ariaLabel.includes("at round 2"));
  await page.locator("#together-round").getByText("Round 3 of 3").waitFor();
  await page.click("#together-stop");
  await page.locator("#together-round").getByText("You have left in round").waitFor();
  await page.locator("#library-list > li.is-open").filter({ hasText: "24 steps" }).waitFor();
  assert.match(await page.locator("#library-list > li.is-open").innerText(), /Our town\s*open\s[^]*\b24 steps/, "of which some were made, or all");
  // What came before it and what comes of it is asked unasked.
  await page.locator("#answer-tuned:not(.idle):not(:empty)").waitFor();
  await idle();
  assert.ok(calls.some(({ path }) => path === "deactivate-node"), calls.map(({ path }) => path).join(" "));
  await page.getByRole("button", { name: "Go on with round 3" }).waitFor();
  assert.deepEqual(await barriers(), []);
  assert.equal(await page.evaluate(() => globalThis.was_run), undefined);
  assert.deepEqual(complaints, []);
  other.over = true;
  await played;
});
