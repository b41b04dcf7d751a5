// What the page measures of what was learnt, and what it says of that, as far as it needs no browser.
import assert from "node:assert/strict";
import { test } from "node:test";
import { studio } from "./page-modules.mjs";
import { buttonIn, playPage } from "./played-page.mjs";
import { settled } from "./settled.mjs";

const user = (content) => ({ role: "user", content });
const assistant = (content) => ({ role: "assistant", content });

const datasetOf = (name, rows) => ({
  name,
  info: async () => ({ rows: rows.length }),
  rows: async (first, count) => rows.slice(first, first + count).map((row) => ({ row })),
  held_out: async (share) => (share === 0.5 ? [...rows.keys()].filter((number) => number % 2 === 1) : []),
});

async function* each(rows) {
  yield* rows;
}

const interval = (value, low, high) => ({ value, low, high });
const texts = (verdict, rows, change = interval(-0.5, -0.7, -0.25)) => ({
  kind: "text",
  rows,
  failed: [],
  verdict,
  base: { loss: interval(2) },
  tuned: { loss: interval(2 + change.value) },
  difference: { loss: change },
});

test("rows that were learnt, or ask what was learnt, are no test", async () => {
  const { unlearntRows } = await studio("data/unlearnt.ts");
  const chat = (question, answer) => ({ messages: [user(question), assistant(answer)] });
  const pair = (question) => ({ prompt: [user(question)], chosen: [assistant("x")], rejected: [assistant("y")] });
  const learnt = [chat("a", "1"), pair("b"), { text: "One two three four five six seven" }];
  const given = [chat("a", "2"), chat("c", "3"), pair("b"), pair("d"), { text: "One two three four five six eight" }, learnt[2]];
  const found = await unlearntRows(each(given), each(learnt), 50);
  assert.deepEqual(found, { rows: [given[1], given[3], given[4]], of: 3, learnt: 3, is_known: true });
  const many = Array.from({ length: 10 }, (_, n) => ({ text: `${n}` }));
  const some = await unlearntRows(each(many), each([]), 4);
  assert.deepEqual(some, { rows: [0, 2, 5, 7].map((n) => many[n]), of: 10, learnt: 0, is_known: false }, "spread over all of them");
});

test("rows are measured as the engine takes them, and of rated answers the good ones alone", async () => {
  const { unlearntRows } = await studio("data/unlearnt.ts");
  const asked = (prompt, more) => ({ prompt, completion: [assistant("x")], ...more });
  const kept = [
    asked([{ role: "system", content: "s" }, user("a"), assistant("b"), user("c")], { pair: true }),
    asked([user("d")], { pair: true, label: true }),
    asked([user("e")], { label: true }),
    asked([user("f")], { label: false }),
  ];
  const { rows, of } = await unlearntRows(each(kept), each([]), 50);
  assert.deepEqual(rows, [
    { system: "s", history: [user("a"), assistant("b")], instruction: "c", output: "x" },
    { instruction: "d", output: "x" },
    { prompt: [user("e")], completion: [assistant("x")] },
  ]);
  assert.equal(of, 3);
});

