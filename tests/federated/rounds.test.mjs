// Rounds of the app on a real SuperLink against plain arithmetic: masked sums, noise and its price, ways to aggregate.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { clip, quantise } from "../../www/package/build/federated/privacy/index.js";
import { playedDelta } from "./played-client.mjs";
import { APP, layoutFor, playedRun, sizeOf } from "./played-run.mjs";
import { superlink } from "./superlink.mjs";
import { until } from "./support.mjs";
import { nearest, product } from "./svd.mjs";

let link;

before(async () => {
  link = await superlink({ app: APP, in_memory: true });
});

after(() => link?.stop());

/** Starts a run that ends with the test. */
async function running(t, terms, clients) {
  const run = await playedRun(link, terms, clients);
  t.after(() => run.stop());
  return run;
}

const LAYERS = { "model.layers.0.self_attn.q_proj": [40, 24], "model.layers.0.self_attn.v_proj": [30, 24] };
/** The most that a client weighs in a masked sum. */
const WEIGHT_CAP = 256;
const LIMIT = { timeout: 600_000 };

const sum = (values) => values.reduce((total, value) => total + value, 0);
const weightOf = ({ examples }) => Math.min(examples, WEIGHT_CAP);
const idsOf = (clients) => clients.map(({ node }) => String(node.node_id)).sort();

/** The largest distance of two arrays. */
function distance(one, other) {
  assert.equal(one.length, other.length);
  return one.reduce((most, value, index) => Math.max(most, Math.abs(value - other[index])), 0);
}

/** The weighted mean of deltas, in f64. */
function meanOf(deltas, weights) {
  const total = sum(weights);
  return Float64Array.from(deltas[0], (_, index) => sum(deltas.map((delta, client) => weights[client] * delta[index])) / total);
}

/** What the server was to make of the first round's quantised deltas of these clients. */
function summed(clients) {
  const [client] = clients;
  const { config, from } = client.asked.findLast(({ type }) => type === "query.masked");
  // The scale is such that a sum of all those fits whose shares were given to the others.
  const members = from.length + 1;
  const fixed = { range: config.range, scale: config.scale, weight_cap: Number(config["weight-cap"]) };
  const received = client.received.get(1);
  const total = new Uint32Array(received.length + 2);
  for (const { number, examples } of clients) {
    const delta = playedDelta(received.length, number, 1);
    quantise({ delta, examples, train_loss: 1 }, fixed, members).forEach((value, index) => (total[index] += value));
  }
  const integers = new Int32Array(total.buffer);
  const weight = integers[received.length];
  assert.equal(weight, sum(clients.map(weightOf)));
  const values = received.map((value, index) => value + integers[index] / fixed.scale / weight);
  return { members, integers, values, steps: fixed.scale * weight };
}

/** Deviation of values around zero. */
const deviation = (values) => Math.sqrt(sum(Array.from(values, (value) => value * value)) / values.length);

/** That values are draws from N(0, sigma²), to five deviations of the estimate: a right generator misses that once in a million runs. */
function assertNoise(values, sigma) {
  const off = deviation(values) / sigma - 1;
  assert.ok(Math.abs(off) < 5 / Math.sqrt(2 * values.length), `the noise's deviation is off by ${off}`);
  return off;
}

/** Orders of Rényi's divergence at which dp-accounting looks for the least epsilon. */
const ORDERS = [
  ...Array.from({ length: 99 }, (_, index) => 1 + (index + 1) / 10),
  ...Array.from({ length: 53 }, (_, index) => 11 + index),
  ...[128, 256, 512, 1024],
];

/**
 * The epsilon of so many rounds of Gaussian noise, by hand: a round is (a, a / (2 s²))-RDP for each order a (Mironov 2017,
 * arXiv 1702.07476, corollary 3), rounds add up, and Canonne et al. 2020 (arXiv 2004.00010, proposition 12) convert.
 */
function epsilonOf(multiplier, rounds, delta) {
  const at = (a) => (rounds * a) / (2 * multiplier ** 2) + Math.log1p(-1 / a) - Math.log(delta * a) / (a - 1);
  return Math.max(0, Math.min(...ORDERS.map(at)));
}

