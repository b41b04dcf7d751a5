// Browser tabs as nodes of a federation: what they learn together, what becomes of those that are killed, and all that leaves them.
import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { launch } from "../../tools/lib/chromium.mjs";
import { paths } from "../../tools/lib/paths.mjs";
import { serve } from "../../tools/lib/server.mjs";
import { mountsOf, valueOf } from "../browser/support.mjs";
import { PlayedClient } from "./played-client.mjs";
import { expectOnly, messagesFor, recorder, repliesOf } from "./recorder.mjs";
import { federation, termsOf } from "./support.mjs";

/** Runs in a tab: joins with the rows at an address and takes part until the last round. */
async function takePart({ base, rows, heldout }) {
  const { tabtune, importFrom, outcome } = globalThis.runner;
  const { Federation } = await import("/tabtune/federated.js");
  /** The loss on the held-out rows after as many steps on one's own rows as all rounds make. */
  const learnAlone = async (trainer, dataset, { train, rounds }) => {
    const { max_steps, num_train_epochs, ...others } = train;
    const length = max_steps ? { max_steps: max_steps * rounds } : { num_train_epochs: num_train_epochs * rounds };
    const all = { ...others, ...length, lr_scheduler_type: "constant", run_name: null };
    await trainer.train(dataset, all);
    return (await trainer.evaluate()).eval_loss;
  };
  return outcome(async () => {
    const terms = await Federation.terms(base);
    const datasets = [];
    for (const [name, address] of [["mine", rows], ["held out", heldout]]) {
      const found = (await tabtune.Dataset.list()).find((dataset) => dataset.name === name);
      datasets.push(found ? await tabtune.Dataset.open(name) : await importFrom(name, address));
    }
    const [dataset, eval_dataset] = datasets;
    const trainer = await tabtune.Trainer.load("/bundled/", { device: "cpu", lora: terms.lora, eval_dataset });
    const alone = await learnAlone(trainer, dataset, terms);
    const events = (globalThis.events = []);
    const federation = await Federation.join(base, { trainer, dataset, eval_dataset, on_event: (event) => events.push(event) });
    const rounds = [];
    for await (const round of federation.rounds()) rounds.push(round);
    const { eval_loss } = await trainer.evaluate();
    const adapter = await trainer.save();
    await federation.leave();
    await trainer.dispose();
    const told = events.map(({ log, event, ...rest }) => rest);
    return { rounds, alone, offer: federation.offer, adapter: Object.keys(adapter), eval_loss, events: told };
  });
}

/** The runner's page, which may talk to other servers than its own. */
const PAGE = new TextEncoder().encode('<!doctype html><script type="module" src="/runner/runner.js"></script>');

/** What the rows say, of which nothing may leave. */
const TEXTS = readFileSync(paths.data, "utf8").trim().split("\n").flatMap((row) => JSON.parse(row).messages.map(({ content }) => content));

/** A server with the package, and rows of the bundled questions that one and the other has. */
async function site(t) {
  const lines = readFileSync(paths.data, "utf8").trim().split("\n");
  const rows = (from, to) => new TextEncoder().encode(`${lines.slice(from, to).join("\n")}\n`);
  const pages = { "/together.html": PAGE, "/favicon.ico": new Uint8Array() };
  const mounts = { ...mountsOf(), ...pages, "/first.jsonl": rows(0, 8), "/second.jsonl": rows(40, 48) };
  const server = await serve(mounts, { connects: ["http://127.0.0.1:*"] });
  t.after(() => server.close());
  return server;
}

/** Someone with a browser of their own, and so with a key of their own. */
async function person(t, origin) {
  const browser = await launch({ gpu: "none" });
  t.after(() => browser.close());
  return async () => {
    const page = await browser.newPage();
    page.setDefaultTimeout(120_000);
    await page.goto(`${origin}/together.html`);
    await page.waitForFunction(() => "runner" in globalThis);
    return page;
  };
}

async function until(what, condition, seconds = 60) {
  for (const end = Date.now() + 1000 * seconds; Date.now() < end; await sleep(50)) {
    const found = await condition();
    if (found) return found;
  }
  throw new Error(`${what} has not come in ${seconds} s`);
}

