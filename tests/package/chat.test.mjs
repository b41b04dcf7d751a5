// The chats of the page: what is said, stopped, said anew, and kept.
import assert from "node:assert/strict";
import { test } from "node:test";
import { studio } from "./page-modules.mjs";
import { playPage } from "./played-page.mjs";

const user = (content) => ({ role: "user", content });
const assistant = (content) => ({ role: "assistant", content });

const MODULES = ["chat/manner.ts", "chat/talk.ts", "chat/chats.ts", "chat/store.ts", "chat/record.ts"];

/** What the page's localStorage holds. */
function playDrafts(kept = {}) {
  globalThis.localStorage = {
    getItem: (name) => kept[name] ?? null,
    setItem: (name, value) => (kept[name] = value),
    removeItem: (name) => delete kept[name],
  };
  return kept;
}

/** Lets a test say what the model says, piece by piece, and when it is stopped. */
function playModel() {
  const asked = [];
  let next = [];
  let stopped;
  const model = {
    asked,
    /** What is answered next, each a list of pieces. "stop" is where the person stops it, and "break" where it breaks. */
    says: (...answers) => (next = answers),
    async *answer(turns, how, as) {
      asked.push({ turns, how, as });
      let text = "";
      for (const piece of next.shift() ?? []) {
        await Promise.resolve();
        if (piece === "stop") throw (stopped = new DOMException("", "AbortError"));
        if (piece === "break") throw new Error("the engine broke");
        if (piece === "cut") return { text, stop: "length", tokens: 2, tokens_per_second: 5 };
        if (typeof piece === "function") await piece();
        else {
          text += piece;
          yield piece;
        }
      }
      return { text, stop: "eos", tokens: 2, tokens_per_second: 5 };
    },
  };
  return model;
}

/** Waits for what other work brings about. */
async function until(is_so) {
  for (let times = 0; times < 500 && !is_so(); times++) await new Promise((resolve) => setTimeout(resolve, 2));
  assert.ok(is_so(), String(is_so));
}

async function openTalk({ system = null } = {}) {
  const model = playModel();
  const modules = await studio(...MODULES);
  const tried = async (work) => work(new AbortController().signal).then(() => true, () => false);
  const page = {
    is_busy: false,
    answering: async (begun, work) => {
      if (page.is_busy) return false;
      begun();
      return tried(work);
    },
    working: tried,
    answer: model.answer,
    nameOf: (as) => as ?? "now",
    others: () => ["base"],
    model: () => ({ words: "a model", is_chat: true }),
    system: () => system,
  };
  const rows = { add: async () => undefined, takeOut: async () => undefined };
  const talk = new modules.Talk(page, { pairs: rows, ratings: rows, refresh: async () => undefined });
  const send = (text) => {
    talk.draft.value = text;
    return talk.send();
  };
  const said = () => talk.chat.value.turns.map((turn) => (turn.role === "user" ? turn.text : turn.spoken.map(({ text, end }) => `${text} (${end})`).join(" | ")));
  return { ...modules, page, model, talk, send, said };
}

test("a chat has several turns, and a turn is said anew with all that followed dropped", async () => {
  const { talk, model, page, send, said, USUAL } = await openTalk({ system: "Be brief." });
  model.says(["At", " nine."], ["Yes."]);
  await send("  When? ");
  await send("Sure?");
  assert.deepEqual(model.asked[1].turns, [{ role: "system", content: "Be brief." }, user("When?"), assistant("At nine."), user("Sure?")]);
  talk.set({ system: "Be long.", manner: { ...USUAL, temperature: 0.5, top_p: 0.9, longest: 20, seed: 3 } });
  model.says(["At ten."]);
  talk.draft.value = "half a";
  await talk.sayInstead(talk.chat.value.turns[0].id, "Where?");
  assert.deepEqual(said(), ["Where?", "At ten. (whole)"]);
  assert.equal(talk.draft.value, "half a", "what is being written stays");
  assert.deepEqual(model.asked[2], { turns: [{ role: "system", content: "Be long." }, user("Where?")], how: { temperature: 0.5, top_p: 0.9, seed: 3, max_new_tokens: 20 }, as: undefined });
  page.is_busy = true;
  await send("Now?");
  assert.deepEqual([said().length, talk.draft.value], [2, "Now?"], "nothing is lost while the page does something else");
});

