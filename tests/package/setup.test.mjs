// How a run is set up on the page, as far as that needs no browser.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { paths } from "../../tools/lib/paths.mjs";
import { playPage } from "./played-page.mjs";
import { studio } from "./page-modules.mjs";

const own = JSON.parse(readFileSync(join(paths.root, "www/studio/train/own-model.config.json"), "utf8"));
const bundled = JSON.parse(readFileSync(paths.config, "utf8"));
const KINDS = ["examples", "pairs", "ratings"];

test("a preset in words sets method and options, for each kind of rows", async () => {
  const { fieldsOf, presetFor, PRESETS } = await studio("train/presets.ts");
  assert.deepEqual(KINDS.map(presetFor), ["facts", "prefer", "prefer"]);
  const facts = fieldsOf("facts", own, "examples");
  assert.deepEqual(
    [facts.learns_from, facts.trained, facts.optim, facts.bits, facts.max_steps, facts.learning_rate, facts.r],
    ["examples", "adapter", "adamw_torch", "4", 100, 2e-4, 16],
    "QLoRA with the usual settings",
  );
  for (const kind of KINDS) assert.deepEqual(fieldsOf("facts", own, kind), facts, "it learns from examples whatever the rows are");

  const prefer = (kind) => {
    const { learns_from, method, learning_rate, max_length, per_device_train_batch_size } = fieldsOf("prefer", own, kind);
    return [learns_from, method, learning_rate, max_length, per_device_train_batch_size];
  };
  assert.deepEqual(prefer("pairs"), ["preferences", "dpo", 2e-5, 512, 1]);
  assert.deepEqual(prefer("ratings"), ["preferences", "kto", 2e-5, 512, 2], "KTO holds rows against others of their step");
  assert.deepEqual(prefer("examples"), prefer("pairs"));

  const small = fieldsOf("small", bundled, "examples");
  assert.deepEqual([small.optim, small.bits, small.max_steps, small.learning_rate, small.per_device_train_batch_size], ["mezo", "4", 800, 0.00105, 1]);
  const small_pairs = fieldsOf("small", own, "pairs");
  assert.deepEqual([small_pairs.optim, small_pairs.method, small_pairs.r, small_pairs.bits], ["adamw_torch", "dpo", 4, "4"], "preferences need a gradient");
  assert.equal(fieldsOf("small", bundled, "ratings").per_device_train_batch_size, 2);

  const best = fieldsOf("best", own, "examples");
  assert.deepEqual([best.use_dora, best.r, best.bits, best.max_steps], [true, 32, "own", 200]);
  assert.deepEqual([fieldsOf("best", own, "pairs").method, fieldsOf("best", own, "ratings").method], ["dpo", "kto"]);
  assert.deepEqual([fieldsOf("quick", own, "examples").max_steps, fieldsOf("quick", own, "pairs").max_steps], [20, 20]);
  assert.equal(fieldsOf("quick", { ...own, train: { max_steps: 5 } }, "examples").max_steps, 5);

  const { misfit } = await studio("train/preferences.ts");
  for (const name of Object.keys(PRESETS)) {
    for (const kind of KINDS) {
      const { learns_from, method, optim } = fieldsOf(name, own, kind);
      const fits = misfit(learns_from === "preferences" ? method : undefined, kind, optim) === undefined;
      const asks_for_other_rows = (name === "facts" && kind === "pairs") || (name === "prefer" && kind === "examples");
      assert.equal(fits, !asks_for_other_rows, `${name} with ${kind}`);
    }
  }
});

test("what a person changed of a preset is named, and what does not count is no change", async () => {
  const { changedFrom, changedWords, fieldsOf } = await studio("train/presets.ts");
  const facts = fieldsOf("facts", own, "examples");
  assert.deepEqual(changedFrom(facts, { ...facts }), []);
  assert.deepEqual(changedFrom(facts, { ...facts, learning_rate: 2.0000000001e-4, method: "kto", beta: 9 }), [], "examples have no beta");
  const changed = changedFrom(facts, { ...facts, max_steps: 30, r: 4 });
  assert.deepEqual(changed, ["max_steps", "r"]);
  assert.deepEqual(changedWords(changed), ["Steps", "LoRA rank"]);
  assert.deepEqual(changedFrom(facts, { ...facts, trained: "all", r: 4, bits: "own" }), ["trained"], "without an adapter there is no rank");
});

