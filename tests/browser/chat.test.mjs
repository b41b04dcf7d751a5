// The place Chat, as a person uses it: on a desk and on a phone, and again on another day.
import assert from "node:assert/strict";
import { test } from "node:test";
import { seriousIn } from "./axe.mjs";
import { holdAnswer, letGo } from "./holding.mjs";
import { eventually } from "./support.mjs";
import { openVisit } from "./visitor.mjs";

/** Text that would do something if it were taken for HTML. */
const HOSTILE = `<img src=x onerror="globalThis.was_run = true">`;

/** Its answer is long where words are drawn as the test has it. */
const LONG = "Tell me a story about a bear.";
/** So much of it is there when it is stopped: more than a hundred characters. */
const PIECES = 40;

/** Runs in the page: whether more than so many characters of an answer are kept that is still being written. */
async function isKept(length) {
  const done = (request) => new Promise((resolve, reject) => ((request.onsuccess = () => resolve(request.result)), (request.onerror = () => reject(request.error))));
  const database = await done(indexedDB.open("tabtune-chats"));
  const chats = await done(database.transaction("records").objectStore("records").getAll());
  database.close();
  const spoken = chats.flatMap(({ turns }) => turns).flatMap((turn) => turn.spoken ?? []);
  return spoken.some(({ text, end }) => end === "going" && text.length > length);
}

/** The page in a Chromium of its own, and how a person chats on it. */
async function openChat(t) {
  const { page, server, complaints, answers, button, status, tooWide } = await openVisit(t);
  const field = page.locator("#message");
  const open = async (address) => {
    await page.goto(`${server.origin}/${address}`);
    await page.locator("#message").waitFor();
  };
  const idle = () => page.locator("#send:enabled").waitFor();
  const begin = async (text) => {
    await field.fill(text);
    await field.press("Enter");
  };
  const say = async (text) => {
    await begin(text);
    await page.waitForFunction(() => document.querySelector("#message").value === "" && document.querySelector("#send").checkVisibility() && !document.querySelector("#send").disabled);
  };
  const last = page.locator(".turn.assistant").last();
  const text = () => last.locator(".answer").first().innerText();
  const unfold = async () => {
    if (!(await page.locator("#how").evaluate(({ open }) => open))) await page.getByText("How it answers").click();
  };
  /** The model goes on and on: it draws words nearly by lot, and seldom what was there already, as the end of a turn was. */
  const set = async (manner) => {
    await unfold();
    for (const [name, value] of Object.entries(manner)) {
      await page.getByLabel(name, { exact: true }).fill(value);
      await page.getByLabel(name, { exact: true }).blur();
    }
  };
  const ramble = () => set({ Temperature: "2", "Repetition penalty": "10", "Longest answer": "8000", "Number to draw by": "29" });
  const usual = async () => {
    await unfold();
    await button("As usual").click();
  };
  const checked = async (where, ...schemes) => {
    assert.deepEqual(await seriousIn(page, { within: "[data-place=chat]", schemes }), [], where);
    const wide = await tooWide();
    assert.ok(wide <= 0, `${where} is ${wide} pixels too wide`);
  };
  return { page, complaints, answers, button, status, field, open, idle, begin, say, last, text, set, ramble, usual, checked };
}