/** How far two arrays are apart at most. */
function distance(one, other) {
  assert.equal(one.length, other.length);
  return one.reduce((most, value, index) => Math.max(most, Math.abs(value - other[index])), 0);
}

test("tabs learn together what none of them could alone, whoever is killed meanwhile", async (t) => {
  const server = await site(t);
  // Two steps a round, told as a pass over one's rows.
  const train = { num_train_epochs: 1, learning_rate: 0.01, per_device_train_batch_size: 4, max_length: 64 };
  const terms = termsOf({ min_clients: 3, train });
  const there = await federation(t, terms, { origin: server.origin });
  const people = [await person(t, server.origin), await person(t, server.origin)];
  const recorders = [await recorder(t, there.base), await recorder(t, there.base), await recorder(t, there.base)];
  const job = (index, rows, heldout) => ({ base: recorders[index].base, rows, heldout });
  // Each is measured on what only the other learns from.
  const jobs = [job(0, "/first.jsonl", "/second.jsonl"), job(1, "/second.jsonl", "/first.jsonl")];
  const tabs = [await people[0](), await people[1]()];
  const began = jobs.map((job, index) => tabs[index].evaluate(takePart, job));
  // What ends a tab before the end is what the test should tell.
  const ended = Promise.race(began.map(async (promise) => valueOf(await promise.catch(() => new Promise(() => {})))));
  ended.catch((thrown) => console.log(thrown));
  const everything = () => recorders.flatMap(({ calls }) => calls);
  const layout = await until("the layout of a tab", async () => {
    const [reply] = await repliesOf(recorders[0].calls, everything()).catch(() => []);
    return reply?.content.layout.config;
  });
  // The third one is a client without a model, which shows what the server sends.
  const third = new PlayedClient({ base: recorders[2].base, terms, layout, number: 3, examples: 10 });
  const played = third.takePart();
  t.after(() => (third.over = true));

  const state = () => (existsSync(join(there.out, "history.json")) ? there.history() : []);
  await until("the first round", () => state().some(({ round }) => round === 1));
  await there.restart();
  await until("a step of the second round", () => tabs[1].evaluate(() => globalThis.events.some(({ type, number }) => type === "round" && number === 2)));
  await tabs[1].close();
  tabs[1] = await people[1]();
  const again = tabs[1].evaluate(takePart, jobs[1]);
  const [first, second] = [valueOf(await began[0]), valueOf(await again)];
  await played;
  assert.equal(await there.ended(60), "finished:completed");

  // The sum of all deltas by their rows, as plain arithmetic has it.
  const replies = await Promise.all(recorders.map(async ({ calls }) => [await messagesFor(calls), await repliesOf(calls, everything())]));
  for (let round = 1; round <= 3; round++) {
    const deltas = replies.map(([messages, replied]) => {
      const trains = messages.filter(({ type, content }) => type === "train" && Number(content.config.config["server-round"]) === round);
      const answered = trains.map(({ id }) => replied.find(({ to }) => to === id)).filter(Boolean);
      const { arrays, metrics } = answered.at(-1).content;
      return { delta: arrays.arrays.delta.data, rows: Number(metrics.metrics["num-examples"]) };
    });
    assert.deepEqual(deltas.map(({ rows }) => rows), [8, 8, 10]);
    const before = third.received.get(round);
    const mean = before.map((_, at) => deltas.reduce((sum, { delta, rows }) => sum + rows * delta[at], 0) / 26);
    // What the server had asked for when it was ended did not come again.
    const after = third.received.get(round + 1) ?? third.evaluated.get(round);
    const off = distance(after, before.map((value, at) => value + mean[at]));
    t.diagnostic(`round ${round}: the aggregate is ${off.toExponential(1)} from plain arithmetic`);
    assert.ok(off <= 1e-6, `round ${round}: ${off}`);
  }

  for (const { calls } of recorders) await expectOnly(calls, { terms, texts: TEXTS, everyone: everything() });

  const losses = there.history().map(({ eval_loss }) => eval_loss);
  t.diagnostic(`loss on rows that each learnt nothing of, by round: ${losses.map((loss) => loss?.toFixed(3)).join(", ")}`);
  t.diagnostic(`alone, by as many steps: ${first.alone.toFixed(3)} and ${second.alone.toFixed(3)}; together: ${first.eval_loss.toFixed(3)} and ${second.eval_loss.toFixed(3)}`);
  assert.ok(losses.at(-1) < losses[0]);
  for (const { alone, eval_loss } of [first, second]) assert.ok(eval_loss < 0.8 * alone, "what one has learnt, the other has");
  assert.deepEqual(first.rounds.map(({ number }) => number), [1, 2, 3]);
  assert.deepEqual(second.rounds.map(({ number }) => number), [2, 3]);
  assert.equal(first.rounds.at(-1).next, "server");
  assert.ok(first.adapter.includes("adapter_model.safetensors"));
});