/** A form of presets over settings that are played. */
async function playPresets(kept) {
  const page = playPage();
  const storage = new Map(kept === undefined ? [] : [["tabtune:settings", JSON.stringify(kept)]]);
  globalThis.localStorage = { getItem: (name) => storage.get(name) ?? null, setItem: (name, value) => storage.set(name, value) };
  const { PresetForm, fieldsOf } = await studio("train/preset-form.ts", "train/presets.ts");
  let fields = fieldsOf("facts", own, "examples");
  const finer = { values: {}, get words() { return Object.keys(this.values); } };
  const form = new PresetForm({ read: () => fields, write: (some) => (fields = { ...fields, ...some }), finer });
  const chosen = page.element("setup").querySelector('[name="preset"]:checked');
  chosen.value = "facts";
  for (const name of ["facts", "prefer", "small", "best", "quick"]) {
    page.element("setup").querySelector(`[name="preset"][value="${name}"]`).dispatchEvent = () => choose(name);
  }
  const choose = (name) => {
    chosen.value = name;
    page.element("setup").dispatchEvent(Object.assign(new Event("change"), {}));
  };
  const stored = () => JSON.parse(storage.get("tabtune:settings") ?? "null");
  return { page, form, finer, stored, get fields() { return fields; }, set(some) { fields = { ...fields, ...some }; form.look(); } };
}

test("presets follow the model and the rows, and what was changed is kept with them", async () => {
  const played = await playPresets();
  const { page, form, stored } = played;
  form.fill(own);
  assert.deepEqual([stored(), page.element("changed").hidden], [{ version: 1, preset: "facts", changed: {} }, true]);
  form.follow("pairs");
  assert.deepEqual([form.name, played.fields.method, played.fields.learning_rate], ["prefer", "dpo", 2e-5]);
  assert.deepEqual([page.element("suits-prefer").hidden, page.element("suits-facts").hidden], [false, true]);
  form.follow("ratings");
  assert.deepEqual([form.name, played.fields.method, played.fields.per_device_train_batch_size], ["prefer", "kto", 2]);
  played.set({ max_steps: 7, learning_rate: 1e-3 });
  assert.deepEqual([page.element("changed").hidden, page.element("changed-what").textContent], [false, "Steps, Learning rate"]);
  form.follow("examples");
  assert.deepEqual([form.name, played.fields.max_steps, played.fields.learning_rate], ["facts", 7, 2e-4], "a rate is for a kind of rows, steps are not");
  assert.deepEqual(stored(), { version: 1, preset: "facts", changed: { max_steps: 7 } });
  form.follow(undefined);
  form.follow("ratings");
  assert.deepEqual([form.name, played.fields.method], ["prefer", "kto"], "also where it took a moment to know what rows say");
  form.follow("examples");
  page.element("back-to-preset").click();
  assert.deepEqual([played.fields.max_steps, page.element("changed").hidden], [100, true]);
  form.fill({ ...bundled });
  assert.deepEqual([played.fields.max_steps, played.fields.learning_rate], [80, 0.007], "another model has other usual settings");
});

test("what is set beside the fields is kept and named with them, and goes with a preset", async () => {
  const played = await playPresets({ version: 1, preset: "facts", changed: { r: 4 }, finer: { "lora.bias": "all", "lora.r": 3, "train.zo_eps": "wide" } });
  const { form, finer, page, stored } = played;
  form.fill(own);
  assert.deepEqual([finer.values, played.fields.r], [{ "lora.bias": "all" }, 4], "what is no value of an option is left out");
  assert.equal(page.element("changed-what").textContent, "LoRA rank, lora.bias");
  assert.deepEqual(stored(), { version: 1, preset: "facts", changed: { r: 4 }, finer: { "lora.bias": "all" } });
  form.follow("pairs");
  form.fill(bundled);
  assert.deepEqual(finer.values, { "lora.bias": "all" }, "other rows and another model leave it");
  page.element("back-to-preset").click();
  assert.deepEqual([finer.values, page.element("changed").hidden, stored()], [{}, true, { version: 1, preset: "prefer", changed: {} }]);
});

