// Which evaluation is the best and when patience runs out: what transformers' EarlyStoppingCallback does with the same values.
import assert from "node:assert/strict";
import { test } from "node:test";
import { judged } from "../../www/package/build/evaluation/best.js";

/** After how many of these values the run ends, and which of them is the best. */
function played(values, { patience, threshold = 0, greater_is_better = false }) {
  const evaluations = [];
  let found;
  for (const [step, value] of values.entries()) {
    evaluations.push({ step, value });
    found = judged(evaluations, { metric: "eval_loss", greater_is_better, patience, threshold });
    if (found.stops) break;
  }
  return [evaluations.length, found.best?.step, found.failures];
}

test("patience runs out after so many evaluations in a row that are no better than the best", () => {
  assert.deepEqual(played([3, 2, 2.5, 2.2, 1], { patience: 2 }), [4, 1, 2]);
  assert.deepEqual(played([3, 2, 2.5, 1.9, 2.1, 2], { patience: 2 }), [6, 3, 2], "progress begins the count anew");
  assert.deepEqual(played([3, 3], { patience: 1 }), [2, 0, 1], "the same is no progress");
  assert.deepEqual(played([3, 2, 1], { patience: 1 }), [3, 2, 0]);
  assert.deepEqual(played([1, 2, 3, 4], { patience: undefined }), [4, 0, 3], "without patience all evaluations are made");
});

test("more is better of what is no loss", () => {
  assert.deepEqual(played([0.5, 0.6, 0.55, 0.7], { patience: 1, greater_is_better: true }), [3, 1, 1]);
});

test("below the threshold a value is the new best and no progress", () => {
  // 2.95 is the best when 2.9 comes, which is nearer to it than the threshold.
  assert.deepEqual(played([3, 2.95, 2.9, 1], { patience: 2, threshold: 0.1 }), [3, 2, 2]);
  assert.deepEqual(played([3, 2.8, 2.6], { patience: 1, threshold: 0.1 }), [3, 2, 0]);
  // Exactly the threshold is not more than it.
  assert.deepEqual(played([3, 2.5], { patience: 1, threshold: 0.5 }), [2, 1, 1]);
});

test("what is no number is neither the best nor progress, and the first evaluation always is", () => {
  assert.deepEqual(played([NaN, NaN, NaN], { patience: 2 }), [3, undefined, 2]);
  assert.deepEqual(played([NaN, 5, NaN], { patience: 1 }), [3, 1, 1]);
});
