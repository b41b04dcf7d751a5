// The page's logic that needs no browser.
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { zipSync } from "fflate";
import { paths } from "../../tools/lib/paths.mjs";
import { buttonIn, playPage } from "./played-page.mjs";
import { studio } from "./page-modules.mjs";
import { settled, until } from "./settled.mjs";

test("the ways to train are drawn from the lightest, and what was chosen is among them", async () => {
  const { barsOf } = await studio("train/ways.ts");
  const lora = { finetuning_type: "lora" };
  const in4 = { load_in_4bit: true };
  const options = {
    full: { train: { finetuning_type: "full" } },
    lora: { train: lora },
    lora_8bit: { train: lora, quantization: { load_in_8bit: true } },
    qlora: { train: lora, quantization: in4 },
    mezo: { train: { ...lora, optim: "mezo" }, quantization: in4 },
  };
  const ways = (peaks) => Object.entries(options).map(([way, options]) => ({ way, options, ...(way in peaks && { footprint: { peak_gpu_bytes: peaks[way] } }) }));
  const bars = (found, config) => barsOf(found, { lora: {}, quantization: {}, ...config }, 4).map(({ words, bytes, is_chosen }) => `${is_chosen ? "*" : ""}${words} ${bytes}`);
  const all = ways({ full: 9, lora: 5, lora_8bit: 3, qlora: 2, mezo: 1 });
  assert.deepEqual(bars(all, { quantization: in4, train: { optim: "sgd" } }), [
    "MeZO, 4 bits 1", "LoRA, 8 bits 3", "*QLoRA, 4 bits 4", "LoRA, as it is 5", "All weights 9",
  ], "the chosen one takes what the run itself does");
  const chosen = (found, config) => bars(found, config).find((bar) => bar.startsWith("*"));
  assert.equal(chosen(all, options.full), "*All weights 4");
  assert.equal(chosen(all, options.mezo), "*MeZO, 4 bits 4");
  assert.equal(chosen(all, { train: { ...options.full.train, optim: "mezo" } }), "*MeZO, all weights 4");
  assert.equal(chosen(all, { train: options.mezo.train, quantization: { load_in_8bit: true } }), "*MeZO, 8 bits 4");

  const quantized = ways({ full: 9, lora: 3, mezo: 2 });
  assert.deepEqual(bars(quantized, options.qlora), ["MeZO, as it is 2", "*LoRA, as it is 4", "All weights 9"]);
  assert.equal(chosen(quantized, { train: lora, quantization: { ...in4, requantize: "nf4" } }), "*QLoRA, 4 bits 4");
});

test("the first question of rows is asked as they are learnt", async () => {
  const { questionOf, promptOf, askedBy, isChat } = await studio("work/question.ts");
  const user = (content) => ({ role: "user", content });
  const pair = { prompt: [{ role: "system", content: "Be brief." }, user("Open?")], completion: [{ role: "assistant", content: "Yes." }], pair: true };
  assert.deepEqual(questionOf(pair), { text: "Open?", system: "Be brief.", continues: false });
  assert.deepEqual(questionOf({ messages: [user("Who?"), { role: "assistant", content: "Me." }] }), { text: "Who?", system: null, continues: false });
  assert.deepEqual(questionOf({ prompt: "2+2=", completion: "4" }), { text: "2+2=", system: null, continues: true });
  assert.deepEqual(questionOf({ text: "One two three\nfour five six seven" }), { text: "One two three four five six", system: null, continues: true });
  assert.equal(questionOf({ messages: [{ role: "assistant", content: "Hello!" }] }), undefined);
  assert.deepEqual([pair, { messages: [] }, { prompt: "a", completion: "b" }, { text: "a" }].map(isChat), [true, true, false, false]);

  assert.deepEqual(promptOf(questionOf(pair), true), [{ role: "system", content: "Be brief." }, user("Open?")]);
  assert.deepEqual(promptOf(questionOf(pair), false), { prompt: "Be brief.\n\nOpen?\n" }, "as a model without chat template has learnt it");
  assert.deepEqual(promptOf(questionOf({ text: "One" }), true), { prompt: "One" });

  const half = [user("Open?"), { role: "assistant", content: "Yes, from" }];
  const go_on = { temperature: 0, continue_final_message: true };
  assert.deepEqual(askedBy(half, go_on, true), [half, go_on]);
  assert.deepEqual(askedBy(half, go_on, false), [{ prompt: "Open?\nYes, from" }, { temperature: 0 }], "a text goes on from where it ends");
  assert.deepEqual(askedBy([...half, user("When?")], {}, false), [{ prompt: "Open?\nYes, from\n\nWhen?\n" }, {}]);
});

