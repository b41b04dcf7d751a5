// What a person teaches by picking, as far as it needs no browser.
import assert from "node:assert/strict";
import { test } from "node:test";
import { studio } from "./page-modules.mjs";
import { buttonIn, playPage } from "./played-page.mjs";
import { settled } from "./settled.mjs";

const user = (content) => ({ role: "user", content });
const assistant = (content) => ({ role: "assistant", content });

/** As long as whatever was begun takes to come to rest. */

/** Datasets that are kept as long as the test, each a list of rows by its name. */
function playDatasets(kept = {}) {
  const open = async (name) => ({
    name,
    info: async () => ({ rows: kept[name]?.length ?? 0 }),
    rows: async (first, count) => {
      // As the engine has it.
      if (!kept[name]?.length) throw new Error(`dataset "${name}" is empty`);
      return kept[name].slice(first, first + count).map((row) => ({ row }));
    },
    import: async (rows, { append = false }) => {
      if (rows.length === 0) throw new Error("no rows to keep");
      kept[name] = [...(append ? (kept[name] ?? []) : []), ...structuredClone(rows)];
    },
    delete: async () => void delete kept[name],
  });
  globalThis.played = { Dataset: { open }, Trainer: {} };
  return kept;
}

test("picks, edits and ratings are rows as TRL has them", async () => {
  const { pairRow, ratingRow, kindOf, isSameRow } = await studio("chat/preference-rows.ts");
  const turns = [{ role: "system", content: "Be brief." }, user("Open?"), assistant("Yes."), user("When?")];
  assert.deepEqual(pairRow(turns, "At nine.", "Nine, I think.", true), { prompt: turns, chosen: [assistant("At nine.")], rejected: [assistant("Nine, I think.")] });
  assert.deepEqual(pairRow(turns, "At nine.", "Nine.", false), { prompt: "Be brief.\n\nOpen?\nYes.\n\nWhen?\n", chosen: "At nine.", rejected: "Nine." }, "a model without a chat template learns text");
  assert.deepEqual(ratingRow([user("When?")], "Never.", false, true), { prompt: [user("When?")], completion: [assistant("Never.")], label: false });
  assert.deepEqual(ratingRow([user("When?")], "At nine.", true, false), { prompt: "When?\n", completion: "At nine.", label: true });

  const [pair, rating] = [pairRow([user("a")], "b", "c", true), ratingRow([user("a")], "b", true, true)];
  assert.deepEqual([pair, rating, { prompt: "a", completion: "b" }, { prompt: "a", completion: "b", label: 0 }, { messages: [] }].map(kindOf), ["pairs", "ratings", "examples", "examples", "examples"]);
  assert.ok(isSameRow(pair, { rejected: pair.rejected, chosen: [{ content: "b", role: "assistant" }], prompt: pair.prompt }), "in whatever order the engine writes it");
  assert.ok(!isSameRow(pair, { ...pair, chosen: pair.rejected }));
});

test("an order of chance has every item once, and each order as often as any other", async () => {
  const { shuffled } = await studio("ui/shuffle.ts");
  assert.deepEqual(shuffled([1, 2, 3], () => 0), [2, 3, 1]);
  assert.deepEqual(shuffled([1, 2, 3], () => 0.999), [1, 2, 3]);
  assert.deepEqual(shuffled([]), []);
  const counts = {};
  // A grid of all that chance can say for three items: 3 × 2 ways.
  for (const first of [0.1, 0.4, 0.9]) {
    for (const second of [0.2, 0.8]) {
      const said = [first, second];
      const order = shuffled(["a", "b", "c"], () => said.shift()).join("");
      counts[order] = (counts[order] ?? 0) + 1;
    }
  }
  assert.deepEqual(Object.values(counts), [1, 1, 1, 1, 1, 1]);
});

