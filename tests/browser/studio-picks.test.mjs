// Two answers, of which a person picks one: what comes of it.
import assert from "node:assert/strict";
import { test } from "node:test";
import { openStudio } from "./studio.mjs";

/** Steps in which ten picks are learnt. */
const STEPS = 48;

test("picks on the page", async (t) => {
  const { page, complaints, open, button, status, downloaded, idle } = await openStudio(t);

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
  /** The page goes where one begins to learn once it knows what the rows say. */
  const learnFrom = async (kind) => {
    await button(`Learn from them (${kind})`).click();
    await page.waitForFunction(() => location.hash === "#train");
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

    await learnFrom("pairs");
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
    // What the toy tells of animals if it keeps to what is likely is how something was lost, so that most pairs differ in it.
    const likes = (story) => !/\blost\b/.test(story);
    await open();
    await drawTheSame();
    await page.getByLabel("Two answers").check();
    await page.getByText("What you picked", { exact: true }).click();
    await page.getByLabel("Pairs are kept as").fill("stories without a loss");
    await page.getByLabel("Pairs are kept as").press("Enter");
    await page.locator("#picked-sets").getByText("none yet").first().waitFor();
    const heroes = ["a cat", "a dog", "a fox", "a horse", "a bear", "a mouse", "a hen", "a goat", "a pig", "a cow"];
    let [picked, asked] = [0, 0];
    while (picked < 10) {
      assert.ok(asked < 80, `${picked} picks of ${asked} pairs of answers`);
      await say(storiesOf(heroes)[asked++ % heroes.length]);
      if (!(await judge(".answer-pair", likes, "Neither"))) continue;
      await said(`${++picked} picked`);
      await button("New chat").click();
    }
    await learnFrom("pairs");
    await page.getByRole("radio", { name: "stories without a loss" }).and(page.locator(":checked")).waitFor();
    assert.ok(await page.locator("#toy-note").isHidden(), "its own answers are what the toy can learn from");
    // Some words are gone sooner than they could be waited for.
    await page.evaluate(() => {
      const status = document.querySelector("#status");
      globalThis.statuses = [];
      new MutationObserver(() => globalThis.statuses.push(status.textContent)).observe(status, { childList: true });
    });
    await page.getByLabel("Rows a step").fill("2");
    await page.getByLabel("Steps").fill(String(STEPS));
    const began = performance.now();
    await button("Start fine-tuning").click();
    await status(`Done: ${STEPS} steps.`);
    await idle();
    const statuses = await page.evaluate(() => globalThis.statuses);
    assert.ok(statuses.some((text) => /^Asking the model as it was how likely it finds each answer: \d+, /.test(text)), statuses.slice(0, 20).join("\n"));
    const seconds = ((performance.now() - began) / 1000).toFixed(0);
    assert.equal(await page.locator("#report").innerText().then((text) => text.replace(/[\d,]+ tokens/, "tokens")), `10 rows · tokens · ${STEPS} steps`);
    assert.ok(await page.locator("#rewards canvas").isVisible());
    const rewards = await page.locator("#rewards").getAttribute("aria-label");
    const learnt = `^Margin by step: 0\\.000 at step 1, .* [1-9]\\.\\d+ at step ${STEPS}\\. Share in your order by step: .* 1\\.000 at step ${STEPS}\\.$`;
    assert.match(rewards, new RegExp(learnt));
    await page.locator("#samples th").filter({ hasText: `Step ${STEPS}` }).waitFor();
    await page.locator("#events li").filter({ hasText: new RegExp(`step ${STEPS / 2}\\s*Answered 1 prompt\\.`) }).waitFor();
    const looks = page.locator("#seen-rows article").first();
    assert.match(await looks.innerText(), /Row 1, the better answer.*\d+ learnt.*Row 1, the worse answer.*\d+ avoided.*\blost\b/s);

    const unseen = ["an owl", "a rabbit", "a bird", "a sheep", "a lion", "a wolf", "a duck", "Tom", "Adam", "Hugo"];
    await page.getByLabel("What to ask, one a line, ten at most").fill(storiesOf(unseen).join("\n"));
    await button("Begin the blind test").click();
    const judging = page.locator("#blind-judging");
    await page.locator("#blind-judging:not([hidden]), #blind-result:not([hidden])").waitFor();
    while (await judging.isVisible()) await judge("#blind-pair", likes, "No difference");
    const counted = await page.locator("#blind-counted").innerText();
    const [, won, of] = /^The answers after won (\d+) of (\d+), which is \d+ % \(95 % interval: \d+ to \d+ %\)\.( No difference in \d+\.)?$/.exec(counted);
    assert.ok(of >= 6 && won >= 0.8 * of, counted);
    assert.equal(await page.locator("#blind-verdict").innerText(), "Better, on questions like these.");
    t.diagnostic(`10 picks of ${asked} pairs of answers, ${STEPS} steps in ${seconds} s: ${counted}`);

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
    await learnFrom("ratings");
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

  assert.deepEqual(complaints, []);
});
