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
  assert.equal(questionOf({ messages: [assistant] }), undefined);
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