test("preset and changes are there at the next visit, and nothing that is not understood", async () => {
  const kept = { version: 1, preset: "best", changed: { max_steps: 33, learning_rate: 1e-3, token: "hf_x", r: { of: "an attacker" } } };
  const played = await playPresets(kept);
  played.form.fill(own);
  assert.deepEqual([played.form.name, played.fields.max_steps, played.fields.learning_rate, played.fields.r, played.fields.use_dora], ["best", 33, 1e-3, 32, true]);
  assert.deepEqual(played.stored(), { version: 1, preset: "best", changed: { max_steps: 33, learning_rate: 1e-3 } });

  const later = await playPresets({ version: 2, preset: "of tomorrow" });
  later.form.fill(own);
  assert.equal(later.form.name, "facts");
  later.set({ max_steps: 3 });
  assert.deepEqual(later.stored(), { version: 2, preset: "of tomorrow" }, "what a later page wrote is left alone");
  for (const damaged of ["text", 7, { version: 1 }, { version: 1, preset: "constructor", changed: null }]) {
    const { form } = await playPresets(damaged);
    form.fill(own);
    assert.equal(form.name, "facts");
  }
});

test("whether a run fits is told by what the browser tells, and what makes it smaller", async () => {
  const { fitOf, fitWords, mendsFor, roomFor, shareOf } = await studio("train/fits.ts");
  const fits = (gigabytes, told, is_processor = false) => fitOf(gigabytes * 1e9, roomFor(told, is_processor));
  assert.deepEqual([fits(1, 4), fits(3, 4), fits(5, 4)], ["fits", "may not fit", "too large here"]);
  assert.deepEqual([fits(3, 8), fits(60, 8)], ["fits", "may not fit"], "8 GB may stand for more");
  assert.deepEqual([fits(3, 8, true), fits(4.2, 8, true), fits(5, 8, true)], ["fits", "may not fit", "too large here"], "the processor's engine ends at 4 GiB");
  assert.deepEqual([fits(1, undefined), fits(3, undefined), fits(9, undefined)], ["fits", "may not fit", "may not fit"]);
  assert.deepEqual([shareOf(1e9, roomFor(4, false)), shareOf(9e9, roomFor(4, false))], [0.25, 1]);
  assert.match(fitWords("too large here", roomFor(8, true)), /this tab can have 4\.29 GB at most/);

  const words = (config) => mendsFor({ quantization: {}, ...config }).map(({ words }) => words);
  assert.deepEqual(words({ train: { finetuning_type: "full", per_device_train_batch_size: 1, max_length: 128 } }), ["Train an adapter", "Learn without a gradient (MeZO)"]);
  assert.deepEqual(words({ train: { per_device_train_batch_size: 4, max_length: 300 } }), [
    "Keep the model in 4 bits", "One row a step", "Rows of at most 256 tokens", "Learn without a gradient (MeZO)",
  ]);
  const kto = { train: { method: "kto", per_device_train_batch_size: 4, max_length: 256 }, quantization: { load_in_4bit: true } };
  assert.deepEqual(words(kto), ["2 rows a step", "Rows of at most 128 tokens"]);
  assert.deepEqual(mendsFor({ train: { optim: "mezo", per_device_train_batch_size: 1, max_length: 64 }, quantization: { load_in_4bit: true } }), []);
});