test("chats", async (t) => {
  const { page, complaints, answers, button, status, field, open, idle, begin, say, last, text, set, ramble, usual, checked } = await openChat(t);
  const kept = {};

  await t.test("at a desk: several turns, stopped, gone on with, said anew, in words of one's own", async () => {
    await page.setViewportSize({ width: 1280, height: 900 });
    await open("#chat");
    await page.getByText("The bundled model answers. It is a toy").waitFor();
    await button("What is a lake?").click();
    assert.equal(await field.inputValue(), "What is a lake?");
    await page.reload();
    assert.equal(await field.inputValue(), "What is a lake?", "what was not sent is still there");
    await checked("an empty chat", "dark");
    await field.press("Enter");
    await last.getByText(/tokens · [\d.]+ a second/).waitFor();
    kept.lake = await text();
    kept.address = new URL(page.url()).hash;
    assert.match(kept.address, /^#chat\/[\w-]+$/);
    await field.fill("one");
    await field.press("Shift+Enter");
    assert.equal(await field.inputValue(), "one\n");
    await field.fill("");

    await button("New chat").click();
    await ramble();
    await holdAnswer(page, PIECES);
    await begin(LONG);
    await page.waitForFunction(() => (document.querySelector(".answer[aria-busy=true]")?.textContent.length ?? 0) > 40);
    await field.press("Escape");
    await letGo(page);
    await last.getByText("Stopped here").waitFor();
    await idle();
    kept.stopped = await text();
    assert.ok(kept.stopped.length > 40);
    await holdAnswer(page, PIECES);
    await button("Go on").click();
    await page.waitForFunction((length) => (document.querySelector(".answer[aria-busy=true]")?.textContent.length ?? 0) > length, kept.stopped.length + 20);
    await page.locator("#send-stop").press("Enter");
    await letGo(page);
    await idle();
    await last.getByText("Stopped here").waitFor();
    const more = await text();
    assert.ok(more.startsWith(kept.stopped.trimEnd()) && more.length > kept.stopped.length, "what was said stays, and more follows");

    await usual();
    await page.goBack();
    await page.getByText(kept.lake).waitFor();
    await say("What is a GPU?");
    await page.getByLabel("Edit what you said").last().click();
    await page.getByLabel("What you would rather have said").fill(HOSTILE);
    await page.getByText("the answer below is dropped").waitFor();
    await button("Send this instead").click();
    await last.getByText(/a second|It said nothing/).waitFor();
    await idle();
    assert.equal(await page.locator(".turn.user").last().locator(".answer").innerText(), HOSTILE);
    assert.equal(await page.locator(".turn").count(), 4);
    await button("Edit").click();
    await page.getByLabel("The answer as you would have it").fill("That is no question.");
    await button("Save the answer").click();
    await page.locator("#picked-count").filter({ hasText: "1 picked" }).waitFor();
    await button("Undo the last pick").click();
    await page.locator("#picked-count").filter({ hasText: /^$/ }).waitFor({ state: "attached" });
    assert.notEqual(await text(), "That is no question.");
    await button("Answer again").click();
    await idle();
    await button("Good answer").last().click();
    await page.locator("#picked-count").filter({ hasText: "1 rated" }).waitFor();
    assert.equal(await page.evaluate(() => globalThis.was_run), undefined);
  });

  await t.test("an answer that was cut off goes on from there, and words are drawn as the person has it", async () => {
    const anew = async () => {
      await button("New chat").click();
      await say("What is a GPU?");
    };
    await anew();
    const whole = await text();
    await set({ Temperature: "2", "Top-k": "1" });
    await checked("how it answers, unfolded", "light");
    await anew();
    assert.equal(await text(), whole, "of one word the likeliest is drawn, however freely");
    await usual();
    await set({ "Longest answer": "3" });
    await anew();
    await last.getByText(/^Cut off after 3 tokens$/).waitFor();
    const began = await text();
    await button("Go on").click();
    await last.getByText(/^Cut off after 3 more tokens$/).waitFor();
    const further = await text();
    assert.ok(further.startsWith(began) && further.length > began.length && whole.startsWith(further), "it is what it would have been");
    for (let times = 0; times < whole.length && (await button("Go on").isVisible()); times++) {
      await button("Go on").click();
      await idle();
    }
    assert.equal(await text(), whole);
    await last.getByText(/^[0-3] more tokens? · [\d.]+ a second$/).waitFor();
    await usual();
  });

  await t.test("another tab with the same chat shows what is said in this one", async () => {
    const other = await page.context().newPage();
    await other.goto(page.url());
    await other.getByText("What is a GPU?", { exact: true }).last().waitFor();
    await other.locator("#message").fill("half a");
    await page.bringToFront();
    await say("What is a lake?");
    await other.locator(".turn.assistant").nth(1).getByText(/ a second$/).waitFor();
    await other.getByText("This chat went on in another tab").waitFor();
    assert.equal(await other.locator("#message").inputValue(), "half a");
    await other.close();
  });

  await t.test("a page that is left in the middle of an answer has it when it comes back", async () => {
    await button("New chat").click();
    await ramble();
    await holdAnswer(page, PIECES);
    await begin(LONG);
    await eventually(page, isKept, 60);
    await page.reload();
    await last.getByText("Stopped here").waitFor();
    assert.ok((await text()).length > 40);
    assert.equal(await page.locator(".turn").count(), 2);
    await usual();
    await page.getByText("It is a toy that knows some hundred words").waitFor();
  });

  await t.test("what was learnt and the model as it came answer side by side, and one of them is picked", async () => {
    await page.goto(`${new URL(page.url()).origin}/#train`);
    const set = (name, value) => page.locator(`[name=${name}]`).evaluate((input, value) => {
      input.value = value;
      input.dispatchEvent(new Event("input", { bubbles: true }));
      input.dispatchEvent(new Event("change", { bubbles: true }));
    }, value);
    await page.waitForFunction(() => document.querySelector("[name=max_steps]").value !== "");
    await page.locator("[name=never]").evaluate((input) => input.checked || input.click());
    for (const [name, value] of [["max_steps", "4"], ["per_device_train_batch_size", "1"], ["learning_rate", "0.05"]]) await set(name, value);
    await page.locator("#start").click();
    await status("Done: 4 steps.");
    await page.locator("#ask-begin:enabled").waitFor({ state: "attached" });
    await page.getByRole("link", { name: "Chat", exact: true }).click();
    assert.ok(await page.locator("#voice option").first().isVisible() || (await page.getByLabel("Who answers").inputValue()) === "own");
    if (await button("New chat").isVisible()) await button("New chat").click();
    await button("Answer side by side").click();
    await say("What is a lake?");
    const columns = page.locator(".beside article");
    await button("This one (The model as it came)").waitFor();
    const said = await columns.locator(".answer").allInnerTexts();
    assert.equal(said[1], kept.lake, "the model as it came is as it was");
    assert.notEqual(said[0], said[1]);
    const boxes = await columns.evaluateAll((all) => all.map((one) => one.getBoundingClientRect().top));
    assert.equal(boxes[0], boxes[1], "beside one another");
    await checked("answers side by side", "light", "dark");
    await button("This one (The model as it came)").press("Enter");
    await page.locator("#picked-count").filter({ hasText: "1 picked" }).waitFor();
    await page.locator("#message:focus").waitFor();
    assert.equal(await text(), kept.lake);
    await say("What is a GPU?");
    assert.equal(await page.locator(".beside article").count(), 2, "the next is answered by both again");
    kept.beside = new URL(page.url()).hash;
    await button("Learn from them (pairs)").click();
    await page.locator("#chosen-rows:visible").filter({ hasText: "picks" }).waitFor();
    await page.goBack();
  });

  await t.test("on a phone and on another day: everything is there, under its address", async () => {
    await page.setViewportSize({ width: 390, height: 844 });
    await open(kept.beside);
    await page.reload();
    await page.locator(".beside article").nth(1).waitFor();
    const boxes = await page.locator(".beside article").evaluateAll((all) => all.map((one) => one.getBoundingClientRect().top));
    assert.ok(boxes[1] > boxes[0], "below one another");
    assert.ok(await page.getByRole("heading", { name: "Your chats" }).isHidden());
    await button("Your chats (7)").click();
    await checked("a phone", "light", "dark");
    answers.next = "Lakes";
    await button("Rename What is a lake?").first().click();
    await page.getByRole("link", { name: /^Lakes/ }).waitFor();
    answers.next = undefined;
    await page.getByRole("link", { name: /^What is a lake\?/ }).click();
    await page.locator(".turn.user").filter({ hasText: HOSTILE }).waitFor();
    assert.equal(new URL(page.url()).hash, kept.address);
    assert.equal(await button("Good answer").nth(1).getAttribute("aria-pressed"), "true");
    await page.goBack();
    await page.getByRole("heading", { name: "Lakes" }).waitFor();

    // What was learnt on the day before is chosen by its name, and its model is loaded with it.
    await page.getByLabel("Who answers").selectOption({ label: "Bundled FAQ" });
    await page.locator("#said").filter({ hasText: "“Bundled FAQ” answers now." }).waitFor({ state: "attached" });
    await idle();
    await say("What is a lake?");
    // What was said last is in sight.
    await page.waitForFunction(() => {
      const end = document.querySelector("#chat-log").getBoundingClientRect().bottom;
      return end <= document.querySelector("#chat-form").getBoundingClientRect().top + 1;
    });
    await button("Your chats (7)").click();
    await button("Delete Lakes").click();
    assert.match(answers.asked.at(-1), /^Delete the chat “Lakes”\?/);
    await page.getByText("“Lakes” was deleted.").waitFor();
    assert.equal(new URL(page.url()).hash, "#chat");
    await open(kept.beside);
    await page.getByText("This chat is not in this browser.").waitFor();
    await page.setViewportSize({ width: 320, height: 700 });
    await checked("a narrow phone");
  });
  assert.deepEqual(complaints, []);
});