test("an adapter is read from a zip or from its two files, and says its model", async () => {
  const { broughtAdapter, fileNameOf, zipped, MissingInput } = await studio("library/adapter-files.ts", "ui/missing.ts");
  const config = (base) => new TextEncoder().encode(JSON.stringify({ peft_type: "LORA", base_model_name_or_path: base }));
  const weights = new Uint8Array([1, 2, 3]);
  const files = (base) => ({ "adapter_config.json": config(base), "adapter_model.safetensors": weights });
  const asFile = (name, bytes) => new File([bytes], name);

  const hub = await broughtAdapter([asFile("shop.zip", await zipped(files("somebody/small")).arrayBuffer())]);
  assert.deepEqual(hub, { name: "shop", files: files("somebody/small"), base: { kind: "hub", name: "somebody/small" }, signed_by: undefined });
  const folded = zipSync({ "my shop/adapter_config.json": config(null), "my shop/adapter_model.safetensors": weights, "my shop/README.md": weights });
  assert.equal((await broughtAdapter([asFile("a.zip", folded)])).base, undefined, "in a folder of the archive, without a base");
  const two = await broughtAdapter(Object.entries(files("https://example.com/models/tiny/")).map(([name, bytes]) => asFile(name, bytes)));
  assert.deepEqual(two.base, { kind: "bundled", name: "" });
  assert.deepEqual((await broughtAdapter([asFile("a.zip", zipSync(files("/models/llama")))])).base, { kind: "folder", name: "llama" });

  const refused = async (picked, message) => {
    const thrown = await broughtAdapter(picked).catch((thrown) => thrown);
    assert.ok(thrown instanceof MissingInput, "it is the person's to mend, and no error of the page");
    assert.match(thrown.message, message);
  };
  await refused([asFile("adapter_config.json", config(null))], /^That is no adapter: choose a zip file/);
  await refused([asFile("x.zip", zipSync({ "a.txt": weights }))], /^That is no adapter/);
  await refused([asFile("x.zip", new Uint8Array([0x50, 0x4b, 3, 4, 0]))], /^x\.zip is damaged: it cannot be unpacked\.$/);
  await refused([asFile("PK.txt", new TextEncoder().encode("PK is no zip archive"))], /^That is no adapter/);
  await refused([asFile("adapter_config.json", weights), asFile("adapter_model.safetensors", weights)], /is damaged: it is no JSON\.$/);

  const apart = zipSync({ "a/adapter_config.json": config(null), "b/adapter_model.safetensors": weights });
  await refused([asFile("x.zip", apart)], /^That is no adapter/);
  const other = { "adapter_config.json": config("somebody/large"), "adapter_model.safetensors": new Uint8Array([4]) };
  const folders = Object.fromEntries(Object.entries({ ...files(null) }).map(([name, bytes]) => [`checkpoint-9\\${name}`, bytes]));
  await refused([asFile("x.zip", zipSync({ ...other, ...folders }))], /^There is more than one adapter: x\.zip, checkpoint-9\./);
  await refused(["x.zip", "y.zip"].map((name) => asFile(name, zipSync(other))), /^There is more than one adapter: x\.zip, y\.zip\./);
  const beside = zipSync({ ...other, "checkpoint-9/adapter_config.json": config(null), "__MACOSX/._adapter_config.json": weights });
  assert.deepEqual((await broughtAdapter([asFile("x.zip", beside)])).files, other, "files of half an adapter are left alone");

  assert.equal(fileNameOf("fragen.csv (2)"), "fragen-2.zip");
  assert.equal(fileNameOf("Läden: Öffnung/Preise"), "Läden-Öffnung-Preise.zip");
  assert.equal(fileNameOf("../.."), "adapter.zip");
});

