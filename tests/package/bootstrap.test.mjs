// Intervals by the bootstrap: how often they hold what is true, and what they let be said.
import assert from "node:assert/strict";
import { test } from "node:test";
import { bootstrap, randomOf, verdictOf } from "../../www/package/build/evaluation/bootstrap.js";

const mean = ([sum], rows) => ({ mean: sum / rows });

test("an interval of 95 % holds the truth in 93 to 97 % of a thousand samples", async (t) => {
  const random = randomOf(7);
  const normal = () => Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
  let held = 0;
  for (let seed = 0; seed < 1000; seed++) {
    // Rows of 5 to 24 tokens that the tuned model finds half a nat a token likelier, less than they differ among themselves.
    const columns = [[], [], []];
    for (let row = 0; row < 100; row++) {
      const tokens = 5 + Math.floor(random() * 20);
      const own = 3 * normal();
      for (const [index, value] of [tokens, own - 2 * tokens, own - 1.5 * tokens + 2 * normal()].entries()) columns[index].push(value);
    }
    const statistics = ([tokens, base, tuned]) => ({ difference: (base - tuned) / tokens });
    const { difference } = await bootstrap(columns, statistics, { resamples: 400, seed });
    if (difference.low <= -0.5 && difference.high >= -0.5) held += 1;
  }
  t.diagnostic(`${held} of 1000`);
  assert.ok(held >= 930 && held <= 970, `${held} of 1000`);
});

test("an interval of a mean is about 1.96 standard errors to either side, and the same each time", async () => {
  const random = randomOf(3);
  const values = Array.from({ length: 400 }, () => random());
  const found = await bootstrap([values], mean);
  const average = values.reduce((sum, value) => sum + value) / 400;
  const error = Math.sqrt(values.reduce((sum, value) => sum + (value - average) ** 2, 0) / 400 / 400);
  assert.ok(Math.abs(found.mean.value - average) < 1e-12);
  for (const [end, sign] of [["low", -1], ["high", 1]]) {
    const expected = average + sign * 1.96 * error;
    assert.ok(Math.abs(found.mean[end] - expected) < 0.15 * error, `${end}: ${found.mean[end]}, not ${expected}`);
  }
  assert.deepEqual(await bootstrap([values], mean), found);
  assert.notDeepEqual(await bootstrap([values], mean, { seed: 1 }), found);
});

test("percentiles keep their places where a number is made of another", async () => {
  const random = randomOf(5);
  const values = Array.from({ length: 20 }, () => random());
  const { loss, perplexity } = await bootstrap([values], ([sum], rows) => ({ loss: sum / rows, perplexity: Math.exp(sum / rows) }));
  for (const end of ["value", "low", "high"]) assert.equal(perplexity[end], Math.exp(loss[end]));
});

test("rows are drawn in pairs: what all rows share is certain, however they differ", async () => {
  const base = [1, 50, 3, 1000, 7];
  const tuned = base.map((value) => value - 1);
  const { difference, tuned: alone } = await bootstrap([base, tuned], ([base, tuned], rows) => ({ difference: (tuned - base) / rows, tuned: tuned / rows }));
  assert.deepEqual(difference, { value: -1, low: -1, high: -1 });
  assert.ok(alone.high - alone.low > 100);
});

test("the page is let do something else, and may stop it", async () => {
  const many = new Float64Array(50_000);
  let breaths = 0;
  const breathe = async () => {
    if (++breaths === 3) throw new Error("enough");
  };
  await assert.rejects(bootstrap([many], mean, { breathe }), /enough/);
});

test("a verdict is what the interval says and no more", () => {
  const of = (low, high, rows = 5, greater = true) => verdictOf({ value: (low + high) / 2, low, high }, rows, greater);
  assert.equal(of(0.1, 0.2), "better");
  assert.equal(of(-0.2, -0.1), "worse");
  assert.equal(of(0.1, 0.2, 5, false), "worse");
  assert.equal(of(-0.2, -0.1, 5, false), "better");
  assert.equal(of(-0.1, 0.9), "undecided");
  assert.equal(of(0, 0.9), "undecided", "zero is in the interval");
  assert.equal(of(0, 0), "undecided");
  assert.equal(of(0.1, 0.2, 4), "undecided", "four rows decide nothing");
  assert.equal(of(NaN, NaN), "undecided");
});
