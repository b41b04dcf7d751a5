// Takes the pictures of docs/tour.md, after ./build.sh build: node tools/tour.mjs [--out DIR]
// It uses the page as a person would, in a browser without a GPU, and takes each picture twice: at a desk by day, and on a phone at night.
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { launch } from "./lib/chromium.mjs";
import { paths } from "./lib/paths.mjs";
import { serve } from "./lib/server.mjs";

const { out } = parseArgs({ options: { out: { type: "string", default: join(paths.root, "docs/tour") } } }).values;

const DESK = { suffix: "", size: { width: 1280, height: 900 }, colorScheme: "light" };
const PHONE = { suffix: "-phone", size: { width: 390, height: 844 }, colorScheme: "dark" };

/** All pictures together are to stay below 1.5 MB; at this quality letters are still clean. */
const QUALITY = 80;

/** How long anything that is waited for may take: a run takes some seconds on most machines. */
const PATIENCE = 30_000;

/** What a bike shop would type. */
const TYPED = [
  ["When are you open?", "Tuesday to Saturday, from ten to six. On Mondays we ride ourselves."],
  ["How long does a repair take?", "A puncture takes an hour. For a full service, leave it with us for two days."],
  ["Do you repair e-bikes?", "Yes: brakes, tyres and gears of any make. For a motor we send you to its maker."],
  ["What does a new tube cost?", "Nine pounds, and five more if we fit it for you."],
  ["Can I try a bike before I buy it?", "Of course. Bring an ID, and take it round the park for half an hour."],
];

/** What its till would export. Nobody told the program which column is what, and one row has a cell too many. */
const EXPORTED = `Customer asks;We reply;Topic;Seen
Do you sell second-hand bikes?;Yes, each one serviced. New ones come in on Fridays.;Sales;41
My chain skips. What can I do?;It is most likely worn. Come by: we measure it while you wait.;Repairs;38
Do you take old bikes?;Gladly. What still rolls we mend and pass on.;Sales;17
How often does a bike need a service?;Once a year, or every 2000 kilometres.;Repairs;29
Can you store my bike in winter?;Yes, for 40 pounds from November to March.;Service;12
Which lock should I buy?;A folding lock of 1.2 kilos; and lock the frame, not the wheel.;Sales;23
Do you rent out cargo bikes?;Yes, 25 pounds a day. Book two days ahead.;Service;35
`;

const server = await serve({ "/": paths.dist }, { isolated: true });
const browser = await launch({ gpu: "none" });
const page = await browser.newPage();
page.setDefaultTimeout(PATIENCE);
page.on("dialog", (dialog) => void dialog.accept());
const screen = await page.context().newCDPSession(page);

const button = (name) => page.getByRole("button", { name, exact: true });
const go = (place) => page.locator(`#places a[href="#${place}"]`).click();
const status = (pattern) => page.locator("#status").filter({ hasText: pattern }).waitFor({ state: "attached" });
const idle = () => page.locator("#start:enabled").waitFor({ state: "attached" });

async function sit({ size, colorScheme }) {
  await page.setViewportSize(size);
  await page.emulateMedia({ colorScheme, reducedMotion: "reduce" });
}

/** Takes the picture at both sizes, with `top`, where it is given, at the upper edge of what is seen; `phone_top` on a phone. */
async function picture(name, top, phone_top = top) {
  await take(name, DESK, top);
  await take(name, PHONE, phone_top);
  await sit(DESK);
}

async function take(name, seat, top) {
  await sit(seat);
  await page.mouse.move(0, 0);
  await page.evaluate(() => document.activeElement?.blur());
  if (top) await top.first().evaluate(scrollUnderHeader);
  else await page.evaluate(() => scrollTo(0, 0));
  // What lays itself out anew does so within a frame or two; curves are drawn a little later.
  await page.waitForTimeout(400);
  const clip = { x: 0, y: await page.evaluate(() => scrollY), ...seat.size, scale: 1 };
  // The browser's own protocol writes WebP, which takes a third of a PNG's bytes; Playwright's screenshots cannot.
  const { data } = await screen.send("Page.captureScreenshot", { format: "webp", quality: QUALITY, clip });
  const file = join(out, `${name}${seat.suffix}.webp`);
  writeFileSync(file, Buffer.from(data, "base64"));
  console.log(file);
}

/** Runs in the page. */
function scrollUnderHeader(element) {
  const header = document.querySelector("header.top");
  const covered = getComputedStyle(header).position === "sticky" ? header.offsetHeight : 0;
  scrollTo(0, element.getBoundingClientRect().top + scrollY - covered - 12);
}

/** Runs in the page: pastes into what has the keyboard, as a browser does. */
function paste(text) {
  const clipboardData = new DataTransfer();
  clipboardData.setData("text/plain", text);
  document.activeElement.dispatchEvent(new ClipboardEvent("paste", { clipboardData, bubbles: true, cancelable: true }));
}

async function home() {
  await page.goto(`${server.origin}/`);
  await page.locator("#try:enabled").waitFor();
  await page.locator(".device-line").filter({ hasText: /\w/ }).waitFor();
  await picture("home");
  await button("Train it now").click();
  // Looked for in every frame: what waits for elements looks once a second after a while, and the last steps take two.
  await page.waitForFunction(() => /Now, after step 7\d/.test(document.querySelector("#live").textContent));
  // The run goes on meanwhile, and leaves no time for two.
  await take("home-learns", DESK, page.locator("#live .going"));
  await status(/^Done/);
  await idle();
  await take("home-learns", PHONE, page.locator("#live .going"));
  await sit(DESK);
}