test("a hub's model is known by its id and by the address of its page", async () => {
  const { hubIdIn, modelWords } = await studio("train/model-name.ts");
  for (const written of [" a/b-1.5 ", "https://huggingface.co/a/b-1.5", "huggingface.co/a/b-1.5/tree/main", "hf.co/a/b-1.5?x=1"]) {
    assert.equal(hubIdIn(written), "a/b-1.5", written);
  }
  for (const written of ["", "a", "a/b/c", "https://example.com/a/b", "./a/b"]) assert.equal(hubIdIn(written), undefined, written);
  assert.equal(modelWords({ kind: "bundled", name: "" }), "the bundled model");
  assert.equal(modelWords({ kind: "hub", name: "https://huggingface.co/a/b" }), "a/b");
});

test("listed models are known by their ids, and tell sizes as people say them", async () => {
  const { LISTED, listedBy, parameterWords, roundedBytes, hubIdIn } = await studio("train/listed.ts", "train/model-name.ts");
  const ids = LISTED.map(({ id }) => id);
  assert.ok(ids.every((id) => hubIdIn(id) === id) && new Set(ids).size === ids.length);
  assert.equal(listedBy("https://huggingface.co/HuggingFaceTB/SmolLM3-3B")?.name, "SmolLM3 3B");
  assert.equal(listedBy("somebody/else"), undefined);
  assert.deepEqual([134_515_008, 996e6, 1_720_574_976].map(parameterWords), ["135M", "1.0B", "1.7B"]);
  assert.deepEqual([994e6, 996e6, 2_030_000_000].map(roundedBytes), ["990 MB", "1.0 GB", "2.0 GB"]);
});

test("rows that are pasted have the format that they look like", async () => {
  const { pastedName } = await studio("data/pasted.ts");
  const names = { "q\ta\n1\t2": "tsv", '{"text":"a, b"}': "jsonl", ' [{"text":"a"}]': "json", "q;a\n1;2": "csv", "Well, this is prose.": "txt", "Well, this\nis prose": "txt" };
  for (const [text, ending] of Object.entries(names)) assert.equal(pastedName(text), `pasted.${ending}`, text);
});

test("errors and endings are said in words that hold", async () => {
  const { hintOf, savedWords } = await studio("shell/words.ts");
  assert.match(hintOf("io", "https://huggingface.co/x: TypeError: Failed to fetch (tries: 5)", false), /^You are offline\./);
  assert.match(hintOf("io", "NetworkError when attempting to fetch resource.", true), /^The network gives no answer\./);
  assert.equal(hintOf("io", "rows.csv: there is no such file", false), "A file could not be read, written or downloaded.");
  assert.equal(hintOf("unknown-to-this-page", "", true), "Something in tabtune broke.");
  assert.match(savedWords(0), /^Nothing of this run was saved/);
  assert.match(savedWords(1200), /until step 1,200 is saved/);
});

test("the curve is told in words", async () => {
  const { curveWords } = await studio("watch/curve-words.ts");
  assert.equal(curveWords([], [], []), "Loss by step: none yet.");
  assert.equal(curveWords([0, 1, 2], [null, 6.1, 0.5], [7, null, null]), "Loss by step: 6.100 at step 1, 0.500 at step 2. Held-out loss by step: 7.000 at step 0.");
  const steps = Array.from({ length: 300 }, (_, index) => index + 1);
  const told = curveWords(steps, steps.map((step) => 300 - step), steps.map(() => null));
  assert.ok(told.split(",").length <= 9 && told.endsWith("0.000 at step 300."), told);
});