test("a win rate has Wilson's interval, and nothing is better where that has one half in it", async () => {
  const { wilson, verdictOf, verdictWords } = await studio("chat/verdict.ts");
  const rounded = ({ low, high }) => [low.toFixed(4), high.toFixed(4)];
  // The roots p of (x/n - p)² = z² p (1 - p) / n, in 40 digits.
  assert.deepEqual(rounded(wilson(9, 10)), ["0.5958", "0.9821"]);
  assert.deepEqual(rounded(wilson(0, 10)), ["0.0000", "0.2775"]);
  assert.deepEqual(rounded(wilson(10, 10)), ["0.7225", "1.0000"]);
  assert.deepEqual(rounded(wilson(50, 100)), ["0.4038", "0.5962"]);
  assert.deepEqual(rounded(wilson(0, 0)), ["0.0000", "1.0000"]);

  const verdict = (wins, losses, ties = 0) => verdictOf({ wins, losses, ties });
  assert.deepEqual([verdict(5, 0), verdict(6, 0), verdict(8, 2), verdict(9, 1), verdict(1, 9), verdict(0, 0, 10)], ["undecided", "better", "undecided", "better", "worse", "undecided"]);
  for (let wins = 0; wins <= 30; wins++) {
    for (let losses = 0; losses <= 30; losses++) {
      const { low, high } = wilson(wins, wins + losses);
      const is_open = wins + losses < 6 || (low <= 0.5 && high >= 0.5);
      assert.equal(verdict(wins, losses) === "undecided", is_open, `${wins} to ${losses}`);
      assert.equal(verdictWords({ wins, losses, ties: 0 }).verdict.startsWith("Not decided"), is_open);
    }
  }
  assert.deepEqual(verdictWords({ wins: 9, losses: 1, ties: 2 }), {
    verdict: "Better, on questions like these.",
    counted: "The answers after won 9 of 10, which is 90 % (95 % interval: 60 to 98 %). No difference in 2.",
  });
  assert.deepEqual(verdictWords({ wins: 0, losses: 0, ties: 4 }), { verdict: "Not decided: you saw no difference.", counted: "" });
});

test("picked rows are added and taken out one by one, and never among others", async () => {
  playPage();
  const kept = playDatasets({ faq: [{ messages: [] }] });
  const { PickedRows, MissingInput } = await studio("chat/picked-rows.ts", "ui/missing.ts");
  const pairs = new PickedRows("pairs");
  assert.deepEqual([pairs.name, await pairs.count()], ["picks", 0]);
  const row = (n) => ({ prompt: [user("q")], chosen: [assistant(`good ${n}`)], rejected: [assistant(`bad ${n}`)] });
  for (const n of [1, 2, 3]) await pairs.add(row(n));
  assert.deepEqual(kept.picks, [row(1), row(2), row(3)]);
  assert.deepEqual(await pairs.takeOut(row(2)), row(2));
  assert.equal(await pairs.takeOut(row(9)), undefined);
  assert.deepEqual(await pairs.takeOut(), row(3));
  assert.deepEqual(await pairs.takeOut(), row(1));
  assert.equal("picks" in kept, false, "nothing stays of the dataset");
  assert.equal(await pairs.takeOut(), undefined);

  const names = {};
  globalThis.localStorage = { getItem: (name) => names[name] ?? null, setItem: (name, value) => (names[name] = value), removeItem: (name) => delete names[name] };
  pairs.name = " faq ";
  assert.equal(new PickedRows("pairs").name, "faq", "a name is kept");
  await assert.rejects(pairs.add(row(1)), (thrown) => thrown instanceof MissingInput && /“faq” are no pairs of answers/.test(thrown.message));
  assert.equal(kept.faq.length, 1);
  pairs.name = "";
  assert.equal(pairs.name, "picks");
  delete globalThis.localStorage;
});

test("a dataset is handed over as JSON lines, as it is kept", async () => {
  playPage();
  const rows = Array.from({ length: 2500 }, (_, n) => ({ prompt: [user(`${n}\n`)], completion: [assistant("ü")], pair: true }));
  playDatasets({ faq: rows, empty: [] });
  const { jsonlOf, rowsIn } = await studio("data/stored-rows.ts");
  const faq = await globalThis.played.Dataset.open("faq");
  const lines = (await (await jsonlOf(faq)).text()).trimEnd().split("\n");
  assert.deepEqual(lines.map((line) => JSON.parse(line)), rows.map(({ pair, ...row }) => row), "without what is for the engine alone");
  const some = async (...range) => {
    const found = [];
    for await (const { prompt } of rowsIn(faq, ...range)) found.push(Number(prompt[0].content));
    return found;
  };
  assert.deepEqual(await some(998, 1002), [998, 999, 1000, 1001]);
  assert.equal(await (await jsonlOf(await globalThis.played.Dataset.open("empty"))).text(), "");
});

