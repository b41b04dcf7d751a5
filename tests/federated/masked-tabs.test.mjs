// Browser tabs as nodes of a federation whose terms mask and noise what is learnt.
import assert from "node:assert/strict";
import { test } from "node:test";
import { valueOf } from "../browser/support.mjs";
import { expectOnly, messagesFor, recorder, repliesOf } from "./recorder.mjs";
import { federation, termsOf } from "./support.mjs";
import { person, site, takePart, TEXTS } from "./tabs.mjs";

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
  assert.equal(await there.ended(), "finished:completed");
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