test("how long a run takes is a wide guess, and after the first run it is measured", async () => {
  const { costOf, secondsOf, timeWords, tokenCost } = await studio("train/time.ts");
  const adapter = { trains_all: false, is_mezo: false, checkpointing: false };
  const work = { parameters: 135e6, steps: 100, tokens_per_step: 128, way: adapter, heldout: { tokens: 0, times: 0 } };
  assert.equal(costOf(work), 135e6 * 12_800);
  assert.ok(Math.abs(tokenCost({ ...adapter, is_mezo: true }) - 0.6) < 0.05, "a step of MeZO takes about 0.6 of one with a gradient");
  assert.equal(tokenCost({ ...adapter, is_mezo: true, directions: 4 }), 4 * tokenCost({ ...adapter, is_mezo: true }));
  const { evaluationsOf, wayOf } = await studio("train/timing.ts", "train/settings.ts");
  assert.deepEqual([{ max_steps: 40, eval_steps: 0.25 }, { max_steps: 40, eval_steps: 10 }, { max_steps: 7 }].map((train) => evaluationsOf({ train })), [5, 5, 2], "a share of all steps is as good as their number");
  assert.equal(wayOf({ train: { optim: "mezo", zo_num_samples: 3 } }, false).directions, 3);
  assert.ok(tokenCost({ ...adapter, checkpointing: true }) > 1 && tokenCost({ ...adapter, trains_all: true }) > 1);

  // SmolLM2-135M by two cores took 2.223 s a step of 128 tokens: docs/performance.md.
  const took = 222.3;
  const on_two_cores = { is_processor: true, cores: 2 };
  const guess = secondsOf(work, [], on_two_cores);
  assert.ok(!guess.is_measured && guess.least < took && took < guess.most, JSON.stringify(guess));
  const pace = { device: "2 workers", is_processor: true, parameters: 135e6, throughput: costOf(work) / took, beside: 0, date: 1 };
  const measured = secondsOf({ ...work, steps: 50 }, [pace], on_two_cores);
  assert.ok(measured.is_measured && measured.least < took / 2 && took / 2 < measured.most && measured.most / measured.least < 1.5);
  assert.equal(secondsOf(work, [pace], { is_processor: false, cores: 2 }).is_measured, false, "a GPU is another device");
  const larger = secondsOf({ ...work, parameters: 360e6 }, [pace], on_two_cores);
  assert.ok(!larger.is_measured && larger.most > larger.least && larger.most < 4 * took, JSON.stringify(larger));
  const beside = secondsOf(work, [{ ...pace, beside: 100 }], on_two_cores);
  assert.ok(beside.least < took + 100 && took + 100 < beside.most && beside.least > measured.most, "answers on the way count");
  const latest = { ...pace, throughput: pace.throughput / 2, date: 2 };
  assert.ok(secondsOf(work, [pace, latest], on_two_cores).least > took, "the latest run counts");

  const words = (least, most, is_measured = false) => timeWords({ least, most, is_measured });
  assert.equal(words(450, 650, true), "about 9 minutes");
  assert.equal(words(180, 1200), "3–20 minutes, a first guess");
  assert.equal(words(0.1, 0.4), "about 1 second, a first guess");
  assert.equal(words(50_000, 90_000), "15–25 hours, a first guess");
  assert.equal(words(60, 60, true), "about 60 seconds");
});

test("the line beside Start says what learns from what, and what that takes", async () => {
  const { modelInSentence, summaryWords } = await studio("train/summary-words.ts");
  assert.equal(modelInSentence({ kind: "hub", name: "https://huggingface.co/Qwen/Qwen3-0.6B" }), "Qwen3 0.6B");
  assert.equal(modelInSentence({ kind: "hub", name: "somebody/else" }), "somebody/else");
  const line = { model: "SmolLM2 360M", rows: "“fragen.csv”", peak: 2_123_456_789, time: { least: 450, most: 650, is_measured: true } };
  assert.equal(summaryWords(line), "SmolLM2 360M learns from “fragen.csv”: about 2.1 GB of memory, about 9 minutes.");
  assert.equal(summaryWords({ ...line, peak: 43_400_000, time: undefined }), "SmolLM2 360M learns from “fragen.csv”: about 43 MB of memory.");
  assert.equal(summaryWords({ ...line, peak: undefined, time: undefined }), "SmolLM2 360M learns from “fragen.csv”.");
});

