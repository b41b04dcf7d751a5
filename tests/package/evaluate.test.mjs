// Whether a model got better, and what it forgot, of an engine that is played: figures that are checked by hand.
import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";
import { PROSE } from "../../www/package/build/evaluation/prose.js";
import { PATIENCE } from "../../www/package/build/pulse.js";
import { Trainer } from "../../www/package/build/trainer.js";
import { answers, playPage, workers } from "./played-worker.mjs";

playPage();
PATIENCE.grace = 0.1;

let trainer, active, asked, progress, stored;

/** Scores of a row's texts by `[base, tuned]`, each `[logp, tokens, hits]`. */
const scoresOf = (row, adapter) => {
  if (row.text === "bad") throw Object.assign(new Error("the row is bad"), { code: "bad-data" });
  const texts = row.chosen ? [row.chosen, row.rejected] : [row.scores];
  return texts.map((scores) => scores[adapter ? 1 : 0]).map(([logp, tokens, hits]) => ({ logp, tokens, hits }));
};

beforeEach(async () => {
  workers.length = 0;
  active = "default";
  asked = [];
  progress = [];
  stored = [];
  for (const call of Object.keys(answers)) delete answers[call];
  Object.assign(answers, {
    start: () => ({}),
    load_model: () => ({}),
    load_adapter: ({ name }) => ({ active: name, adapters: [{ name }], has_run: false }),
    score: ({ texts, adapter, train }, _worker, report) => {
      asked.push({ texts, adapter, train });
      const rows = texts.rows ?? stored.slice(texts.first, texts.count === undefined ? undefined : texts.first + texts.count);
      report({ status: "tokenize", name: "held out", file: "", loaded: rows.length, total: rows.length });
      const scores = rows.flatMap((row) => scoresOf(row, adapter));
      report({ status: "score", name: "", file: "", loaded: rows.length, total: rows.length });
      return scores;
    },
    dataset_info: () => ({ rows: stored.length }),
    dataset_rows: ({ first, count }) => stored.slice(first, first + count).map((row) => ({ row })),
    close: () => ({}),
  });
  const progress_callback = (event) => progress.push(event);
  const init_adapter = active ? [new File(["{}"], "adapter_config.json")] : undefined;
  trainer = await Trainer.load("http://localhost/tiny/", { init_adapter, train: { max_length: 64 }, progress_callback });
  progress.length = 0;
});

afterEach(() => trainer.dispose());

const text = (base, tuned) => ({ text: "a text", scores: [base, tuned] });
const near = (found, expected) => assert.ok(Math.abs(found - expected) < 1e-9, `${found}, not ${expected}`);

test("texts are judged by their loss: it is a mean over tokens, and less is better", async () => {
  // Three tokens of 2 nats and one of 6: a mean over rows would be 4.
  const rows = [text([-6, 3, 1], [-3, 3, 2]), text([-6, 1, 0], [-5, 1, 0])];
  const found = await trainer.evaluate([...rows, ...rows, ...rows]);
  assert.deepEqual([found.kind, found.rows, found.failed, found.judged_by, found.notices], ["text", 6, [], "loss", []]);
  near(found.base.loss.value, 3);
  near(found.tuned.loss.value, 2);
  near(found.difference.loss.value, -1);
  near(found.base.perplexity.value, Math.exp(3));
  near(found.difference.perplexity.value, Math.exp(2) - Math.exp(3));
  near(found.base.mean_token_accuracy.value, 0.25);
  near(found.difference.mean_token_accuracy.value, 0.25);
  // All tokens became a nat likelier, so whatever is drawn says the same.
  near(found.difference.loss.low, -1);
  near(found.difference.loss.high, -1);
  near(found.base.perplexity.low, Math.exp(found.base.loss.low));
  assert.ok(found.base.loss.low < 3 && found.base.loss.high > 3);
  // Half of the rows have more hits, and one draw of 64 has none of these: fewer than the 2.5 % that lie below an interval.
  assert.deepEqual(Object.values(found.difference).map(({ verdict }) => verdict), ["better", "better", "better"]);
  const [first, ...others] = rows.concat(rows, rows);
  const one_hit = others.map(({ scores: [base] }) => text(base, base));
  const { difference } = await trainer.evaluate([first, ...one_hit]);
  assert.deepEqual([difference.mean_token_accuracy.low, difference.mean_token_accuracy.verdict], [0, "undecided"], "a third of the draws lack it");
  asked.splice(2);
  assert.equal(found.verdict, "better");
  assert.deepEqual(asked.map(({ adapter, train }) => [adapter, train]), [[false, { max_length: 64 }], [true, { max_length: 64 }]]);
  assert.deepEqual(await trainer.evaluate([...rows, ...rows, ...rows]), found, "the same each time");
  asked.splice(0);
  await trainer.evaluate(rows, { train: { max_length: 8 } });
  assert.deepEqual(asked.map(({ train }) => train), [{ max_length: 8 }, { max_length: 8 }], "read as the caller says");
  await assert.rejects(trainer.evaluate(rows, { train: 8 }), { code: "bad-option", message: "train must be an object" });
});