test("stop keeps what was said so far, and where nothing was said the question comes back", async () => {
  const { talk, model, send, said } = await openTalk();
  model.says(["Once upon", " a", "stop"]);
  await send("A story");
  assert.deepEqual(said(), ["A story", "Once upon a (stopped)"]);
  model.says(["stop"]);
  await send("Another");
  assert.deepEqual([said().length, talk.draft.value], [2, "Another"]);
  model.says(["Once upon", "break"]);
  await send("Another");
  assert.equal(said()[3], "Once upon (stopped)", "what broke off is as good as what was stopped");
  talk.set({ beside: ["base"] });
  model.says(["One."], ["stop"]);
  await send("Both");
  assert.equal(said()[5], "One. (whole)", "the one that had its turn is the answer");
  assert.equal(talk.chat.value.turns[5].picked, 0);
});

test("what a template leaves out of an answer cannot be gone on with, and is said once more with more room", async () => {
  const { talk, model, send, said, TabtuneError } = await openTalk();
  model.says(["one", " two", "cut"]);
  await send("Count");
  const { how } = model.asked[0];
  const leavesOut = () => Promise.reject(new TabtuneError({ code: "bad-data", message: "the chat template leaves out what the last message says", context: [] }));
  model.says([leavesOut], ["one", " two", " three"]);
  await talk.goOn();
  assert.equal(said()[1], "one two three (whole)");
  assert.deepEqual(model.asked[2], { turns: [user("Count")], how: { ...how, max_new_tokens: how.max_new_tokens + 2 }, as: undefined });
});

test("an answer goes on in the same way from where it ends, and is given again in another", async () => {
  const { talk, model, send, said, USUAL } = await openTalk();
  talk.set({ manner: { ...USUAL, temperature: 1, top_k: 9, longest: 4, seed: null } });
  model.says(["one", " two", "cut"]);
  await send("Count");
  const { how } = model.asked[0];
  assert.deepEqual(said()[1], "one two (cut)");
  const seen = [];
  const look = () => seen.push([talk.live.value, talk.snapshot.turns[1].spoken[0].text]);
  model.says([look, " three", look, " four \n", "stop"]);
  await talk.goOn();
  const onwards = { ...how, seed: (how.seed + 1) % 2 ** 32, continue_final_message: true };
  assert.deepEqual(model.asked[1], { turns: [user("Count"), assistant("one two")], how: onwards, as: undefined });
  assert.deepEqual(seen, [["one two", "one two"], ["one two three", "one two three"]], "it grows from where it was");
  assert.equal(said()[1], "one two three four \n (stopped)");
  model.says(["break"]);
  await talk.goOn();
  assert.equal(said()[1], "one two three four \n (stopped)", "nothing is lost where it does not go on");
  model.says(["\nfive"]);
  await talk.goOn();
  assert.deepEqual(model.asked[3].turns[1], assistant("one two three four"), "the model writes its spaces itself");
  assert.equal(said()[1], "one two three four\nfive (whole)");
  assert.deepEqual(talk.chat.value.turns[1].spoken[0].told, { tokens: 2, a_second: 5, went_on: true });

  model.says(["uno"]);
  await talk.again();
  assert.notEqual(model.asked[4].how.seed, how.seed);
  assert.deepEqual(said(), ["Count", "uno (whole)"]);
  model.says(["stop"]);
  await talk.again();
  assert.deepEqual(said(), ["Count", "uno (whole)"], "nothing said is no answer in its place");
  talk.set({ manner: { ...USUAL, longest: 4, seed: 5 } });
  model.says(["due"]);
  await talk.again();
  assert.ok(model.asked[6].how.temperature > 0, "the likeliest words would be the same");
});

test("what a person sets is what the engine takes", async () => {
  const { mannerIn, howOf, onwards, USUAL } = await studio("chat/manner.ts");
  const taken = { temperature: 0, top_k: 3, top_p: 1, min_p: 1, repetition_penalty: 0.1, longest: 2, seed: 2 ** 32 - 1 };
  assert.deepEqual(mannerIn({ temperature: -1, top_k: 2.6, top_p: 7, min_p: 2, repetition_penalty: 0, longest: 2.4, seed: 2 ** 40 }), taken);
  assert.deepEqual(mannerIn({ temperature: NaN, top_p: "x", longest: undefined, seed: "1" }), USUAL);
  assert.deepEqual(howOf(USUAL), { temperature: 0, max_new_tokens: 256 }, "nothing is drawn");
  assert.deepEqual(howOf({ ...USUAL, temperature: 1 }, () => 9), { temperature: 1, max_new_tokens: 256, seed: 9 });
  const set = { top_k: 40, top_p: 0.9, min_p: 0.1, repetition_penalty: 1.2 };
  assert.deepEqual(howOf({ ...USUAL, ...set }), { temperature: 0, max_new_tokens: 256, repetition_penalty: 1.2 }, "the rest is of draws");
  assert.deepEqual(howOf({ ...USUAL, ...set, temperature: 1, seed: 7 }), { temperature: 1, max_new_tokens: 256, seed: 7, ...set });
  assert.deepEqual(onwards({ temperature: 0 }), { temperature: 0 });
  assert.deepEqual(onwards({ temperature: 1, seed: 2 ** 32 - 1 }), { temperature: 1, seed: 0 });
});

