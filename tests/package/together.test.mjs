// What the page says of learning together, before and while somebody takes part.
import assert from "node:assert/strict";
import { generateKeyPairSync } from "node:crypto";
import { test } from "node:test";
import { termsOf } from "../../www/package/build/federated/terms.js";
import { studio } from "./page-modules.mjs";

const words = await studio("together/together-words.ts");

const terms = (more = {}) =>
  termsOf({
    version: 1,
    name: "Ours",
    operator: "<b>We</b>",
    base_model_name_or_path: "somebody/small",
    lora: { r: 4, lora_alpha: 8, target_modules: "all-linear" },
    train: { max_steps: 5, learning_rate: 1e-3 },
    rounds: 3,
    ...more,
  });
/** Somebody's public key, as nodes send it. */
const keyOf = () => generateKeyPairSync("ec", { namedCurve: "P-384" }).publicKey.export({ type: "spki", format: "pem" });
const offer = (more) => ({ terms: terms(more), server: "https://ours.example", values: 1000, bytes_up: 4000, bytes_down: 8000, steps: 5 });
const mine = { name: "Recipes", rows: 40, held_out: 0 };
const lines = (more, of = mine) => Object.fromEntries(words.offerLines(offer(more), of));

test("terms are told as they are, as text", () => {
  const told = Object.fromEntries(words.termsLines(terms({ purpose: "For us." })));
  assert.deepEqual(told, {
    "Run by": "<b>We</b>",
    For: "For us.",
    Model: "somebody/small",
    Rounds: "3. In each, your browser trains for 5 steps and sends what that changed.",
    "Who may join": "Anyone. A round begins once 2 are there.",
  });
  const others = Object.fromEntries(words.termsLines(terms({ train: { num_train_epochs: 1, learning_rate: 1e-3 }, enrolled: [keyOf()], min_clients: 5 })));
  assert.match(others.Rounds, /1 pass over your rows/);
  assert.equal(others["Who may join"], "Those whom the operator has put on a list. A round begins once 5 are there.");
  assert.equal("For" in others, false);
});

test("an offer says what leaves, how much of it, how often, and what the server sees", () => {
  const plain = lines();
  assert.equal(plain["Trains on"], "40 rows of “Recipes”");
  assert.match(plain["Is sent"], /1,000 small parts .* 4 bytes each: 4 kB a round\. With them, how many rows you have, .* mean loss\.$/);
  assert.equal(plain["How often"], "Once in each of 3 rounds, after 5 steps on your rows: 12 kB in all. 8 kB come back a round.");
  assert.match(plain.Hidden, /^Not masked: the server sees your own changes/);
  assert.equal(plain.Noise, "None is added.");
  assert.match(plain.Time, /, 60 minutes at most/);
  assert.match(lines({}, { ...mine, held_out: 7 })["Is sent"], /how many rows you hold out, 7, and the loss on them\.$/);
  assert.doesNotMatch(lines({ evaluate: false }, { ...mine, held_out: 7 })["Is sent"], /hold out/);
  assert.match(lines({ delta_dtype: "nf4" })["Is sent"], /about half a byte each/);
});

test("masks, noise and clipping are told in a sentence each", () => {
  const masked = lines({ privacy: { mask: true } });
  assert.match(masked.Hidden, /^Masked: the server sees the sum/);
  assert.match(masked["Is sent"], /only within the sum\.$/);
  const local = lines({ privacy: { noise: "local", clip: 0.5, noise_multiplier: 0.333333 } });
  assert.match(local.Noise, /^Your browser adds noise of deviation 0\.167 .* Changes are cut to a length of 0\.5 /);
  assert.match(lines({ privacy: { noise: "central", clip: 2, noise_multiplier: 1 } }).Noise, /^The server adds noise of deviation 2 to the sum/);
  assert.equal(lines({ privacy: { clip: 2 } }).Noise, "None is added. Changes are cut to a length of 2 before they leave.");
});

test("the model that is chosen is the right one, another, or files that nobody knows", () => {
  const is = (wanted, chosen) => words.isChosen({ base_model_name_or_path: wanted }, chosen);
  const hub = (name) => ({ kind: "hub", name });
  const bundled = { kind: "bundled", name: "" };
  assert.equal(is("somebody/small", hub("https://huggingface.co/somebody/small")), "yes");
  assert.equal(is("somebody/small", hub("somebody/large")), "no");
  assert.equal(is("somebody/small", bundled), "no");
  assert.equal(is("somebody/small", undefined), "no");
  assert.equal(is("somebody/small", { kind: "folder", name: "x" }), "unknown");
  for (const name of ["tabtune/tiny", "bundled", "https://example.org/models/tiny/"]) assert.equal(is(name, bundled), "yes");
  assert.equal(is("tabtune/tiny", { kind: "folder", name: "x" }), "no");
  const note = (chosen) => words.modelNote(terms(), chosen);
  assert.equal(note(hub("somebody/small")), "");
  assert.equal(note(bundled), "Here somebody/small is trained, and the bundled model is chosen.");
  assert.equal(note(undefined), "Here somebody/small is trained.");
});

test("a key is on a list however its lines are broken", () => {
  const [mine, other, another] = [keyOf(), keyOf(), keyOf()];
  assert.ok(words.isEnrolled(terms(), mine));
  assert.ok(words.isEnrolled(terms({ enrolled: [other, mine.trim().replaceAll("\n", "\r\n")] }), mine));
  assert.ok(words.isEnrolled(terms({ enrolled: [other, mine] }), mine.replace(/\n(?=.{64}\n)/, "")));
  assert.equal(words.isEnrolled(terms({ enrolled: [other, another] }), mine), false);
  assert.equal(words.grouped("0123456789ab"), "0123 4567 89ab");
});

test("times and events are told in words", () => {
  assert.deepEqual([1, 119, 600, 5400, 7200, 90_000].map(words.timeWords), ["1 second", "119 seconds", "10 minutes", "90 minutes", "2 hours", "25 hours"]);
  assert.equal(words.eventWords({ type: "sent", number: 1, bytes: 326_000, detail: "" }), "Sent 326 kB. Waiting for the others…");
  assert.equal(words.eventWords({ type: "run", event: { type: "checkpoint" } }), undefined);
  assert.equal(words.eventWords({ type: "run", event: { type: "resting", detail: "the battery is low" } }), "Resting because the battery is low.");
  assert.equal(words.lossWords({ loss_before: 2, loss_after: 1.5 }), "2.000 → 1.500");
  assert.match(words.togetherEnd(0, 3, false), /Nothing was learnt/);
  assert.match(words.togetherEnd(2, 3, false), /^You have left in round 2 of 3/);
  assert.match(words.togetherEnd(3, 3, true), /^All 3 rounds are over/);
});