test("runs of an earlier version come into the list, and what is damaged hurts nobody", async () => {
  const { takeOverEarlier } = await studio("library/earlier.ts");
  const run = { dataset: "shop.csv", heldout: null, is_chat: true, model: { kind: "bundled", name: "" }, config: { train: { max_steps: 60 } }, begun: 5 };
  const kept = { "tabtune:run:shop.csv": JSON.stringify(run), "tabtune:run:cut": '{"dataset":', "tabtune:run:other": '"text"', other: "stays" };
  globalThis.localStorage = Object.assign(Object.create({
    getItem: (name) => kept[name] ?? null,
    removeItem: (name) => {
      delete kept[name];
      delete globalThis.localStorage[name];
    },
  }), kept);
  const put = [];
  await takeOverEarlier({ put: async (learnt) => put.push(learnt) });
  delete globalThis.localStorage;
  assert.deepEqual(Object.keys(kept), ["other"]);
  assert.equal(put.length, 1);
  const { id, name, rows, has_files, steps } = put[0];
  assert.deepEqual({ id, name, rows, has_files, steps }, { id: "shop.csv", name: "shop.csv", rows: { dataset: "shop.csv", heldout: null, is_chat: true, count: null }, has_files: false, steps: 0 });
});

test("what an earlier page kept in the browser is read", async () => {
  const saved = join(paths.root, "tests/fixtures/saved");
  const { localStorage: kept, ...databases } = JSON.parse(readFileSync(join(saved, "page.json"), "utf8"));
  playPage();
  for (const [name, records] of Object.entries(databases)) {
    const opening = indexedDB.open(name.split("/")[0]);
    await new Promise((resolve) => (opening.onsuccess = resolve));
    const store = opening.result.transaction(name.split("/")[1], "readwrite").objectStore(name.split("/")[1]);
    for (const [key, record] of Object.entries(records)) {
      const ofFiles = (names) => Object.fromEntries(names.map((file) => [file, new Uint8Array(readFileSync(join(saved, "1/adapter", file)))]));
      store.put(Array.isArray(record) ? ofFiles(record) : record, key);
    }
  }
  const texts = Object.fromEntries(Object.entries(kept).map(([name, value]) => [name, JSON.stringify(value)]));
  globalThis.localStorage = Object.assign(Object.create({
    getItem: (name) => texts[name] ?? null,
    removeItem: (name) => delete globalThis.localStorage[name],
  }), texts);

  const { LearntStore, takeOverEarlier, remembered } = await studio("library/learnt.ts", "library/earlier.ts", "ui/remembered.ts");
  const store = new LearntStore();
  await takeOverEarlier(store);
  assert.deepEqual(remembered.get("notes.csv"), kept["tabtune:import:notes.csv"]);
  assert.deepEqual(Object.keys(globalThis.localStorage), ["tabtune:import:notes.csv"]);
  delete globalThis.localStorage;
  const [learnt, earlier] = await store.all();
  assert.deepEqual(learnt, databases["tabtune-learnt/records"]["kept-1"]);
  assert.deepEqual([earlier.id, earlier.rows.dataset, earlier.config.train.max_steps], ["from before the list", "from before the list", 40]);
  const files = await store.files("kept-1");
  assert.deepEqual(Object.keys(files), databases["tabtune-adapters/files"]["kept-1"]);
  assert.equal(files["adapter_model.safetensors"].length, readFileSync(join(saved, "1/adapter/adapter_model.safetensors")).length);
});

/** A run of the page whose trainer takes three steps, and whose `evaluate` is the test's. */
async function ran({ evaluate, plan = {} }) {
  const page = playPage();
  const { LiveRun } = await studio("work/run.ts");
  const learnt = [];
  let trained = false;
  const trainer = {
    ended: false,
    async prepare() {
      this.plan = { eval_rows: 2, total_steps: 3, ...plan };
    },
    async *train(_dataset, { on_event }) {
      trained = true;
      for (const step of [1, 2, 3]) yield { step, loss: 1, total_steps: 3 };
      on_event({ type: "checkpoint", step: 3 });
    },
    evaluate,
    save: async () => "files",
  };
  const progress = new Proxy({}, { get: () => () => undefined });
  const follower = { begun: async () => undefined, event: () => undefined, learnt: async (_order, ending, files) => void learnt.push({ ...ending, files }) };
  const has_learnt = await new LiveRun(trainer, { id: "a", config: { train: {} }, rows: {} }, progress, follower).train({}, false, stop.signal);
  return { has_learnt, learnt, trained, status: page.element("status").textContent };
}