test("a model that is worse is told so, and what cannot be told is not", async () => {
  const better = text([-20, 10, 5], [-10, 10, 6]);
  const worse = text([-10, 10, 5], [-20, 10, 4]);
  const verdictOf = async (rows) => (await trainer.evaluate(rows)).verdict;
  assert.equal(await verdictOf(Array(5).fill(worse)), "worse");
  assert.equal(await verdictOf(Array(4).fill(better)), "undecided", "four rows");
  assert.equal(await verdictOf([better, worse, better, worse, better, worse, better]), "undecided");
  assert.equal(await verdictOf(Array(5).fill(text([-10, 10, 5], [-10, 10, 5]))), "undecided", "nothing has changed");
});

test("pairs are judged by their ranks; a tie is wrong", async () => {
  const pair = (chosen, rejected) => ({ prompt: "?", chosen: chosen.map((logp) => [logp, 2, 0]), rejected: rejected.map((logp) => [logp, 2, 0]) });
  const rows = [
    pair([-4, -1], [-2, -3]), // wrong by 2, then right by 2
    pair([-3, -2], [-3, -3]), // a tie, then right by 1
    pair([-1, -2], [-5, -5]), // right by 4, then by 3; the chosen one is less likely
    pair([-4, -4], [-4, -4]), // a tie twice
  ];
  const found = await trainer.evaluate(rows);
  assert.deepEqual([found.kind, found.rows, found.judged_by, found.verdict], ["pairs", 4, "accuracy", "undecided"]);
  near(found.base.accuracy.value, 1 / 4);
  near(found.tuned.accuracy.value, 3 / 4);
  near(found.base.margin.value, (-2 + 0 + 4 + 0) / 4);
  near(found.tuned.margin.value, (2 + 1 + 3 + 0) / 4);
  near(found.win_rate.value, 2 / 4);
  assert.ok(found.win_rate.low >= 0 && found.win_rate.low < 0.5 && found.win_rate.high > 0.5);
  const sure = await trainer.evaluate(Array(6).fill(rows[0]));
  assert.deepEqual([sure.difference.accuracy.verdict, sure.verdict, sure.win_rate], ["better", "better", { value: 1, low: 1, high: 1 }]);
});

test("rows that fail are told, and the others are judged", async () => {
  const rows = Array.from({ length: 9 }, () => text([-20, 10, 5], [-10, 10, 6]));
  rows[2] = { text: "bad" };
  rows[6] = text([0, 0, 0], [0, 0, 0]);
  rows[7] = text([-3, 1, 0], [NaN, 1, 0]);
  const { rows: count, failed, verdict } = await trainer.evaluate(rows);
  assert.deepEqual([count, verdict], [6, "better"]);
  assert.deepEqual(failed.map(({ row, reason }) => [row, reason.split(":")[0]]), [
    [2, "the row is bad"],
    [6, "nothing in it is learnt from"],
    [7, "how likely it is is not finite"],
  ]);
  await assert.rejects(trainer.evaluate([{ text: "bad" }, { text: "bad" }]), { code: "bad-data", message: /none of the rows.*row 0: the row is bad/ });
  await assert.rejects(trainer.evaluate([]), { code: "bad-data", message: /there is none/ });
  await assert.rejects(trainer.evaluate([null, "row"]), { code: "bad-data", message: /there is none/ });
  const mixed = await trainer.evaluate([null, rows[0], { prompt: "a", answer: "b" }, { chosen: "a", rejected: "b" }]);
  assert.deepEqual([mixed.rows, mixed.failed.map(({ row, reason }) => `${row} ${reason.slice(0, 18)}`)], [1, ["0 is of another kind", "2 is of another kind", "3 is of another kind"]]);
});