test("a measurement says better only where the verdict does", async () => {
  const { measuredWords, heldoutWords } = await studio("chat/measured.ts");
  const better = measuredWords(texts("better", 20));
  assert.equal(better.verdict, "Better, on rows like these.");
  assert.equal(better.counted, "Loss a token 2.000 → 1.500, on 20 rows (95 % interval of the change: −0.700 to −0.250). Less is better.");
  assert.equal(better.short, "better on 20 other rows");
  const { low, value, high } = better.picture;
  assert.ok(0.5 < low && low < value && value < high && high < 1, "less loss lies on the better side");
  const worse = measuredWords(texts("worse", 20, interval(0.5, 0.25, 0.7)));
  assert.equal(worse.verdict, "Worse, on rows like these.");
  assert.ok(0 < worse.picture.low && worse.picture.high < 0.5);

  const open = (rows) => measuredWords({ ...texts("undecided", rows, interval(0, 0, 0)), failed: [{ row: 1, reason: "" }] });
  assert.match(open(4).verdict, /^Not decided: fewer than five rows/);
  assert.match(open(20).verdict, /^Not decided by so few rows/);
  assert.match(open(50).verdict, /^Not decided: chance alone/);
  assert.match(open(4).counted, /change: 0\.000 to 0\.000\)\. Less is better\. 1 row could not be measured\.$/);
  assert.equal(open(4).short, "not decided by 4 other rows");
  assert.deepEqual(open(4).picture, { low: 0.5, value: 0.5, high: 0.5 });

  const pairs = measuredWords({
    kind: "pairs",
    rows: 20,
    failed: [],
    verdict: "better",
    base: { accuracy: interval(0.5) },
    tuned: { accuracy: interval(0.9) },
    difference: { accuracy: interval(0.4, 0.15, 0.6) },
    win_rate: interval(0.8, 0.6, 0.95),
  });
  assert.match(pairs.counted, /likelier in 50 → 90 % of 20 pairs \(.*: \+15 to \+60 points\)\. 80 % .* \(60 to 95 %\)\.$/);
  assert.ok(pairs.picture.low > 0.5, "more accuracy lies on the better side");

  const heldout = heldoutWords({ rows: 5, before: 2, after: 1 });
  assert.equal(heldout.verdict, "Held-out loss 2.000 → 1.000.");
  assert.equal(heldout.picture, undefined);
  assert.doesNotMatch(`${heldout.verdict} ${heldout.short}`, /better/i, "without an interval there is no verdict");
});

/** The card, for what is kept as `learnt`, with these datasets by their names. */
async function playCard(learnt, datasets, { evaluation = texts("better", 20), has_forgotten = false } = {}) {
  const page = playPage();
  const all = Object.entries(datasets).map(([name, rows]) => datasetOf(name, rows));
  const open = async (name) => all.find((dataset) => dataset.name === name) ?? datasetOf(name, []);
  const list = async () => all.map(({ name }) => ({ name, rows: datasets[name].length }));
  globalThis.played = { Dataset: { open, list } };
  for (const id of ["measure-range", "measure-change"]) page.element(id).style = {};
  globalThis.Option = function (words, value) {
    return { words, value };
  };
  const asked = [];
  const read = [];
  const trainer = {
    evaluate: async (rows, { train }) => {
      asked.push(rows);
      read.push(train);
      return evaluation;
    },
    forgetting: async () => ({ sentence: "It rose.", has_forgotten }),
  };
  const kept = [];
  const { Measuring } = await studio("chat/measuring.ts");
  const stop = new AbortController();
  const card = new Measuring({
    measuring: (work) => work(trainer, stop.signal).catch(({ message }) => kept.push(message)),
    open: async () => learnt,
    keep: async (...measured) => void kept.push(measured),
  });
  await card.offer(learnt?.id ?? "a file");
  const words = () => page.element("measure-by").children.map(({ words }) => words);
  const measure = async (choice) => {
    page.element("measure-by").value = choice;
    page.element("measure-begin").click();
    await settled();
    return page.element("measure-counted").textContent;
  };
  return { element: page.element, card, trainer, words, measure, asked, read, kept };
}

const learntFrom = (rows, more = {}) => ({ id: "run", rows: { dataset: "rows", heldout: null, count: null, ...rows }, config: { train: {} }, ...more });

