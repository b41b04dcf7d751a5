// What the command line asks the model before and after a run, from the rows as they are kept.
import assert from "node:assert/strict";
import { test } from "node:test";
import { questionOf } from "../../www/runner/question.js";

test("a chat is asked up to its first question", () => {
  const system = { role: "system", content: "Be brief." };
  const user = { role: "user", content: "What  is\nthis?" };
  const assistant = { role: "assistant", content: "A test." };
  const asked = (prompt) => ({ prompt, text: "What is this?" });
  assert.deepEqual(questionOf({ messages: [system, user, assistant, user] }), asked([system, user]));
  assert.deepEqual(questionOf({ messages: [assistant, user] }), asked([assistant, user]));
  assert.deepEqual(questionOf({ prompt: [user], completion: [assistant] }), asked([user]));
  assert.deepEqual(questionOf({ prompt: [user, assistant, user], completion: [] }), asked([user, assistant, user]));
  assert.equal(questionOf({ messages: [assistant] }), undefined);
  assert.equal(questionOf({ messages: [] }), undefined);
});

test("a pair is asked as a chat, and as its text where there is no chat template", () => {
  const prompt = [{ role: "system", content: "Be brief." }, { role: "user", content: "When?" }];
  assert.deepEqual(questionOf({ prompt, completion: [{ role: "assistant", content: "Now." }], pair: true }), {
    prompt,
    without_template: { prompt: "Be brief.\n\nWhen?\n" },
    text: "When?",
  });
});

test("bare text is gone on from", () => {
  assert.deepEqual(questionOf({ prompt: "One and", completion: " two" }), { prompt: { prompt: "One and" }, text: "One and" });
  assert.deepEqual(questionOf({ text: "one two three four" }).prompt, { prompt: "one two" });
  assert.deepEqual(questionOf({ text: "ab" }).prompt, { prompt: "a" });
  assert.deepEqual(questionOf({ text: "" }).prompt, { prompt: "" });
  const long = questionOf({ text: "word ".repeat(1000) });
  assert.ok(long.prompt.prompt.length <= 200 && long.prompt.prompt.endsWith("word"), long.prompt.prompt);
  assert.deepEqual(questionOf({ text: "😀".repeat(300) }).prompt, { prompt: "😀".repeat(150) });
  assert.equal(questionOf({ prompt: "a".repeat(300), completion: "b" }).text, `${"a".repeat(200)}…`);
  assert.equal(questionOf({}), undefined);
});
