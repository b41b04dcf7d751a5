// Masked rounds and small deltas between the halves in TypeScript and in Python.
import assert from "node:assert/strict";
import { createCipheriv, createECDH, createHash, generateKeyPairSync, hkdfSync, randomBytes, sign, verify } from "node:crypto";
import { after, test } from "node:test";
import { combine } from "shamir-secret-sharing";
import { encodeDelta, MaskedRound, quantise } from "../../www/package/build/federated/privacy/index.js";
import { array, privacyPeer } from "./privacy-peer.mjs";

const peer = privacyPeer();
after(() => peer.end());

const ROUND = 7;
const COUNT = 300_001;
const CAP = 5;
const RANGE = 2 * CAP;

/** A fixed stream of f32 in ±size (Park and Miller 1988). */
function values(count, seed, size = 1) {
  let state = seed;
  return Float32Array.from({ length: count }, () => ((state = (state * 48_271) % 2_147_483_647) / 2_147_483_647 - 0.5) * 2 * size);
}

function identity() {
  const { publicKey, privateKey } = generateKeyPairSync("ec", { namedCurve: "P-384" });
  return {
    pem: publicKey.export({ type: "spki", format: "pem" }),
    sign: async (bytes) => new Uint8Array(sign("sha256", bytes, privateKey)),
    verify: async (pem, bytes, signature) => verify("sha256", bytes, pem, signature),
  };
}

/** Ids as Flower gives them: 64 bits, in no order. */
const idOf = (index) => createHash("sha256").update(`node ${index}`).digest().readBigUInt64BE();

const updateOf = (index) => ({ delta: values(COUNT, index + 1, 2.5), examples: index + 1, train_loss: 0.5 + index / 8 });

/** A round of so many clients of which `python` are Python's, with all that the server holds of it. */
async function begin(count, python) {
  const all = Array.from({ length: count }, (_, index) => ({ index, id: idOf(index), update: updateOf(index) }));
  const [theirs, ours] = [all.slice(0, python), all.slice(python)];
  await peer.call("begin", { round_number: ROUND, n: COUNT, own: theirs.map(({ id }) => id) });
  for (const client of ours) client.machine = await MaskedRound.begin(ROUND, client.id, identity());
  return { all, theirs, ours };
}

/** Asks each of our clients that is not lost, and hands the answers to the server with the names of those lost. */
async function phase(name, clients, lost, ask, more = {}) {
  const replies = new Map();
  for (const client of clients) if (!lost.includes(client)) replies.set(client.id, await ask(client));
  const result = await peer.call(name, { replies, lost: lost.map(({ id }) => id), ...more });
  return { replies, result };
}

test("20 clients share; the sum of those who stay is the plain one to the bit", async () => {
  const { all, theirs, ours } = await begin(22, 6);
  const scale = await peer.call("scale", { clients: 20, bound: RANGE });
  const fixed = { range: RANGE, scale, weight_cap: CAP };
  // One is lost without keys, and one without shares.
  const keys = await phase("keys", ours, [theirs[0]], ({ machine }) => machine.keys());
  const met = ours.filter(({ id }) => keys.result[id]);
  assert.equal(Object.keys(keys.result).length, 21);
  assert.equal(keys.result[ours[0].id].threshold, 14);
  const sealed = await phase("shares", met, [ours[0]], ({ id, machine }) => machine.shares(keys.result[id]));
  assert.equal(Object.keys(sealed.result).length, 20);
  // Five more after their shares, of both halves.
  const lost = [theirs[1], theirs[2], ours[1], ours[2], ours[15]];
  const updates = new Map(theirs.map(({ id, update }) => [id, { ...update, delta: array(update.delta) }]));
  const masked = await phase(
    "masked", met.slice(1), lost,
    async ({ id, machine, update }) => array(await machine.masked(sealed.result[id], fixed, update)),
    { updates, fixed: { range: RANGE, scale, "weight-cap": CAP } },
  );
  const survivors = all.filter((client) => client !== theirs[0] && client !== ours[0] && !lost.includes(client));
  assert.deepEqual(new Set(masked.result.ids), new Set(survivors.map(({ id }) => id)));
  assert.deepEqual(new Set(masked.result.dropped), new Set(lost.map(({ id }) => id)));
  // And one before it unmasks: 14 are just enough.
  const staying = ours.filter((client) => survivors.includes(client));
  const { result: total } = await phase("unmask", staying, [staying[0]], ({ machine }) => machine.unmask(masked.result));
  assert.deepEqual(await peer.call("refused", {}), {});

  const plain = new Uint32Array(COUNT + 2);
  for (const { update } of survivors) {
    quantise(update, fixed, 20).forEach((number, index) => (plain[index] += number));
  }
  assert.deepEqual(total, plain);
  const weight = survivors.reduce((sum, { update }) => sum + Math.min(update.examples, CAP), 0);
  assert.equal(total[COUNT], weight);
  for (let index = 0; index < COUNT; index += 1009) {
    const exact = survivors.reduce((sum, { update }) => sum + Math.min(update.examples, CAP) * update.delta[index], 0);
    const clamped = survivors.some(({ update }) => Math.abs(Math.min(update.examples, CAP) * update.delta[index]) > RANGE);
    if (!clamped) assert.ok(Math.abs((total[index] | 0) / scale - exact) <= 15 / scale);
  }
  await triesInVain(survivors, plain, fixed);
});