test("what is not a row's fault is thrown", async () => {
  answers.score = () => {
    throw Object.assign(new Error("too little"), { code: "out-of-memory" });
  };
  await assert.rejects(trainer.evaluate([text([-1, 1, 0], [-1, 1, 0])]), { code: "out-of-memory" });
  const controller = new AbortController();
  answers.score = (_args, worker) => new Promise((_, reject) => {
    controller.abort();
    const timer = setInterval(() => worker.cancelled.length > 0 && (clearInterval(timer), reject(Object.assign(new Error("stopped"), { code: "cancelled" }))), 1);
  });
  await assert.rejects(trainer.evaluate([text([-1, 1, 0], [-1, 1, 0])], { signal: controller.signal }), { code: "cancelled" });
  await trainer.dispose();
  const bare = await Trainer.load("http://localhost/tiny/");
  await assert.rejects(bare.evaluate([text([-1, 1, 0], [-1, 1, 0])]), { code: "bad-state", message: /no adapter is active/ });
  await assert.rejects(bare.forgetting(), { code: "bad-state" });
  await assert.rejects(bare.evaluate([], { metric: 1 }), { code: "bad-option", message: /metric is not an option of evaluate; there are metrics/ });
  await assert.rejects(bare.evaluate([], null), { code: "bad-option", message: /must be an object/ });
  for (const wrong of [null, "rows", { adapter: true }]) await assert.rejects(bare.evaluate(wrong), { code: "bad-option" });
  await bare.dispose();
});

test("a dataset is evaluated in part, and one that was learnt from with a notice", async () => {
  stored = Array.from({ length: 8 }, () => text([-20, 10, 5], [-10, 10, 6]));
  const held_out = { name: "held out" };
  assert.equal((await trainer.evaluate(held_out)).rows, 8);
  assert.deepEqual(asked.at(-1).texts, { dataset: "held out", first: 0 });
  assert.equal((await trainer.evaluate(held_out, { first: 2, count: 5 })).rows, 5);
  assert.deepEqual(asked.at(-1).texts, { dataset: "held out", first: 2, count: 5 });
  for (const [part, message] of [[{ first: -1 }, /first is -1/], [{ count: 1.5 }, /count is 1.5/]]) {
    await assert.rejects(trainer.evaluate(held_out, part), { code: "bad-option", message });
  }
  await assert.rejects(trainer.evaluate(stored, { first: 1 }), { code: "bad-option", message: /first is a part of a dataset/ });
  const list = () => ({ active: "default", adapters: [], has_run: true });
  Object.assign(answers, { prepare: () => ({ total_steps: 1 }), adapters: list });
  await trainer.prepare(held_out, { run_name: null, max_length: 32 });
  const { notices } = await trainer.evaluate(held_out);
  assert.deepEqual(notices.map(({ code }) => code), ["rows-were-learnt"]);
  assert.equal(asked.at(-1).train.max_length, 32, "rows are read as the run reads them");
});

test("progress goes over both passes", async () => {
  await trainer.evaluate(Array(3).fill(text([-2, 1, 0], [-1, 1, 0])));
  const told = progress.map(({ status, loaded, total, progress }) => [status, loaded, total, progress && Math.round(progress)]);
  assert.deepEqual(told, [
    ["tokenize", 3, 3, undefined],
    ["evaluate", 3, 6, 50],
    ["tokenize", 3, 3, undefined],
    ["evaluate", 6, 6, 100],
  ]);
});

/** Answers that the played model gives: `[base, tuned]` by question. */
const SAID = { "2+2": ["five", "Four."], capital: ["Rome", "It is Paris"], colour: ["blue", "the blue!"], empty: ["x", ""], broken: null };

function playAnswers() {
  answers.generate = ({ prompt, options }) => {
    asked.push({ prompt, options });
    const said = SAID[typeof prompt === "string" ? prompt : prompt.at(-1).content];
    if (!said) throw Object.assign(new Error("the prompt has 0 tokens"), { code: "bad-data" });
    return { text: said[options.adapter ? 1 : 0] };
  };
}

test("questions are answered by both models and measured", async () => {
  playAnswers();
  const rows = [
    { prompt: "2+2", answer: ["4", "four"] },
    { prompt: [{ role: "user", content: "capital" }], answer: "Paris" },
    { prompt: "broken", answer: "x" },
    { prompt: "colour", answer: "blue" },
    { prompt: "colour" },
  ];
  const found = await trainer.evaluate(rows, { max_new_tokens: 9 });
  assert.deepEqual([found.kind, found.rows, found.judged_by, found.verdict], ["answers", 3, "exact_match", "undecided"]);
  assert.deepEqual(found.failed, [
    { row: 2, reason: "the prompt has 0 tokens" },
    { row: 4, reason: "has no prompt with an answer" },
  ]);
  near(found.base.exact_match.value, 1 / 3);
  near(found.tuned.exact_match.value, 2 / 3);
  near(found.base.f1.value, 1 / 3);
  near(found.tuned.f1.value, (1 + 1 / 2 + 1) / 3);
  near(found.difference.f1.value, (1 + 1 / 2 + 1) / 3 - 1 / 3);
  assert.deepEqual(found.answers[1], {
    row: 1,
    prompt: [{ role: "user", content: "capital" }],
    base: { text: "Rome", scores: { exact_match: 0, f1: 0 } },
    tuned: { text: "It is Paris", scores: { exact_match: 0, f1: 0.5 } },
  });
  assert.ok(asked.every(({ options }) => options.temperature === 0 && options.max_new_tokens === 9));
  assert.deepEqual(progress.at(-1).loaded, 5);
});