test("chats are kept as they grow, and one that was left in the middle of an answer is stopped there", async () => {
  playPage();
  const drafts = playDrafts();
  const { talk, model, send, Chats, chats: store } = await openTalk();
  const chats = new Chats(store, talk);
  await chats.refresh();
  assert.deepEqual(chats.list.value, [], "a chat in which nothing was said is none");
  let middle;
  model.says(["Once", async () => {
    await chats.save();
    middle = await store.get(talk.chat.value.id);
  }, " upon a time."]);
  await send("A story");
  assert.deepEqual(middle.turns[1].spoken.map(({ text, end }) => [text, end]), [["Once", "stopped"]]);
  await chats.save();
  const { id } = talk.chat.value;
  assert.equal((await store.get(id)).turns[1].spoken[0].text, "Once upon a time.");

  model.says([() => chats.save(), "stop"]);
  await send("And?");
  await chats.save();
  assert.equal((await store.get(id)).turns.length, 2, "a question that was taken back is kept nowhere");
  talk.draft.value = "And";
  assert.deepEqual(Object.entries(drafts), [[`tabtune:draft:${id}`, '"And"']]);
  chats.begin();
  assert.deepEqual([talk.chat.value.turns, talk.draft.value], [[], ""]);
  model.says([() => chats.save(), "stop"]);
  await send("First?");
  await chats.save();
  assert.deepEqual((await store.all()).map(({ id }) => id), [id], "nor is a chat that never began");
  talk.draft.value = "new";
  assert.ok(await chats.open(id));
  assert.equal(talk.draft.value, "And");
  assert.equal(await chats.open("gone"), false);
  assert.match(chats.said.value, /not in this browser/);
  assert.equal(talk.chat.value.id, id, "the one at hand stays");
  chats.begin();
  assert.equal(talk.draft.value, "new");
  model.says(["Hello."]);
  await talk.send();
  await chats.save();
  assert.ok(!("tabtune:draft:" in drafts), "what was sent is no draft");
  assert.deepEqual(chats.list.value.map(({ turns }) => turns[0].text), ["new", "A story"]);

  await chats.put({ ...chats.list.value[1], title: "Tales" });
  chats.search.value = "UPON tales";
  assert.deepEqual(chats.found.map(({ title }) => title), ["Tales"]);
  chats.search.value = "nowhere";
  assert.deepEqual(chats.found, []);
  await chats.delete(id);
  assert.equal(drafts[`tabtune:draft:${id}`], undefined);
  const at_hand = talk.chat.value;
  await chats.delete(at_hand.id);
  assert.deepEqual([await store.all(), talk.chat.value.turns], [[], []]);
  assert.notEqual(talk.chat.value.id, at_hand.id, "what was deleted does not come back as it goes on");
  delete globalThis.localStorage;
});

test("of two tabs with one chat neither writes over what the other one said", async () => {
  playPage();
  playDrafts();
  const ears = [];
  const tabs = await Promise.all(
    [0, 1].map(async () => {
      const tab = await openTalk();
      const chats = new tab.Chats(tab.chats, tab.talk);
      const channel = { postMessage: (id) => ears.forEach((other) => other !== channel && other.onmessage({ data: id })) };
      ears.push(channel);
      chats.follow(channel);
      return { ...tab, list: chats };
    }),
  );
  const [one, two] = tabs;
  const kept = async () => {
    for (const { list } of tabs) await list.save().then(() => list.refresh());
    return (await one.chats.all()).map(({ turns }) => turns.map((turn) => turn.text ?? turn.spoken[0].text)).sort();
  };
  one.model.says(["At nine."]);
  await one.send("When?");
  await kept();
  await two.list.open(one.talk.chat.value.id);
  two.talk.draft.value = "And";
  one.model.says(["Here."]);
  await one.send("Where?");
  await until(() => two.said().length === 4);
  assert.deepEqual([two.talk.draft.value, /went on in another tab/.test(two.list.said.value)], ["And", true], "it follows");
  assert.equal(one.list.said.value, "");

  // Both are asked at once: each has what it was told, under an address of its own.
  const asked = [];
  const meet = async () => {
    asked.push(1);
    await until(() => asked.length === 2);
  };
  one.model.says([meet, "Me."]);
  two.model.says([meet, "You."]);
  await Promise.all([one.send("Who?"), two.send("Whose?")]);
  await kept();
  const begun = ["When?", "At nine.", "Where?", "Here."];
  assert.deepEqual(await kept(), [[...begun, "Who?", "Me."], [...begun, "Whose?", "You."]]);
  assert.notEqual(one.talk.chat.value.id, two.talk.chat.value.id);
  assert.equal(tabs.filter(({ list }) => /a chat of its own now/.test(list.said.value)).length, 1);
  delete globalThis.localStorage;
});

