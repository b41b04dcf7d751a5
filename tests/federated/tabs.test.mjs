// Browser tabs as nodes of a federation: what they learn together, what becomes of those that are killed, and all that leaves them.
import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { valueOf } from "../browser/support.mjs";
import { PlayedClient } from "./played-client.mjs";
import { expectOnly, messagesFor, recorder, repliesOf } from "./recorder.mjs";
import { federation, termsOf, until } from "./support.mjs";
import { person, site, takePart, TEXTS } from "./tabs.mjs";

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
  const began = jobs.map((job, index) => tabs[index].evaluate(takePart, { ...job, halts_in: index === 1 ? 2 : undefined }));
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
  await until("a step of the second round", () => tabs[1].evaluate(() => globalThis.halted));
  await tabs[1].close();
  tabs[1] = await people[1]();
  const again = tabs[1].evaluate(takePart, jobs[1]);
  const [first, second] = [valueOf(await began[0]), valueOf(await again)];
  await played;
  assert.equal(await there.ended(), "finished:completed");

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

  // Whoever was in the midst of a reply when the server was ended has not sent the rest of it.
  for (const { calls } of recorders) await expectOnly(calls, { terms, texts: TEXTS, everyone: everything(), broken: 1 });

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