let stop;

test("Stop ends the measuring of held-out rows, and what was learnt is kept", async () => {
  /** Measures without end, in an engine that may have to be ended, until it is stopped. */
  const hanging = (trainer, signal, ends) =>
    new Promise((_, reject) => {
      signal.addEventListener("abort", () => {
        trainer.ended = ends;
        reject(new DOMException("", "AbortError"));
      });
      stop.abort();
    });
  const evaluations = (hangs_at, ends) => {
    stop = new AbortController();
    let asked = 0;
    return async function evaluate({ signal }) {
      if (++asked === hangs_at) await hanging(this, signal, ends);
      return { step: 0, eval_loss: 1 };
    };
  };

  const last = await ran({ evaluate: evaluations(2, false) });
  assert.deepEqual(last, { has_learnt: true, learnt: [{ step: 3, is_early: false, heldout: undefined, files: "files" }], trained: true, status: "Done: 3 steps." });

  const ended_last = await ran({ evaluate: evaluations(2, true) });
  assert.deepEqual([ended_last.has_learnt, ended_last.learnt], [false, []], "an engine that was ended has nothing to save");
  assert.match(ended_last.status, /^The engine did not answer, so it was ended\. What it had learnt until step 3 is saved/);

  const ended_first = await ran({ evaluate: evaluations(1, true) });
  assert.deepEqual([ended_first.has_learnt, ended_first.trained], [false, false], "no new engine is begun for steps that nobody wants");
  assert.match(ended_first.status, /^The engine did not answer, so it was ended\. Nothing of this run was saved/);
});

/** Files of an adapter, of which nothing here looks into. */
const adapterOf = (byte) => ({ "adapter_config.json": new Uint8Array([123, 125]), "adapter_model.safetensors": new Uint8Array([byte]) });

/** Something that was begun, as the list has it. */
const begun = (id) => ({ version: 1, id, name: id, model: { kind: "bundled", name: "" }, config: { train: { max_steps: 60 } }, rows: { dataset: "rows", heldout: null, is_chat: true, count: 1 }, question: null, has_files: false, steps: 0, date: 1 });

test("what another tab has kept, renamed or deleted stays so", async () => {
  playPage();
  let store;
  globalThis.played = {
    Trainer: {
      checkpoints: async () => [],
      // The other tab keeps what it has learnt after this one has looked.
      forget: async (id) => void (id === "kept" && (await store.keep({ ...begun(id), steps: 60 }, adapterOf(1)))),
    },
  };
  const { LearntStore, tidy, MissingInput } = await studio("library/learnt.ts", "library/entries.ts", "ui/missing.ts");
  store = new LearntStore();
  for (const id of ["kept", "nothing"]) await store.put(begun(id));
  await tidy(store);
  assert.deepEqual((await store.all()).map(({ id }) => id), ["kept"]);

  await store.rename("kept", "a better name");
  const { name, has_files, steps } = await store.get("kept");
  assert.deepEqual({ name, has_files, steps }, { name: "a better name", has_files: true, steps: 60 });
  await store.keep({ ...begun("kept"), steps: 61 }, adapterOf(2));
  assert.equal((await store.get("kept")).name, "a better name", "a run that ends keeps the name that it was given meanwhile");
  assert.deepEqual(await store.files("kept"), adapterOf(2));
  const { bytes, weights } = await store.get("kept");
  assert.deepEqual([bytes, weights], [3, createHash("sha256").update(new Uint8Array([2])).digest("hex")], "what it takes and is known by is noted with it");
  await store.put({ ...(await store.get("kept")), bytes: undefined, weights: undefined });
  assert.equal((await store.measure(await store.get("kept"))).weights, weights, "and looked up of what an earlier page has kept");
  assert.equal((await store.get("kept")).weights, weights);
  await store.rename("nothing", "something");
  assert.equal(await store.get("nothing"), undefined, "what was deleted does not come back with a name");
  await assert.rejects(store.files("nothing"), (thrown) => thrown instanceof MissingInput && /gone from this browser/.test(thrown.message));
});