test("what was held out is offered first, and what was learnt never", async () => {
  const rows = [{ text: "a" }];
  const sets = { rows, other: [{ text: "a" }, { text: "b" }], "held out": [{ text: "c" }], none: [] };
  const apart = await playCard(learntFrom({ heldout: "held out" }, { heldout: { rows: 1, before: 2, after: 1 } }), sets);
  assert.deepEqual(apart.words(), ["held-out rows: “held out”", "“other”"]);
  assert.match(await apart.measure("rows other"), /Less is better\. 1 row that it has learnt from was left out\.$/);
  assert.deepEqual(apart.asked, [[{ text: "b" }]]);
  assert.deepEqual(apart.kept, [["run", "better on 20 other rows"]]);
  assert.deepEqual([apart.element("measure-forgetting").textContent, apart.element("measure-forgetting").className], ["It rose.", ""]);
  assert.ok(!apart.element("measure-result").hidden && !apart.element("measure-interval").hidden);
  await apart.card.offer("run");
  assert.ok(!apart.element("measure-result").hidden, "it stays as long as the same is open");
  await apart.card.offer("another run");
  assert.ok(apart.element("measure-result").hidden);

  const of_run = { heldout: { rows: 4, before: 2, after: 1 } };
  const train = { load_best_model_at_end: true, test_size: 0.5, max_length: 64 };
  const eight = "abcdefgh".split("").map((text) => ({ text }));
  const here = await playCard(learntFrom({ is_chat: true, count: 6 }, { ...of_run, config: { train } }), { rows: [...eight, { text: "a" }, { text: "a" }] });
  assert.match(await here.measure("share"), /95 % interval.*kept what did best on these very rows.* 1 row that it has learnt from was left out\.$/);
  assert.deepEqual(here.asked, [["b", "d", "f", "h"].map((text) => ({ text }))], "of its own rows those that it held out, and nothing that it learnt");
  assert.deepEqual(here.read, [{ max_length: 64, assistant_only_loss: true, completion_only_loss: true }], "as the run has read its rows");
  assert.ok(!here.element("measure-interval").hidden);
  const share = await playCard(learntFrom({ dataset: "gone" }, { ...of_run, config: { train } }), sets, { has_forgotten: true });
  assert.deepEqual(share.words(), ["the 4 rows that its run held out", "“rows”", "“other”", "“held out”"]);
  assert.match(await share.measure("share"), /kept what did best on these very rows/);
  assert.deepEqual(share.asked, [], "what the run told is not measured again");
  assert.ok(share.element("measure-interval").hidden);
  assert.equal(share.element("measure-forgetting").className, "loud");
  assert.deepEqual(share.kept, [["run", "held-out loss 2.000 → 1.000, and it has forgotten some"]]);

  const all_learnt = await playCard(learntFrom(), { rows, other: rows });
  await all_learnt.measure("rows other");
  assert.deepEqual(all_learnt.kept, ["All rows of “other” were learnt, so they are no test. Choose others."]);
  const brought = await playCard(undefined, { other: rows });
  assert.match(await brought.measure("rows other"), /Nothing here tells which rows it has learnt from/);
  assert.deepEqual(brought.read, [undefined], "how it has read them neither");
  const nothing = await playCard(learntFrom(), { rows });
  assert.ok(nothing.element("measure-begin").hidden && nothing.element("measure-by-label").hidden);
  assert.match(nothing.element("measure-about").textContent, /Hold some out next time: “Held-out share”/);
});

test("a measurement that is stopped keeps what it has told, and calls nothing kept", async () => {
  const { element, trainer, measure, kept } = await playCard(learntFrom(), { rows: [{ text: "a" }], other: [{ text: "b" }] });
  trainer.forgetting = async () => Promise.reject(new DOMException("stopped", "AbortError"));
  await measure("rows other");
  assert.equal(element("measure-verdict").textContent, "Better, on rows like these.");
  assert.ok(element("measure-forgetting").hidden && element("measure-progress").hidden);
  assert.deepEqual(kept, ["stopped"]);
});

/** A run of the page of three steps whose trainer tells these events at its end. */
async function ranTo({ events, lines = [{ step: 3, loss: 1, total_steps: 9 }], plan = {} }) {
  const page = playPage();
  const { LiveRun } = await studio("work/run.ts");
  let ending;
  const evaluations = [2, 1];
  const trainer = {
    ended: false,
    async prepare() {
      this.plan = { eval_rows: 4, total_steps: 9, ...plan };
    },
    async *train(_dataset, { on_event }) {
      yield* lines;
      for (const event of events) on_event(event);
    },
    evaluate: async () => ({ step: 0, rows: 4, eval_loss: evaluations.shift() }),
    save: async () => "files",
  };
  const progress = new Proxy({}, { get: () => () => undefined });
  const follower = { begun: async () => undefined, event: () => undefined, learnt: async (_order, told) => void (ending = told) };
  await new LiveRun(trainer, { id: "a", config: { train: {} }, rows: {} }, progress, follower).train({}, false, new AbortController().signal);
  return { ending, status: page.element("status").textContent };
}