test("metrics of the caller's own may wait, and one that fails fails its row", async () => {
  playAnswers();
  const length = async (text, { limit }) => {
    if (limit === 0) throw new Error("no limit");
    return text.length <= limit;
  };
  const rows = [
    { prompt: "2+2", answer: "4", limit: 4 },
    { prompt: "capital", answer: "Paris", limit: 4 },
    { prompt: "colour", answer: "blue", limit: 0 },
  ];
  const metrics = [length, { name: "names a city", pattern: /paris|rome/gi }, () => 3];
  const found = await trainer.evaluate(rows, { metrics });
  assert.deepEqual(Object.keys(found.base), ["length", "names a city", "metric 3"]);
  assert.deepEqual(found.answers.map(({ base }) => base.scores), [
    { length: 1, "names a city": 0, "metric 3": 3 },
    { length: 1, "names a city": 1, "metric 3": 3 },
  ]);
  assert.deepEqual(found.failed.map(({ row, reason }) => [row, reason]), [[2, 'the metric "length" threw: Error: no limit']]);
  for (const [wrong, message] of [
    [[], /at least one/],
    [["bleu"], /"bleu", but takes "exact_match"/],
    [[/a/], /takes/],
    [["f1", "f1"], /"f1" twice/],
  ]) {
    await assert.rejects(trainer.evaluate(rows, { metrics: wrong }), { code: "bad-option", message });
  }
});

test("the rows of a dataset are questions where metrics are given", async () => {
  playAnswers();
  const chat = (question, answer) => [{ role: "user", content: question }, { role: "assistant", content: answer }];
  stored = [
    { prompt: "2+2", completion: "four" },
    { messages: chat("capital", "Paris") },
    { prompt: [{ role: "user", content: "colour" }], completion: [{ role: "assistant", content: "blue" }], pair: true },
    { messages: chat("colour", "blue").slice(0, 1) },
    { text: "no question" },
  ];
  const found = await trainer.evaluate({ name: "held out" }, { metrics: ["f1"] });
  assert.deepEqual(found.answers.map(({ row, tuned }) => [row, tuned.scores.f1]), [[0, 1], [1, 0.5], [2, 1]]);
  assert.deepEqual(found.failed.map(({ row, reason }) => [row, reason]), [
    [3, "its last turn is not the assistant's"],
    [4, "has no prompt with an answer"],
  ]);
  const part = await trainer.evaluate({ name: "held out" }, { metrics: ["f1"], first: 1, count: 2 });
  assert.deepEqual(part.answers.map(({ row }) => row), [1, 2]);
});

test("a model has forgotten where the perplexity of a text that nobody learnt rose by more than a third", async () => {
  const play = (rise) => {
    answers.score = ({ texts: { rows }, adapter, train }) => {
      asked.push({ rows, train });
      return rows.map(() => ({ logp: -100 * (2 + (adapter ? Math.log(1 + rise) : 0)), tokens: 100, hits: 0 }));
    };
  };
  for (const [rise, has_forgotten, words] of [
    [0.3, false, /rose from 7\.4 to 9\.6, by 30 % \(95 % interval of the change: 30 to 30 %\)\. That is within a third/],
    [0.4, true, /by 40 % .* has forgotten some of what it knew/],
    [-0.5, false, /fell from 7\.4 to 3\.7, by 50 % .*-50 to -50 %/],
  ]) {
    play(rise);
    const found = await trainer.forgetting();
    near(found.before.value, Math.exp(2));
    near(found.after.value, (1 + rise) * Math.exp(2));
    near(found.rose_by.value, rise);
    assert.equal(found.has_forgotten, has_forgotten);
    assert.match(found.sentence, words);
  }
  assert.deepEqual(asked.at(-1).rows, PROSE.map((text) => ({ text })));
  assert.equal(asked.at(-1).train, undefined, "how the run's rows are cut has nothing to do with it");
  const words = PROSE.join(" ").split(/\s+/).length;
  assert.ok(words > 1100 && words < 1400, `${words} words`);
  assert.ok(PROSE.every((paragraph) => !/\n| {2}/.test(paragraph)));
  await trainer.forgetting({ texts: ["ein Text"] });
  assert.deepEqual(asked.at(-1).rows, [{ text: "ein Text" }]);
  await assert.rejects(trainer.forgetting({ texts: "ein Text" }), { code: "bad-option", message: /texts must be a list/ });
});