test("errors are shown as what they are", async () => {
  const { element } = playPage();
  const { showError, MissingInput } = await studio("shell/errors.ts", "ui/missing.ts");
  const shown = (thrown) => {
    showError(thrown);
    return [element("error-hint").textContent, element("error-code").hidden ? undefined : element("error-code").textContent];
  };
  assert.deepEqual(shown(new MissingInput("That is no adapter.")), ["That is no adapter.", undefined]);
  assert.equal(shown(new DOMException("no room", "QuotaExceededError"))[1], "quota-exceeded");
  assert.equal(shown(new DOMException("changed", "NotReadableError"))[1], "io");
  assert.equal(shown(new Error("a bug"))[1], "internal");
});

test("what could not be kept is held until it is downloaded or given up", async (t) => {
  const page = playPage();
  const forgotten = [];
  globalThis.played = {
    Dataset: { list: async () => [{ name: "rows" }] },
    Trainer: { checkpoints: async () => [{ step: 3 }], forget: async (id) => void forgotten.push(id) },
  };
  const { Adapters, waysOf } = await studio("library/adapters.ts", "library/entries.ts");
  // The engine that learnt it was ended, so that there is no adapter at hand.
  const job = { adapter: undefined, letGo: async () => undefined };
  const adapters = new Adapters({ busy: { run: (work) => work(), update: () => undefined }, job: () => job, begun: () => undefined, event: () => undefined });
  const order = { id: "a", name: "my rows", model: { name: { kind: "bundled", name: "" } }, config: { train: { max_steps: 3 } }, rows: { dataset: { name: "rows" }, is_chat: true, count: 1, question: null } };
  const files = { "adapter_config.json": new Uint8Array([1]), "adapter_model.safetensors": new Uint8Array([2]) };
  const learn = async () => {
    page.full.delete("tabtune-adapters");
    await adapters.begun(order, {});
    page.full.add("tabtune-adapters");
    await adapters.learnt(order, { step: 3, is_early: false }, files);
    await adapters.refresh();
  };
  const downloads = [];
  t.mock.method(URL, "createObjectURL", (blob) => `blob:${downloads.push(blob)}`);
  // The address of a download is given back after a minute, which nobody waits for here.
  const { setTimeout } = globalThis;
  t.mock.method(globalThis, "setTimeout", (work, millis) => (millis < 1000 ? setTimeout(work, millis) : undefined));

  await learn();
  assert.match(page.element("unsaved").textContent, /^Only in this tab: .*There is no room\.$/);
  assert.ok(!page.element("download").attributes.has("data-blocked"), "it can be downloaded without an engine");
  assert.ok(page.is_asking);
  globalThis.confirm = () => false;
  assert.equal(adapters.mayGo(), false);
  page.element("download").click();
  await until(() => downloads.length === 1);
  assert.equal(downloads.length, 1);
  assert.ok(!page.is_asking && page.element("unsaved").hidden);
  page.element("download").click();
  await until(() => downloads.length === 2);
  assert.equal(downloads.length, 2, "once more, as long as nothing took its place");
  assert.ok(adapters.mayGo(), "what was downloaded is safe");
  await adapters.refresh();
  assert.ok(page.element("download").attributes.has("data-blocked"));

  await learn();
  globalThis.confirm = () => true;
  await adapters.delete(adapters.entries[0].learnt);
  assert.deepEqual(forgotten, ["a"]);
  assert.ok(!page.is_asking && page.element("unsaved").hidden, "what was deleted is not missed");

  page.full.delete("tabtune-adapters");
  const whole = { ...order, id: "b", config: { train: { max_steps: 3, finetuning_type: "full" } } };
  await adapters.begun(whole, {});
  await adapters.learnt(whole, { step: 3, is_early: false }, undefined);
  await adapters.refresh();
  assert.ok(!page.is_asking);
  assert.deepEqual(waysOf(adapters.entries[0]), ["reopen"], "all weights are opened from the last checkpoint of their run");
  assert.deepEqual(forgotten, ["a"], "which is kept");
  adapters.event({ type: "checkpoint-failed", detail: "There is no room." });
  await adapters.learnt(whole, { step: 4, is_early: false }, undefined);
  await adapters.refresh();
  assert.match(page.element("unsaved").textContent, /^Only in this tab: save it before .*There is no room\.$/);
  assert.ok(page.is_asking);
});