/** A talk whose model says what the test tells it to. */
async function talkWith(answers, { has_learnt = false } = {}) {
  const kept = playDatasets();
  playPage();
  const { Talk, PickedRows } = await studio("chat/talk.ts", "chat/picked-rows.ts");
  const asked = [];
  async function* answer(turns, how, as) {
    asked.push({ turns, how, as });
    const text = answers.shift();
    if (text === undefined) throw new DOMException("", "AbortError");
    yield text;
    return { text, stop: "eos", tokens: 1, tokens_per_second: 10 };
  }
  const tried = async (work) => work(new AbortController().signal).then(() => true, () => false);
  const page = {
    answering: (begun, work) => (begun(), tried(work)),
    working: tried,
    answer,
    nameOf: (as) => as ?? "now",
    others: () => ["base", "poet"],
    model: () => ({ words: "a model", is_chat: true }),
    system: () => "Be brief.",
  };
  const talk = new Talk(page, { pairs: new PickedRows("pairs"), ratings: new PickedRows("ratings"), refresh: async () => undefined });
  const send = (text, two) => {
    talk.draft.value = text;
    return talk.send({ two, has_learnt });
  };
  const last = () => talk.chat.value.turns.at(-1);
  return { talk, kept, asked, send, last };
}

test("of two answers one is picked, the chat goes on with it, and the pick can be undone", async () => {
  const { talk, kept, asked, send, last } = await talkWith(["at ten", "at nine", "bye", "farewell", "same", "same"]);
  await send("When?", "temperature");
  assert.deepEqual(asked.map(({ how }) => how.temperature).sort(), [0.3, 1], "one cautious, one free");
  assert.notEqual(asked[0].how.seed, asked[1].how.seed);
  assert.ok(last().is_blind && last().picked === null);
  assert.equal(kept.picks, undefined);
  await talk.pick(last().id, 1);
  const asks = [{ role: "system", content: "Be brief." }, user("When?")];
  const row = { prompt: asks, chosen: [assistant("at nine")], rejected: [assistant("at ten")] };
  assert.deepEqual(kept.picks, [row]);
  assert.equal(last().origins.length, 1, "what was picked is judged");

  await talk.undo();
  assert.equal(kept.picks, undefined);
  assert.equal(last().picked, null, "and can be picked from once more");
  await talk.pick(last().id, 0);
  assert.deepEqual(kept.picks, [{ ...row, chosen: row.rejected, rejected: row.chosen }]);

  await send("And now?", "temperature");
  assert.deepEqual(asked.at(-1).turns, [...asks, assistant("at ten"), user("And now?")], "the chat went on with the one that was chosen");
  talk.pickNeither();
  assert.equal(kept.picks.length, 1, "which keeps nothing");
  assert.equal(talk.draft.value, "And now?", "it can be asked again");
  await send("And now?", "temperature");
  assert.deepEqual([last().spoken.length, last().picked], [1, 0], "there is nothing to pick of two that are the same");
  assert.match(talk.note.value, /^Both answers are the same/);
  await send("Stop");
  assert.equal(talk.draft.value, "Stop", "what was not answered can be asked again");
  assert.equal(talk.chat.value.turns.length, 4);
});

test("an answer is rated, rated otherwise, and rated no more", async () => {
  const { talk, kept, asked, send, last } = await talkWith(["at nine"]);
  await send("When?");
  assert.deepEqual(asked[0].how, { temperature: 0, max_new_tokens: 256 }, "the likeliest answer");
  const row = { prompt: [{ role: "system", content: "Be brief." }, user("When?")], completion: [assistant("at nine")], label: true };
  const rate = (is_good) => talk.rate(last().id, 0, is_good);
  await rate(true);
  assert.deepEqual(kept.ratings, [row]);
  assert.equal(last().spoken[0].rating.label, true);
  await rate(false);
  assert.deepEqual(kept.ratings, [{ ...row, label: false }]);
  await rate(false);
  assert.deepEqual([kept.ratings, last().spoken[0].rating, kept.picks], [undefined, null, undefined]);
});

test("an edited answer is better than the one it was, and the chat goes on with it", async () => {
  const { talk, kept, asked, send, last } = await talkWith(["at ten", "yes"]);
  await send("When?");
  await talk.correct(last().id, "at nine");
  await talk.correct(last().id, "at nine, every day");
  const said = kept.picks.map(({ chosen, rejected }) => [chosen[0].content, rejected[0].content]);
  assert.deepEqual(said, [["at nine", "at ten"], ["at nine, every day", "at nine"]]);
  await talk.undo();
  await send("Sure?");
  assert.deepEqual(asked.at(-1).turns.slice(1), [user("When?"), assistant("at nine"), user("Sure?")]);
  assert.equal(kept.picks.length, 1);
});