/** CTR's stream of a secret, made by Node's own primitives. */
function streamOf(secret, name, ids, words) {
  const info = Buffer.concat([Buffer.from(`tabtune ${name}`), ...[BigInt(ROUND), ...ids].map((number) => Buffer.from(number.toString(16).padStart(16, "0"), "hex"))]);
  const key = new Uint8Array(hkdfSync("sha256", secret, new Uint8Array(0), info, 32));
  const stream = createCipheriv("aes-256-ctr", key, new Uint8Array(16)).update(new Uint8Array(4 * words));
  return new Uint32Array(Uint8Array.from(stream).buffer);
}

/**
 * What the server can try with all that went through it: public keys, sealed shares, masked numbers and the shares of
 * the last phase. It learns each survivor's own mask and those with clients who left, as it has to; the numbers stay
 * hidden under the masks that survivors have with one another.
 */
async function triesInVain(survivors, plain, fixed) {
  const WORDS = 4096;
  const seen = await peer.call("seen", {});
  const shares = { self: {}, key: {} };
  for (const { self_ids, self_shares, key_ids, key_shares } of Object.values(seen.unmask)) {
    self_ids.forEach((id, index) => (shares.self[id] ??= []).push(self_shares[index]));
    key_ids.forEach((id, index) => (shares.key[id] ??= []).push(key_shares[index]));
  }
  assert.deepEqual(Object.keys(shares.self).sort(), survivors.map(({ id }) => String(id)).sort());
  assert.ok(survivors.every(({ id }) => !(id in shares.key)), "nobody gave a share of a survivor's key");
  const seeds = {};
  for (const [id, given] of Object.entries(shares.self)) seeds[id] = await combine(given);
  const left = [];
  for (const [id, given] of Object.entries(shares.key)) {
    const ecdh = createECDH("prime256v1");
    ecdh.setPrivateKey(await combine(given));
    assert.deepEqual(new Uint8Array(ecdh.getPublicKey()), seen.keys[id].mask, "the key of one who left comes out");
    left.push({ id: BigInt(id), ecdh });
  }
  assert.equal(left.length, 5);

  const without = (numbers, secret, name, ids, sign) => {
    const stream = streamOf(secret, name, ids, WORDS);
    return numbers.map((number, index) => number - sign * stream[index]);
  };
  const withoutPair = (numbers, secret, own, other) =>
    without(numbers, secret, "pair-mask", own < other ? [own, other] : [other, own], own < other ? 1 : -1);
  const known = new Map();
  for (const { id } of survivors) {
    let numbers = without(seen.masked[id].subarray(0, WORDS), seeds[id], "self-mask", [id], 1);
    for (const { id: other, ecdh } of left) numbers = withoutPair(numbers, ecdh.computeSecret(seen.keys[id].mask), id, other);
    known.set(id, numbers);
  }
  // All that the server may know taken away, the survivors' masks cancel: the streams above are the right ones.
  const sum = new Uint32Array(WORDS);
  for (const numbers of known.values()) numbers.forEach((number, index) => (sum[index] += number));
  assert.deepEqual(sum, plain.subarray(0, WORDS));

  const [victim, friend] = survivors.slice(-2);
  const truth = quantise(victim.update, fixed, 20);
  // A right guess makes all numbers right, and a wrong one each with a chance of one in 2^32.
  const isHidden = (guess, what) => assert.ok(guess.filter((number, index) => number === truth[index]).length < 3, what);
  isHidden(seen.masked[victim.id].subarray(0, WORDS), "as it came");
  isHidden(known.get(victim.id), "without what the server may know");
  const difference = known.get(victim.id).map((number, index) => number - known.get(friend.id)[index]);
  isHidden(difference, "against another survivor");
  const [own, other] = [seen.keys[victim.id], seen.keys[friend.id]];
  const secrets = [...Object.values(seeds), ...left.map(({ ecdh }) => ecdh.getPrivateKey())];
  for (const secret of secrets) {
    const ecdh = createECDH("prime256v1");
    ecdh.setPrivateKey(secret);
    for (const point of [own.mask, own.encrypt, other.mask, other.encrypt]) {
      isHidden(withoutPair(known.get(victim.id), ecdh.computeSecret(point), victim.id, friend.id), "with a secret as the key of a pair");
    }
    isHidden(withoutPair(known.get(victim.id), secret, victim.id, friend.id), "with a secret as what a pair agreed on");
  }
  // What the victim sealed to others, taken as if it were open: the first 33 bytes are where a share of its key would be.
  const { sealed } = seen.shares[victim.id];
  const guesses = sealed.map((one, index) => Uint8Array.from([...one.slice(12, 44), index + 1]));
  const ecdh = createECDH("prime256v1");
  ecdh.setPrivateKey(await combine(guesses.slice(0, 14)));
  assert.notDeepEqual(new Uint8Array(ecdh.getPublicKey()), own.mask);

  // And the numbers look like chance: each value of a byte comes up alike, to five deviations.
  const counts = new Float64Array(256);
  const bytes = new Uint8Array(seen.masked[victim.id].buffer);
  for (const byte of bytes) counts[byte] += 1;
  const expected = bytes.length / 256;
  const chi = counts.reduce((total, count) => total + (count - expected) ** 2 / expected, 0);
  assert.ok(Math.abs(chi - 255) < 5 * Math.sqrt(2 * 255), `${chi}`);
}