test("the settings are those of the model that was chosen last", async () => {
  const page = playPage();
  const { SettingsForm } = await studio("train/settings.ts");
  const answers = [];
  globalThis.fetch = () => new Promise((resolve) => answers.push(() => resolve(Response.json({ lora: { r: 4 }, train: { max_steps: 60 } }))));
  const settings = new SettingsForm(() => undefined);
  const rank = page.element("settings").querySelector('[name="r"]');
  await settings.fill(false);
  assert.equal(rank.valueAsNumber, 16);

  void settings.fill(true);
  let is_filled = false;
  const read = settings.read().then((config) => {
    is_filled = true;
    return config;
  });
  await settled();
  assert.equal(is_filled, false, "what is read waits for the settings of the model");
  answers.shift()();
  assert.equal((await read).lora.r, 4);

  const first = settings.fill(true);
  await settings.fill(false);
  answers.shift()();
  await Promise.all([first, settings.filled]);
  assert.equal(rank.valueAsNumber, 16, "an answer that comes late changes nothing");
});

test("nothing begins with rows while they are being looked at", async () => {
  const page = playPage();
  const looks = [];
  globalThis.played = {
    Dataset: {
      inspect: () => new Promise((resolve) => looks.push(resolve)),
      open: async () => ({ info: async () => ({ rows: 0, pending_rows: null }) }),
    },
  };
  const { OwnRows } = await studio("data/own.ts");
  let told;
  const own = new OwnRows(() => (told = own.missing));
  const pick = (name) => {
    page.element("rows").files = [new File(["a"], name)];
    page.element("rows").dispatchEvent(new Event("change"));
  };
  pick("a.csv");
  assert.equal(told, "The file is being looked at.");
  await assert.rejects(own.read(new AbortController().signal), { message: "The file is being looked at." });
  pick("b.csv");
  const found = { file: "b.csv", format: "csv", mapping: { shape: "text", columns: { text: "a" } }, rows: [], bad_rows: [], columns: ["a"], notices: [] };
  looks[0](found);
  await settled();
  assert.equal(own.missing, "The file is being looked at.", "the newest look counts");
  looks[1](found);
  await until(() => looks.length > 2);
  assert.equal(own.missing, "The file is being looked at.", "its cells are looked at too");
  for (const look of looks.slice(2)) look(found);
  await until(() => told === undefined);
  assert.equal(told, undefined);
  assert.equal(own.missing, undefined);
});

/** A folder with those names in it: a folder has "folder", a file "file". */
class PickedFolder {
  constructor(entries) {
    this.entries = entries;
  }

  async getDirectoryHandle(name, { create = false } = {}) {
    if (this.entries[name] === "file") throw new DOMException("a file", "TypeMismatchError");
    if (!(name in this.entries) && !create) throw new DOMException("none", "NotFoundError");
    this.entries[name] = "folder";
    return { name };
  }

  async removeEntry(name) {
    delete this.entries[name];
  }
}

