// Answers are compared as SQuAD's official script does: what is expected here is what evaluate-v2.0.py gives.
import assert from "node:assert/strict";
import { test } from "node:test";
import { exactMatch, f1, normalized } from "../../www/package/build/evaluation/squad.js";

test("answers are normalised as by SQuAD's script", () => {
  for (const [answer, expected] of [
    ["The Eiffel Tower!", "eiffel tower"],
    ["  an   apple\ta\nday ", "apple day"],
    ["U.S.A.", "usa"],
    ["10,000", "10000"],
    ["theatre", "theatre"],
    ["the_the the", "thethe"],
    ["a la a", "la"],
    // Letters with accents belong to words, and articles of other languages stay.
    ["éa naïve a", "éa naïve"],
    ["Die Katze, die der Hund jagt.", "die katze die der hund jagt"],
    // Only the punctuation of ASCII goes.
    ["«oui»", "«oui»"],
    ["", ""],
    ["the", ""],
  ]) {
    assert.equal(normalized(answer), expected);
  }
});

test("exact match and F1 are SQuAD's, of the best answer that is right", () => {
  for (const [text, answers, exact, expected] of [
    ["the Denver Broncos!", ["Denver Broncos"], 1, 1],
    ["Denver Broncos won", ["Denver Broncos"], 0, 0.8],
    ["Saint Bernadette Soubirous", ["Bernadette"], 0, 0.5],
    ["in Santa Clara, California", ["Santa Clara, California."], 0, 6 / 7],
    ["gold gold", ["gold"], 0, 2 / 3],
    ["gold", ["gold gold"], 0, 2 / 3],
    ["", ["the"], 1, 1],
    ["the", ["x"], 0, 0],
    ["Levi's Stadium", ["Santa Clara", "Levi's Stadium", "Levi's Stadium in Santa Clara"], 1, 1],
    ["the stadium in Santa Clara", ["Santa Clara", "Levi's Stadium"], 0, 2 / 3],
  ]) {
    assert.equal(exactMatch(text, answers), exact, text);
    assert.ok(Math.abs(f1(text, answers) - expected) < 1e-12, `${text}: ${f1(text, answers)}`);
  }
});