test("below the threshold the server learns nothing and clients give nothing", async () => {
  const { theirs, ours } = await begin(9, 3);
  const keys = await phase("keys", ours, [], ({ machine }) => machine.keys());
  const sealed = await phase("shares", ours, [], ({ id, machine }) => machine.shares(keys.result[id]));
  const fixed = { range: RANGE, scale: 1000, weight_cap: CAP };
  const updates = new Map(theirs.map(({ id, update }) => [id, { ...update, delta: array(update.delta) }]));
  const ask = async ({ id, machine, update }) => array(await machine.masked(sealed.result[id], fixed, update));
  const more = { updates, fixed: { ...fixed, "weight-cap": CAP } };
  await assert.rejects(phase("masked", ours, [...theirs, ours[0]], ask, more), /TooFewClients: 5 clients are left of masked round 7, and 6 are needed/);
  const ids = ours.slice(1).map(({ id }) => id);
  const dropped = [...theirs, ours[0]].map(({ id }) => id);
  for (const { machine } of ours.slice(1)) await assert.rejects(machine.unmask({ ids, dropped }), /5 clients are left, and below 6 nothing is given away/);
});

test("both halves have the same fixed point", async () => {
  const delta = values(20_000, 77, 3);
  delta.set([0.5, 1.5, -0.5, -2.5, 1e30, -1e30, 0, -0]);
  for (const [range, scale, clients, weight, loss] of [[4, 1, 2, 1, 0.5], [20, 5_368_709, 20, 5, 3.1], [0.01, 1e9, 100, 3, -2], [1e9, 0.001, 3, 7, 1e30]]) {
    const ours = quantise({ delta, examples: weight, train_loss: loss }, { range, scale, weight_cap: weight }, clients);
    const theirs = await peer.call("quantise", { delta: array(delta), weight, loss, fixed: { range, scale }, clients });
    assert.deepEqual(ours, theirs, `range ${range}`);
  }
});

test("both halves encode to the same bits, over rounds, and Python decodes what was meant", async () => {
  const count = 128 * 90 + 77;
  for (const dtype of ["f32", "f16", "nf4"]) {
    let [ours, theirs] = [{}, { residual: null }];
    for (let round = 0; round < 4; round += 1) {
      const delta = values(count, 100 + round, 10 ** (2 - 3 * round));
      // What is special in halves and in blocks: ties, subnormals, the largest, too large, nothing at all.
      delta.set([2 ** -25, 3 * 2 ** -25, 2 ** -14, 65_519, 65_520, 1e38 / (round + 1), -0, 0, 1e-45]);
      delta.fill(0, 256, 384);
      ours = encodeDelta(delta, dtype, ours.residual);
      const residual = theirs.residual ? array(theirs.residual) : null;
      theirs = await peer.call("encode", { delta: array(delta), dtype, residual });
      assert.deepEqual(Object.keys(theirs.arrays).sort(), Object.keys(ours.arrays).sort());
      for (const [name, { data, shape }] of Object.entries(ours.arrays)) {
        assert.deepEqual(data, theirs.arrays[name], `${dtype}: ${name} of round ${round}`);
        assert.deepEqual(shape, [data.length]);
      }
      assert.deepEqual(ours.residual ?? null, theirs.residual);
      const arrays = Object.fromEntries(Object.entries(ours.arrays).map(([name, { data, dtype }]) => [name, array(data, dtype)]));
      const decoded = await peer.call("decode", { arrays, dtype, n: count });
      if (dtype === "f32") assert.deepEqual(decoded, delta);
      else assert.ok(decoded.some((value, index) => value !== delta[index]));
    }
  }
});

test("the server takes no share that was split by another, nor a key that is not the one it promised", async () => {
  const { ours } = await begin(4, 0);
  const keys = await phase("keys", ours, [], ({ machine }) => machine.keys());
  const sealed = await phase("shares", ours, [], ({ id, machine }) => machine.shares(keys.result[id]));
  const fixed = { range: RANGE, scale: 1000, weight_cap: CAP };
  const masked = await phase("masked", ours, [ours[0]], async ({ id, machine, update }) => array(await machine.masked(sealed.result[id], fixed, update)), { updates: {}, fixed: {} });
  const spoil = async ({ machine }) => {
    const reply = await machine.unmask(masked.result);
    reply.key_shares[0] = Uint8Array.from([...randomBytes(32), reply.key_shares[0][32]]);
    return reply;
  };
  await assert.rejects(phase("unmask", ours.slice(1), [], spoil), /ValueError: the shares of client \d+ do not give its mask key/);
});