test("an export goes into a folder of its own, and nothing stays of one that is stopped or fails", async () => {
  const page = playPage();
  const { Busy, Exporting } = await studio("shell/busy.ts", "library/exporting.ts");
  const job = { adapter: { id: "a", name: "shop" }, parameters: 1e6 };
  let saved = 0;
  const exporting = new Exporting(new Busy(() => {}), () => job, { name: async () => "shop (2).csv", saved: () => saved++ });
  exporting.offer(job);
  const picked = new PickedFolder({ "shop-2-Q8_0": "folder", "shop-2-Q8_0-2": "file" });
  const before = { ...picked.entries };
  const state = () => page.element("export-state").textContent;
  const save = async (work) => {
    job.export = work;
    page.element("export").click();
    await settled();
    await until(() => state() !== "Saving…");
    return state();
  };
  let given;
  const done = async (options) => ((given = options), { files: [{ name: "shop.gguf", bytes: 2e6 }], notices: ["A notice."] });

  globalThis.showDirectoryPicker = async () => picked;
  assert.equal(await save(done), "Saved 2.0 MB in the folder “shop-2-Q8_0-3”: shop.gguf. A notice.");
  assert.deepEqual([given.format, given.dtype, given.file, given.to.name], ["gguf", "q8_0", "shop-2-Q8_0.gguf", "shop-2-Q8_0-3"]);
  await picked.removeEntry("shop-2-Q8_0-3");

  const stopped = save(({ signal }) => new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason))));
  await settled();
  assert.equal(state(), "Saving…");
  assert.deepEqual([page.element("export").hidden, page.element("export-stop").hidden, page.is_asking], [true, false, true]);
  page.element("export-stop").click();
  await stopped;
  assert.equal(page.element("export-state").textContent, "Stopped. Nothing was saved.");
  assert.deepEqual(picked.entries, before);
  assert.deepEqual([page.element("export").hidden, page.element("export-stop").hidden, page.is_asking], [false, true, false]);

  const refuse = async () => {
    throw new DOMException("the person said no", "NotAllowedError");
  };
  assert.equal(await save(refuse), "Nothing was saved.");
  assert.deepEqual([page.element("error-code").textContent, picked.entries], ["io", before]);

  globalThis.showDirectoryPicker = () => Promise.reject(new DOMException("", "AbortError"));
  given = undefined;
  assert.equal(await save(done), "", "who picks no folder saves nothing");
  assert.deepEqual([given, saved], [undefined, 1]);

  globalThis.showDirectoryPicker = undefined;
  page.element("export-as").selectedIndex = 2;
  assert.equal(await save(done), "Saved 2.0 MB among your downloads: shop.gguf. A notice.");
  assert.deepEqual([given.format, given.dtype, given.to, given.file], ["safetensors", "bf16", "download", undefined]);
  page.element("export-as").selectedIndex = 3;
  exporting.offer({ adapter: { id: "b", name: "other", is_model: true }, parameters: 1e6 });
  assert.equal(page.element("export-state").textContent, "", "what was said of another adapter holds no more");
  assert.equal(await save(done), "Saved 2.0 MB among your downloads: shop.gguf. A notice.");
  assert.equal(given.format, "safetensors", "a model has no LoRA of its own");
});

test("what the person has still to give is said where work is watched, and is no failure", async () => {
  const { element } = playPage();
  globalThis.document.activeElement = null;
  const { Busy, MissingInput, tellUndone } = await studio("shell/busy.ts", "ui/missing.ts", "shell/errors.ts");
  const busy = new Busy(() => {});
  const told = [];
  const ended = (how) => {
    tellUndone(how);
    told.push([how, element("status").textContent]);
  };
  const run = (thrown) => busy.run(async () => Promise.reject(thrown), { ended, meaning: () => "Step 4 is saved." });
  await run(new MissingInput("Choose the files of a model first."));
  assert.equal(element("error-meaning").textContent, "", "nothing had begun of which something could be saved");
  await run(new Error("broken"));
  assert.equal(element("error-meaning").textContent, "Step 4 is saved.");
  await run(new DOMException("stopped", "AbortError"));
  assert.deepEqual(told, [["missing", "Choose the files of a model first."], ["failed", "Failed."], ["stopped", "Stopped."]]);
});