test("models are found by size, language and kind, and advice fits the device", async () => {
  const { advised, ANYTHING, isWanted, LISTED, languagesListed, languageWords } = await studio("train/listed.ts");
  const { roomFor } = await studio("train/fits.ts");
  const wanted = (wish, here = []) => LISTED.filter((model) => isWanted(model, { ...ANYTHING, ...wish }, here.includes(model.id))).map(({ name }) => name);
  assert.equal(wanted({}).length, LISTED.length);
  assert.deepEqual(wanted({ size: "small" }), ["SmolLM2 135M Instruct", "Gemma 3 270M", "SmolLM2 360M Instruct"]);
  assert.deepEqual(wanted({ language: "de", size: "middle" }), ["Qwen2.5 0.5B Instruct", "Qwen3 0.6B", "Llama 3.2 1B Instruct"]);
  assert.deepEqual(wanted({ kind: "thinks" }), ["Qwen3 0.6B", "Qwen3 1.7B", "SmolLM3 3B"]);
  assert.deepEqual(wanted({ kind: "here" }, ["Qwen/Qwen3-0.6B"]), ["Qwen3 0.6B"]);
  assert.ok(wanted({ kind: "free" }).every((name) => !/Gemma|Llama/.test(name)));
  assert.ok(LISTED.every(({ languages, language_count }) => languages.length >= 1 && languages.length <= language_count));
  assert.ok(languagesListed().some(({ code, name }) => code === "de" && name === "German"));
  assert.deepEqual([languageWords({ languages: ["en"], language_count: 1 }), languageWords({ languages: ["en"], language_count: 8 })], ["English", "8 languages"]);
  assert.deepEqual(advised(roomFor(8, false)).map(({ model, fit }) => [model.parameters > 5e8, fit]), [[false, "fits"], [false, "fits"], [true, "fits"]]);
  assert.deepEqual(advised(roomFor(0.5, false)).map(({ fit }) => fit), ["may not fit", "may not fit"]);
});

test("of what the hub finds only models are shown that can be trained here", async () => {
  const { foundIn } = await studio("train/hub-search.ts");
  const entry = (id, more = {}) => ({ id, config: { model_type: "llama" }, safetensors: { total: 135e6 }, tags: ["safetensors", "license:mit"], gated: false, downloads: 1, ...more });
  const found = foundIn([
    entry("a/small"),
    entry("a/liked", { downloads: 9, gated: "manual", safetensors: undefined }),
    entry("a/bert", { config: { model_type: "bert" } }),
    entry("a/small-AWQ"),
    entry("a/other", { tags: ["gptq", "safetensors"] }),
    entry("a/without", { tags: [], safetensors: undefined }),
    entry("../../evil"),
    entry("a/<b>"),
    null,
    "text",
    {},
  ]);
  assert.deepEqual(found, [
    { id: "a/liked", parameters: undefined, licence: "mit", gated: true, downloads: 9 },
    { id: "a/small", parameters: 135e6, licence: "mit", gated: false, downloads: 1 },
  ]);
  assert.deepEqual(foundIn({ error: "no" }), []);
});

test("how fast this device is comes from the steps of runs, but for the first of each", async () => {
  playPage();
  const storage = new Map();
  globalThis.localStorage = { getItem: (name) => storage.get(name) ?? null, setItem: (name, value) => storage.set(name, value) };
  const { Timing } = await studio("train/timing.ts");
  const adapter = { backend: "cpu", name: "2 workers on the processor" };
  const timing = new Timing(() => ({ adapter, parameters: 1000 }));
  const heard = [];
  const follower = timing.beside({ begun: async () => void heard.push("begun"), event: () => heard.push("event"), learnt: async () => void heard.push("learnt") });
  const order = { config: { train: {}, lora: {}, quantization: {} }, rows: { dataset: { name: "shop" } } };
  const plan = { checkpointing: false, dataset: { tokens: 400, kept: 10 }, eval_rows: 3 };
  await follower.begun(order, plan);
  for (const [step_millis, num_tokens] of [[9000, 100], [500, 200], [500, 300]]) follower.stepped({ step_millis, num_tokens });
  follower.event({ type: "checkpoint" });
  await follower.learnt(order, { step: 3 }, undefined);
  assert.deepEqual(heard, ["begun", "event", "learnt"]);
  assert.deepEqual(timing.rowsOf("shop"), { mean: 40, heldout: 120 });
  const [{ date, ...pace }, ...more] = timing.paces;
  assert.deepEqual([pace, more], [{ device: adapter.name, is_processor: true, parameters: 1000, throughput: 200_000, beside: 0 }, []]);

  await follower.begun(order, plan);
  follower.stepped({ step_millis: 9000, num_tokens: 100 });
  await follower.learnt(order, { step: 1 }, undefined);
  assert.equal(timing.paces.length, 1, "one step tells nothing");
  storage.set("tabtune:timing", '{"version":1,"paces":"damaged","rows":7}');
  assert.deepEqual([timing.paces, timing.rowsOf("shop")], [[], undefined]);
});