test("of three side by side the picked one is better than each that says something else", async () => {
  const { talk, kept, asked, send, last } = await talkWith(["one", "two", "one", "later", "late", "latest"]);
  talk.set({ beside: ["base", "poet", "gone"] });
  await send("When?");
  assert.deepEqual(asked.map(({ as }) => as), [undefined, "base", "poet"], "each that is there, after one another");
  await talk.pick(last().id, 1);
  assert.deepEqual(kept.picks.map(({ chosen, rejected }) => [chosen[0].content, rejected[0].content]), [["two", "one"]], "the same words are rejected once");
  await talk.undo();
  assert.equal(kept.picks, undefined);
  await send("And then?");
  const answered = asked.slice(3).map(({ turns }) => turns[2].content);
  assert.deepEqual(answered, ["one", "two", "one"], "without a pick each goes on from its own answer");
  await talk.pick(last().id, 0);
  assert.equal(kept.picks.length, 2, "a pair for each of the others");
  assert.deepEqual(kept.picks[0].prompt[2], assistant("one"), "to what was said before in that chat");
  await talk.undo();
  assert.equal(kept.picks, undefined, "undone at once");
});

test("two answers are of the likely and the free, or of before and after once something was learnt", async () => {
  const { twoManners } = await studio("chat/manner.ts");
  const seeds = [1, 2];
  const of = (more) => ({ max_new_tokens: 9, ...more });
  assert.deepEqual(twoManners("learnt", true, 9, () => seeds.shift()), [of({ adapter: false, temperature: 0.3, seed: 1 }), of({ adapter: true, temperature: 0.3, seed: 2 })]);
  assert.deepEqual(twoManners("learnt", false, 9, () => 7), [of({ temperature: 0.3, seed: 7 }), of({ temperature: 1, seed: 7 })]);
  const { asked, send } = await talkWith(["a", "b"], { has_learnt: true });
  await send("When?", "temperature");
  assert.deepEqual(asked.map(({ how }) => how.adapter), [undefined, undefined], "the person chooses before and after");
});

test("a blind test asks what was not learnt", async () => {
  const { promptsIn, promptOfRow, promptsNotLearnt } = await studio("chat/blind-prompts.ts");
  assert.deepEqual(promptsIn(" a \n\nb\na\n"), ["a", "b"]);
  assert.equal(promptsIn(Array.from({ length: 30 }, (_, n) => n).join("\n")).length, 10);
  const row = (prompt) => ({ prompt: [{ role: "system", content: "s" }, user(prompt)], chosen: [assistant("x")], rejected: [assistant("y")] });
  assert.equal(promptOfRow(row(" What\nis it? ")), "What is it?");
  assert.equal(promptOfRow({ ...row("a"), prompt: [user("a"), assistant("b"), user("c")] }), undefined, "a question in the middle of a chat is not asked by itself");
  assert.equal(promptOfRow({ prompt: "2+2=", chosen: "4", rejected: "5" }), "2+2=");

  const many = Array.from({ length: 14 }, (_, n) => row(`q${n}`));
  playDatasets({ picks: [...many, many[0]] });
  const { open } = globalThis.played.Dataset;
  const learnt = { dataset: "picks", heldout: null, is_chat: true, count: 2 };
  const found = await promptsNotLearnt(await open("picks"), learnt, open);
  assert.deepEqual(found, Array.from({ length: 10 }, (_, n) => `q${n + 4}`), "the latest, without those of the rows that were there then");
  assert.deepEqual(await promptsNotLearnt(await open("picks"), { ...learnt, count: null }, open), []);
  assert.deepEqual((await promptsNotLearnt(await open("nothing"), null, open)), []);
});