// Runs wait more than they compute.
describe("rounds", { concurrency: 3 }, () => {
  test("a masked sum with 6 of 20 clients lost is the plain one to the bit", LIMIT, async (t) => {
    const layout = layoutFor(LAYERS, 4);
    // The first leaves before it has keys, and five more after they have sent shares.
    const gone = (index) => (index === 0 ? "query.keys" : index <= 5 ? "query.masked" : undefined);
    const clients = Array.from({ length: 20 }, (_, index) => ({
      layout,
      examples: 25 * (index + 1),
      leaves: (type) => type === gone(index),
      poll_ms: 800,
    }));
    const run = await running(t, { privacy: { mask: true }, rounds: 1, min_clients: 14, evaluate: false }, clients);
    await run.over;
    const survivors = run.clients.slice(6);
    const [entry] = run.history();
    assert.deepEqual(entry.clients.map(({ node }) => node).sort(), idsOf(survivors));
    assert.deepEqual(entry.failed.map(({ node }) => node).sort(), idsOf(run.clients.slice(0, 6)));
    assert.ok(entry.clients.every((client) => Object.keys(client).join() === "node,steps"), "of each client the server knows its steps alone");

    const learnt = await run.learnt(layout);
    const { members, integers, values, steps } = summed(survivors);
    assert.equal(members, 19, "all but the one without keys");
    assert.deepEqual(learnt, values);
    // B begins with zeros, and where an f32 has room for the integer that was summed it tells it.
    const received = survivors[0].received.get(1);
    const told = Array.from(received.keys()).filter((index) => received[index] === 0 && Math.abs(integers[index]) < 2 ** 22);
    for (const index of told) assert.equal(Math.round(learnt[index] * steps), integers[index]);
    assert.ok(told.length > 30);
    const deltas = survivors.map(({ number }) => playedDelta(received.length, number, 1));
    const exact = meanOf(deltas, survivors.map(weightOf));
    const off = distance(learnt, received.map((value, index) => value + exact[index]));
    const share = `${learnt.length} values equal to the bit, ${told.length} of them as integers`;
    t.diagnostic(`${share}; ${off.toExponential(1)} from the sum without fixed point`);
    assert.ok(off < 1e-7);
  });

  test("who is gone from a masked round without a word is waited for as long as the terms say", LIMIT, async (t) => {
    const layout = layoutFor(LAYERS, 4);
    const dies = (type) => type === "query.masked";
    const clients = Array.from({ length: 4 }, (_, index) => ({ layout, examples: 10 + index, ...(index === 0 && { dies }), poll_ms: 400 }));
    const run = await running(t, { privacy: { mask: true }, rounds: 1, min_clients: 3, round_seconds: 20, evaluate: false }, clients);
    await run.over;
    const survivors = run.clients.slice(1);
    const [entry] = run.history();
    assert.deepEqual(entry.clients.map(({ node }) => node).sort(), idsOf(survivors));
    assert.deepEqual(entry.failed.map(({ node }) => node), idsOf(run.clients.slice(0, 1)));
    assert.ok(entry.seconds >= 20, `a round of ${entry.seconds} s`);
    assert.deepEqual(await run.learnt(layout), summed(survivors).values);
  });

  test("below the threshold a masked round is repeated, and nothing of the first try is told", LIMIT, async (t) => {
    const layout = layoutFor(LAYERS, 4);
    const firsts = [];
    const leaves = (type, round, client) => {
      const is_first = type === "query.masked" && client.asked.filter((one) => one.type === type).length === 1;
      if (is_first) firsts.push(client.received.get(round));
      return is_first;
    };
    let run;
    // The server has noted that the round is to be repeated.
    const returns = () => until("a second try", () => run?.hasHistory());
    // All of six are needed, so the second try begins once the three are there again.
    const ones = Array.from({ length: 6 }, (_, index) => ({ layout, examples: 10 + index, ...(index < 3 && { leaves, returns }), poll_ms: 400 }));
    run = await running(t, { privacy: { mask: true }, rounds: 1, evaluate: false }, ones);
    await run.over;
    const phases = ["train", "query.keys", "query.shares", "query.masked"];
    const asked = ["query.layout", ...phases, ...phases, "query.unmask", "query.done"];
    for (const client of run.clients) assert.deepEqual(client.asked.map(({ type }) => type), asked);
    assert.equal(firsts.length, 3);
    for (const first of firsts) assert.deepEqual(run.clients[5].received.get(1), first, "the round begins again with the same values");
    assert.deepEqual(run.history().map(({ round }) => round), [1]);
    const { members, values } = summed(run.clients);
    assert.equal(members, 6);
    assert.deepEqual(await run.learnt(layout), values);
  });

  for (const noise of ["central", "local"]) {
    test(`${noise} noise is as strong as the terms say, and costs what the formula says`, LIMIT, async (t) => {
      const privacy = { clip: 0.1, noise, noise_multiplier: 1.7, delta: 1e-5 };
      // B alone learns, as is the rule with noise.
      const wide = { "model.layers.0.self_attn.q_proj": [400, 24], "model.layers.0.self_attn.v_proj": [200, 24] };
      const layout = layoutFor(wide, 4, { freeze_a: true });
      const lora = { r: 4, lora_alpha: 8, target_modules: "all-linear" };
      const run = await running(t, { lora, privacy, rounds: 3 }, [10, 20, 70].map((examples) => ({ layout, examples, poll_ms: 400 })));
      await run.over;
      const size = sizeOf(layout);
      const weights = noise === "central" ? [1, 1, 1] : [10, 20, 70];
      // On the sum there is one client's noise; in a mean of noisy deltas there is each one's by its weight.
      const share = noise === "central" ? 1 / 3 : Math.hypot(...weights) / sum(weights);
      const [client] = run.clients;
      for (const { round, epsilon, delta } of run.history().filter((entry) => entry.round > 0)) {
        const deltas = run.clients.map(({ number }) => playedDelta(size, number, round));
        for (const own of deltas) assert.ok(clip(own, privacy.clip) > 2 * privacy.clip, "there is something to clip");
        const mean = meanOf(deltas, weights);
        const [received, after] = [client.received.get(round), client.evaluated.get(round)];
        const off = assertNoise(after.map((value, index) => value - received[index] - mean[index]), 1.7 * privacy.clip * share);
        // Two deltas of one client are up to two bounds apart.
        const by_hand = epsilonOf(noise === "central" ? 1.7 : 1.7 / 2, round, delta);
        const spent = `epsilon ${epsilon.toFixed(6)}, by hand ${by_hand.toFixed(6)}`;
        t.diagnostic(`round ${round}: ${spent}; the noise's deviation is off by ${(100 * off).toFixed(1)} %`);
        assert.ok(Math.abs(epsilon - by_hand) < 1e-6);
        assert.equal(delta, privacy.delta);
      }
      assert.equal(run.history().length, 4);
    });
  }

  test("FedAdam's rounds are those of plain arithmetic", LIMIT, async (t) => {
    const layout = layoutFor(LAYERS, 4);
    const clients = [10, 20, 70].map((examples) => ({ layout, examples, poll_ms: 400 }));
    const run = await running(t, { aggregation: "fedadam", rounds: 3 }, clients);
    await run.over;
    const size = sizeOf(layout);
    const [client] = run.clients;
    const [m, v] = [new Float64Array(size), new Float64Array(size)];
    let values = client.received.get(1);
    for (let round = 1; round <= 3; round++) {
      const mean = meanOf(run.clients.map(({ number }) => playedDelta(size, number, round)), [10, 20, 70]);
      // Flower corrects the rate by the step after this one.
      const rate = (0.01 * Math.sqrt(1 - 0.99 ** (round + 1))) / (1 - 0.9 ** (round + 1));
      values = values.map((value, index) => {
        m[index] = 0.9 * m[index] + 0.1 * mean[index];
        v[index] = 0.99 * v[index] + 0.01 * mean[index] ** 2;
        return value + (rate * m[index]) / (Math.sqrt(v[index]) + 1e-3);
      });
      const off = distance(client.evaluated.get(round), values);
      t.diagnostic(`round ${round}: ${off.toExponential(1)} from plain arithmetic`);
      assert.ok(off < 1e-6);
    }
  });

  test("FlexLoRA gives clients of ranks 2 and 4 the nearest of their rank to the mean product", LIMIT, async (t) => {
    const module = { "model.layers.0.self_attn.q_proj": [12, 9] };
    const ranks = [2, 4];
    const clients = ranks.map((r, index) => ({ layout: layoutFor(module, r), examples: [30, 70][index], poll_ms: 400 }));
    const lora = { r: 4, lora_alpha: 8, target_modules: "all-linear" };
    const run = await running(t, { aggregation: "flexlora", lora, rounds: 3 }, clients);
    await run.over;
    // A is [r, 9] and comes first, B is [12, r].
    const changeOf = (values, r) => product(values.subarray(9 * r), values.subarray(0, 9 * r), [12, r, 9]).map((value) => (value * 8) / r);
    for (let round = 1; round <= 3; round++) {
      const learnt = run.clients.map(({ received, number }, index) => {
        const values = Float64Array.from(received.get(round));
        playedDelta(values.length, number, round).forEach((value, at) => (values[at] += value));
        return changeOf(values, ranks[index]);
      });
      const mean = meanOf(learnt, [30, 70]);
      for (const [index, r] of ranks.entries()) {
        const got = changeOf(Float64Array.from(run.clients[index].evaluated.get(round)), r);
        const best = nearest(mean, [12, 9], r);
        if (round === 1) assert.ok(distance(best, mean) > 1e-4, "the mean has a higher rank than anyone's adapter");
        const off = distance(got, best);
        const most = Math.max(...mean).toFixed(3);
        t.diagnostic(`round ${round}, rank ${r}: ${off.toExponential(1)} from plain arithmetic, of ${most} at most`);
        assert.ok(off < 1e-6);
      }
    }
  });
});