test("of what tabs have learnt a server sees the sum alone, where the terms mask it", async (t) => {
  const server = await site(t);
  const lora = { r: 4, lora_alpha: 8, target_modules: "all-linear", freeze_a: true };
  const privacy = { mask: true, clip: 20, noise: "central", noise_multiplier: 1e-4 };
  const terms = termsOf({ rounds: 2, lora, privacy, evaluate: false });
  const there = await federation(t, terms, { origin: server.origin });
  const recorders = [await recorder(t, there.base), await recorder(t, there.base)];
  const tabs = [await (await person(t, server.origin))(), await (await person(t, server.origin))()];
  const rows = [["/first.jsonl", "/second.jsonl"], ["/second.jsonl", "/first.jsonl"]];
  const done = await Promise.all(tabs.map((tab, at) => tab.evaluate(takePart, { base: recorders[at].base, rows: rows[at][0], heldout: rows[at][1] })));
  assert.equal(await there.ended(60), "finished:completed");
  for (const [at, { alone, eval_loss, rounds }] of done.map(valueOf).entries()) {
    t.diagnostic(`together ${eval_loss.toFixed(3)} on rows that the other has, alone ${alone.toFixed(3)}`);
    // What came of the last round is what the tab has in the end, though nobody was asked for a loss.
    assert.ok(eval_loss < alone);
    assert.deepEqual(rounds.map(({ number, is_counted }) => [number, is_counted]), [[1, true], [2, true]]);
    const { calls } = recorders[at];
    await expectOnly(calls, { terms, texts: TEXTS, everyone: recorders.flatMap(({ calls }) => calls) });
    const replies = await repliesOf(calls, recorders.flatMap(({ calls }) => calls));
    const ofRound = ["train", "query.keys", "query.shares", "query.masked", "query.unmask"];
    assert.deepEqual(replies.map(({ type }) => type), ["query.layout", ...ofRound, ...ofRound, "query.done"]);
    for (const { type, content } of replies) {
      if (type === "train") assert.deepEqual(Object.keys(content), ["metrics"]);
      if (type === "train") assert.deepEqual(Object.keys(content.metrics.metrics), ["steps"]);
      if (type === "query.masked") assert.equal(content.arrays.arrays.masked.dtype, "uint32");
    }
    // The half that is frozen has the same objects in each round, and is fetched once.
    const messages = (await messagesFor(calls)).filter(({ content }) => content.frozen);
    const frozen = messages[0].content.frozen.arrays.adapter.data.byteLength;
    const received = calls.filter(({ path }) => path === "pull-object").reduce((sum, { received }) => sum + received.length, 0);
    const adapters = messages.length * messages[0].content.arrays.arrays.adapter.data.byteLength;
    assert.equal(messages.length, 3);
    assert.ok(received < adapters + 1.1 * frozen, `${received} bytes for ${adapters} of B and ${frozen} of A`);
  }
  const { rounds: told, epsilon } = { rounds: there.history().length, epsilon: there.history().at(-1).epsilon };
  assert.equal(told, 2);
  assert.ok(epsilon > 0);
});