test("a run tells what was kept, why it ended early, and what its held-out rows lost", async () => {
  const best = { step: 2, metric: "eval_loss", value: 0.5 };
  const plain = await ranTo({ events: [] });
  assert.deepEqual(plain, { ending: { step: 3, is_early: false, heldout: { rows: 4, before: 2, after: 1 } }, status: "Done: 3 steps." });
  const early = await ranTo({ events: [{ type: "early-stopped", best }, { type: "best-loaded", best }] });
  assert.deepEqual(early.ending, { step: 3, is_early: true, heldout: { rows: 4, before: 2, after: 0.5 } });
  assert.equal(
    early.status,
    "Ended after 3 of 9 steps: the held-out rows got no better. The model is as it was after step 2, where it did best on the held-out rows.",
  );
  const not_learnt = await ranTo({ events: [{ type: "best-loaded", best: { ...best, step: 0 } }] });
  assert.match(not_learnt.status, /^Done: 3 steps\. The model is as it was before the first step, where it did best/);
  const resumed = { step: 2, log: [{ step: 0, rows: 4, eval_loss: 3 }, { step: 1, loss: 1 }] };
  assert.deepEqual((await ranTo({ events: [], plan: { resumed } })).ending.heldout, { rows: 4, before: 3, after: 2 });
  assert.equal((await ranTo({ events: [], plan: { resumed: { ...resumed, log: [] } } })).ending.heldout, undefined);

  const { wordsOf } = await studio("watch/happened.ts");
  assert.equal(wordsOf({ type: "best-loaded", best, detail: "x" }), "Went back to the best: the least held-out loss was 0.500, after step 2.");
  assert.equal(wordsOf({ type: "early-stopped", best: { ...best, step: 0 } }), "Ended, because it got no better: the least held-out loss was 0.500, after no step.");
});

test("a run that ended early is over, and what it came to is listed", async () => {
  playPage();
  globalThis.played = { Dataset: { list: async () => [{ name: "rows" }] }, Trainer: { checkpoints: async () => [{ step: 3, bytes: 7 }] } };
  const { LearntStore, entriesIn, notesOf, waysOf } = await studio("library/learnt.ts", "library/entries.ts");
  const store = new LearntStore();
  const entry = { version: 1, model: { kind: "bundled", name: "" }, config: { quantization: {}, lora: {}, train: { max_steps: 9 } }, rows: { dataset: "rows", count: 5 }, steps: 3, date: 1 };
  const told = async (id, more) => {
    await store.put({ ...entry, id, name: id, ...more });
    await store.measured(id, "better on 20 other rows");
    const found = (await entriesIn(store)).find(({ learnt }) => learnt.id === id);
    return [notesOf(found), waysOf(found)];
  };
  const early = ["3 of 9 steps", "ended early", "better on 20 other rows"];
  assert.deepEqual(await told("files", { has_files: true, is_early: true }), [early, ["open"]]);
  assert.deepEqual(await told("all weights", { has_files: false, is_early: true }), [early, ["reopen"]], "all weights are opened from the last checkpoint");
  assert.deepEqual(await told("stopped", { has_files: true }), [["3 of 9 steps", "better on 20 other rows"], ["open", "go on"]]);
  await store.measured("nothing", "better");
  assert.equal(await store.get("nothing"), undefined);
});

test("the best is kept by rows that are held out, and by none other", async () => {
  playPage();
  const { SettingsForm } = await studio("train/settings.ts");
  globalThis.fetch = async () => Response.json({});
  const settings = new SettingsForm(() => undefined);
  const config = (train) => ({ quantization: {}, lora: {}, train: { test_size: 0.1, ...train } });
  const size = (rows, train = {}) => settings.forRows(config(train), { kind: "examples", heldout: undefined, ...rows }).train.test_size;
  assert.deepEqual([size({ count: 20 }), size({ count: 19 }), size({ count: null })], [0.1, 0, 0]);
  const keeps = { load_best_model_at_end: true };
  assert.equal(size({ count: 20 }, keeps), 0.1);
  assert.equal(size({ count: 5, heldout: {} }, keeps), 0);
  assert.throws(() => size({ count: 19 }, keeps), /“Keep the best” needs rows that are held out/);
});