test("a blind test shows no side, counts what was picked, and calls nothing better too early", async () => {
  const page = playPage();
  playDatasets();
  const { BlindTest } = await studio("chat/blind.ts");
  const asked = [];
  async function* answer(turns, adapter) {
    asked.push([turns.at(-1).content, adapter]);
    const text = turns.at(-1).content === "same" ? "same" : adapter ? "good" : "bad";
    return { text, stop: "eos" };
  }
  const answering = (work) => work(new AbortController().signal).then(() => true);
  const test = new BlindTest({ answering, answer, system: () => null, picked: () => globalThis.played.Dataset.open("picks"), learntRows: async () => null });
  for (const id of ["blind-range", "blind-rate"]) page.element(id).style = {};
  test.offer(undefined);
  assert.ok(page.element("blind-card").hidden);
  test.offer("a run");
  assert.ok(!page.element("blind-card").hidden && page.element("blind-judging").hidden);
  page.element("blind-begin").click();
  assert.match(page.element("blind-note").textContent, /^Write up to 10 questions/);

  const run = async (questions, pickGood) => {
    page.element("blind-prompts").value = questions.join("\n");
    page.element("blind-begin").click();
    await settled();
    const seen = new Set();
    while (!page.element("blind-judging").hidden) {
      const pair = page.element("blind-pair");
      const [a, b] = ["This one (Answer A)", "This one (Answer B)"].map((word) => buttonIn(pair, word));
      const texts = [a, b].map((button) => button.parent.children[1].textContent);
      seen.add(texts.join());
      const pick = pickGood ? "good" : "bad";
      (texts[0] === pick ? a : b).click();
    }
    return seen;
  };
  const ten = Array.from({ length: 9 }, (_, n) => `q${n}`);
  const seen = await run([...ten, "same"], true);
  assert.deepEqual(asked.slice(0, 2), [["q0", false], ["q0", true]]);
  assert.ok([...seen].every((texts) => ["good,bad", "bad,good"].includes(texts)));
  assert.equal(page.element("blind-verdict").textContent, "Better, on questions like these.");
  assert.match(page.element("blind-counted").textContent, /^The answers after won 9 of 9, which is 100 % .*No difference in 1\.$/);
  assert.equal(page.element("blind-list").children.length, 10);

  page.element("blind-again").click();
  await run(["q1", "q2", "q3"], true);
  assert.match(page.element("blind-verdict").textContent, /^Not decided/, "three of three are too few");
  page.element("blind-again").click();
  await run(ten, false);
  assert.equal(page.element("blind-verdict").textContent, "Worse, on questions like these.");
  test.offer("another run");
  assert.ok(page.element("blind-result").hidden);
});

test("pairs and ratings are learnt as preferences, and examples as examples", async () => {
  const { misfit, withPreferences } = await studio("train/preferences.ts");
  const fits = (method, optim = "sgd") => ["examples", "pairs", "ratings"].filter((kind) => misfit(method, kind, optim) === undefined);
  assert.deepEqual(fits(undefined), ["examples", "ratings"]);
  assert.deepEqual(fits(undefined, "mezo"), ["examples", "ratings"]);
  assert.deepEqual(fits("dpo"), ["pairs"]);
  assert.deepEqual(fits("kto"), ["pairs", "ratings"]);
  assert.deepEqual(fits("kto", "mezo"), []);
  const train = { max_steps: 9, assistant_only_loss: true, completion_only_loss: true, packing: true };
  assert.deepEqual(withPreferences(train, {}), train);
  assert.deepEqual(withPreferences(train, { method: "dpo", beta: 0.1 }), { max_steps: 9, packing: true, method: "dpo", beta: 0.1 });
  assert.deepEqual(withPreferences(train, { method: "kto", beta: 0.1 }), { max_steps: 9, packing: false, method: "kto", beta: 0.1 });
});

test("columns of a chart have a place for each step, and go back with the run", async () => {
  const { Columns } = await studio("watch/columns.ts");
  const columns = new Columns(2);
  columns.set(0, 1, 5);
  columns.set(1, 1, 6);
  columns.set(1, 2, 7);
  columns.set(0, 4, 8);
  assert.deepEqual(columns.all, [[1, 2, 4], [5, null, 8], [6, 7, null]]);
  columns.goBack(2);
  assert.deepEqual(columns.all, [[1, 2], [5, null], [6, 7]]);
  columns.clear();
  assert.deepEqual(columns.all, [[], [], []]);
});

test("what was answered as the model learnt is a table of prompts by steps", async () => {
  const page = playPage();
  const { sampleOptions, showSamplesOf } = await studio("watch/samples.ts");
  assert.deepEqual(sampleOptions({}, ["When?"]), {});
  const trainer = { samples: async () => ({ prompts: [[user("When?")]], steps: [0, 20], texts: [["Never.", null]] }) };
  assert.deepEqual(sampleOptions(trainer, ["When?"]), { sample_prompts: ["When?"], sample_steps: 0.25, sample_max_new_tokens: 48 });
  await showSamplesOf(trainer);
  const [head, body] = page.element("samples").children;
  assert.deepEqual(head.children[0].children.map(({ children }) => children[0]), ["Asked", "Before", "Step 20"]);
  assert.deepEqual(body.children.map((row) => row.children.map(({ children }) => children[0])), [["When?", "Never.", "–"]]);
  assert.equal(page.element("samples-part").hidden, false);
  await showSamplesOf({});
  assert.equal(page.element("samples-part").hidden, true, "nothing was answered on the way");
});