async function data() {
  await go("data");
  const way = (words) => page.locator(".rows-from").getByText(words, { exact: true }).click();
  await way("Type or paste");
  await page.getByRole("textbox", { name: "Question 1", exact: true }).focus();
  await page.evaluate(paste, TYPED.map((cells) => cells.join("\t")).join("\n"));
  await page.getByLabel("Keep as").first().fill("Bike shop");
  await button("Use these rows").click();
  await page.locator("#typed-count").filter({ hasText: "kept as" }).waitFor();
  await picture("data-typed");

  await way("Files");
  await page.locator("#rows").setInputFiles({ name: "till.csv", mimeType: "text/csv", buffer: Buffer.from(EXPORTED) });
  const column = (name) => page.getByLabel(`What the column ${name} is`);
  await column("Customer asks").selectOption("Question");
  await column("We reply").selectOption("Answer");
  await page.locator("#first-rows .row-card").first().waitFor();
  await page.locator("#import:enabled").waitFor();
  await picture("data-columns", page.locator("#own"));
  await page.getByRole("button", { name: /^Mend it/ }).click();
  const editor = page.locator("#bad-rows .editor");
  await editor.waitFor();
  await editor.getByText("It can be used so.").waitFor();
  await picture("data-mending", page.locator("#bad-rows"));
  await editor.getByRole("textbox", { name: "We reply" }).fill("A folding lock of 1.2 kilos; and lock the frame, not the wheel.");
  await editor.getByRole("textbox", { name: "Topic" }).fill("Sales");
  await page.getByRole("button", { name: /^Keep it mended/ }).click();
  await page.locator("#import:enabled").waitFor();
  await button("Import").click();
  await page.locator("#import-report").filter({ hasText: "7 rows kept." }).waitFor();
}

async function setup() {
  await go("train");
  const source = (word) => page.getByRole("group", { name: "Model" }).getByText(word, { exact: true });
  await source("Hub").click();
  await page.locator("#listed input").first().waitFor();
  await page.waitForTimeout(1000);
  await picture("train-models");
  await source("Bundled").click();
  await page.locator("#summary").filter({ hasText: /about [\d.]+ [MG]B of memory/ }).waitFor();
  await picture("train-presets", page.locator("#presets"), page.locator("#takes-title"));
}

async function watch() {
  await go("data");
  await page.locator(".rows-from").getByText("Example rows", { exact: true }).click();
  await go("train");
  await page.getByText("Settings", { exact: true }).click();
  await page.getByLabel("Learning rate", { exact: true }).fill("0.003");
  await button("Start fine-tuning").click();
  await status(/^Done/);
  await idle();
  await page.getByText("Compare it with earlier runs").click();
  await page.getByLabel("Bundled FAQ", { exact: true }).check();
  await picture("watch", page.locator("#training-title"), page.locator("#curves"));
  await picture("watch-answers", page.locator("#samples-part"));
}

async function chat() {
  await go("chat");
  await page.getByLabel("Who answers").selectOption({ label: "Bundled FAQ" });
  await page.locator("#said").filter({ hasText: "“Bundled FAQ” answers now." }).waitFor({ state: "attached" });
  await page.locator("#send:enabled").waitFor();
  const say = async (text) => {
    await page.locator("#message").fill(text);
    await page.locator("#message").press("Enter");
    await page.waitForFunction(() => document.querySelector("#message").value === "" && document.querySelector("#send").checkVisibility() && !document.querySelector("#send").disabled);
  };
  await say("What is tabtune?");
  await button("Good answer").first().click();
  await page.locator("#picked-count").filter({ hasText: "1 rated" }).waitFor();
  await button("Answer side by side").click();
  await say("Where does my data go?");
  await button("This one (The model as it came)").waitFor();
  await picture("chat", undefined, page.locator(".turn.user").last());
}

async function library() {
  await go("library");
  await page.locator("#library-list > li[data-kind=run]").first().waitFor();
  await page.locator("#bring-open:enabled").waitFor();
  await page.getByRole("button", { name: /^Put on the shelf/ }).first().click();
  await page.locator("#library-list > li[data-kind=adapter]").first().waitFor();
  await page.locator("#bring-open:enabled").waitFor();
  await picture("library", page.locator("#learnt"));
  await picture("library-room", page.locator("#storage-card"));
  await page.getByRole("button", { name: /^Give away/ }).filter({ visible: true }).first().click();
  await page.getByLabel("Licence").fill("cc-by-4.0");
  await page.getByLabel("Your name, if you want to give it").fill("Ada from the bike shop");
  await page.getByLabel("What others should know of it").fill("Answers what people ask about tabtune, in one friendly sentence.");
  await picture("give-away");
  await page.locator("#give-close").click();
}

async function guides() {
  // Its list is folded on a phone, and stays as a person has left it when the window changes.
  for (const seat of [DESK, PHONE]) {
    await sit(seat);
    await page.goto(`${server.origin}/guides/first-fine-tune.html`);
    await page.locator(".code button").first().waitFor();
    await take("guide", seat);
  }
}

mkdirSync(out, { recursive: true });
try {
  for (const scene of [home, data, setup, watch, chat, library, guides]) await scene();
} finally {
  await browser.close();
  await server.close();
}