test("a chat that cannot be saved goes on, and says so", async () => {
  const page = playPage();
  playDrafts();
  const { talk, model, send, Chats, chats: store } = await openTalk();
  const chats = new Chats(store, talk);
  page.full.add("tabtune-chats");
  model.says(["Yes."], ["No."]);
  await send("Room?");
  await chats.save();
  assert.match(chats.problem.value, /^This chat is not saved: There is no room/);
  page.full.clear();
  await send("And now?");
  await chats.save();
  assert.equal(chats.problem.value, "");
  assert.equal((await store.all()).length, 1);
  delete globalThis.localStorage;
});

test("a chat out of an archive is one that this page understands, and what a later version wrote is left alone", async () => {
  playPage();
  const { chats: store, newChat, titleOf, chatIn, messagesBefore } = await openTalk();
  const turns = [{ role: "user", text: `  <b>When?</b>\n${"very ".repeat(30)}` }, { role: "assistant", spoken: [{ text: "At", end: "going" }, { text: "", end: "waiting" }], picked: null }];
  const chat = { ...newChat(), id: "one", date: 5, turns };
  const read = chatIn(JSON.parse(JSON.stringify(chat)));
  assert.deepEqual([read.turns[1].spoken.map(({ text, end }) => [text, end]), read.turns[1].picked], [[["At", "stopped"]], 0]);
  assert.equal([...titleOf(read)].length, 60);
  assert.ok(titleOf(read).startsWith("<b>When?</b> very"));
  assert.deepEqual(messagesBefore({ ...read, system: "Be brief." }).map(({ role }) => role), ["system", "user", "assistant"]);
  for (const wrong of [null, 3, [], {}, { ...chat, version: 2 }, { ...chat, id: 7 }, { ...chat, turns: [{ role: "user" }] }, { ...chat, turns: [{ role: "assistant", spoken: [] }] }, { ...chat, turns: [{ role: "assistant", spoken: [null] }] }]) {
    assert.equal(chatIn(wrong), undefined, JSON.stringify(wrong));
  }
  const odd = chatIn({ version: 1, id: "two", turns: [{ role: "assistant", spoken: [{ text: "Hi", how: 3, rating: "x" }], picked: 4 }], manner: "x", beside: [1, "base"], date: "x" });
  assert.deepEqual([odd.beside, odd.date, odd.turns[0].picked, odd.turns[0].spoken[0].how], [["base"], 0, 0, {}]);
  const { temperature, top_p, longest, seed } = read.manner;
  await store.put({ ...read, manner: { temperature, top_p, longest, seed } });
  assert.deepEqual((await store.get("one")).manner, read.manner, "what an older page did not know is as usual");
  await store.put({ ...chat, version: 2, id: "later" });
  assert.deepEqual((await store.all()).map(({ id }) => id), ["one"]);
  assert.equal(await store.get("later"), undefined);
});

test("before anything is loaded the page says who answers, and what that takes", async () => {
  const { askedModelWords } = await studio("chat/asked-model.ts");
  const hub = { kind: "hub", name: "HuggingFaceTB/SmolLM2-135M-Instruct" };
  assert.match(askedModelWords(undefined, false, false), /^No model is chosen yet/);
  assert.match(askedModelWords(hub, false, false), /It is downloaded with your first message: about 270 MB\.$/);
  assert.match(askedModelWords({ ...hub, name: "somebody/model" }, false, false), /; Train tells how large it is\.$/);
  assert.match(askedModelWords(hub, false, true), /in this browser already/);
  assert.equal(askedModelWords(hub, true, true), "HuggingFaceTB/SmolLM2-135M-Instruct answers.");
  assert.match(askedModelWords({ kind: "bundled", name: "" }, false, true), /^The bundled model answers\. It is a toy/);
});
