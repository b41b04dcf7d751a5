// The maths of privacy and of small deltas, as far as it needs no server.
import assert from "node:assert/strict";
import { generateKeyPairSync, sign, verify } from "node:crypto";
import { test } from "node:test";
import { addNoise, clip, encodeDelta, gridOf, MaskedRound, MAX_PEERS, normOf, quantise, signedKeys } from "../../www/package/build/federated/privacy/index.js";

/** A fixed stream of f32 in ±1 (Park and Miller 1988). */
function values(count, seed = 1, size = 1) {
  let state = seed;
  return Float32Array.from({ length: count }, () => ((state = (state * 48_271) % 2_147_483_647) / 2_147_483_647 - 0.5) * 2 * size);
}

const NF4 = [
  -1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635, -0.18477343022833334, -0.09105003625154495, 0.0,
  0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224, 0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0,
];

/** What a half's bits mean, from the definition in IEEE 754. */
function half(bits) {
  const [exponent, mantissa] = [(bits >> 10) & 31, bits & 1023];
  const magnitude = exponent === 31 ? (mantissa ? NaN : Infinity) : exponent === 0 ? mantissa / 2 ** 24 : (1 + mantissa / 1024) * 2 ** (exponent - 15);
  return bits & 0x8000 ? -magnitude : magnitude;
}

/** The values of an encoded delta, read without the codec. */
function decode({ delta, scales }, count) {
  if (delta.dtype === "float32") return delta.data;
  if (delta.dtype === "float16") return Float32Array.from(delta.data, half);
  return Float32Array.from({ length: count }, (_, index) => {
    const byte = delta.data[index >> 1];
    return NF4[index % 2 ? byte & 15 : byte >> 4] * half(scales.data[index >> 7]);
  });
}

const code = (expected, text) => (error) => {
  assert.equal(error.code, expected, String(error));
  assert.match(error.message, text);
  return true;
};

test("a delta is scaled to its bound over all values, and never past it", () => {
  const small = Float32Array.of(3, 4);
  assert.equal(clip(small, 5), 5);
  assert.deepEqual([...small], [3, 4], "within the bound it stays");
  for (let seed = 1; seed <= 50; seed += 1) {
    const delta = values(1001, seed, 1e3);
    const before = delta.slice();
    const norm = clip(delta, 1.5);
    assert.ok(Math.abs(norm - Math.hypot(...before)) < 1e-9 * norm);
    assert.ok(normOf(delta) <= 1.5, `${normOf(delta)}`);
    assert.ok(normOf(delta) > 1.5 * (1 - 1e-6));
    assert.ok(Math.abs(delta[7] / before[7] - 1.5 / norm) < 1e-6);
  }
  const large = Float32Array.of(3e38, 3e38);
  assert.ok(Number.isFinite(clip(large, 1)) && normOf(large) <= 1, "squares beyond f32 are no matter");
  assert.throws(() => clip(Float32Array.of(1, NaN), 1), code("not-finite", /value 1 of the delta is NaN/));
  for (const bound of [0, -1, NaN, Infinity]) assert.throws(() => clip(small, bound), code("bad-option", /bound/));
});

// Each bound is five deviations of its estimate over a million draws: a right generator misses one in a million runs.
test("noise has the moments and the tail of a normal distribution", () => {
  const count = 1_000_000;
  const noise = new Float32Array(count);
  const sigma = 0.3;
  addNoise(noise, sigma);
  const mean = (value) => noise.reduce((sum, x, index) => sum + value(x / sigma, index), 0) / count;
  assert.ok(Math.abs(mean((x) => x)) < 5e-3, "mean 0");
  assert.ok(Math.abs(mean((x) => x ** 2) - 1) < 5 * Math.sqrt(2 / count), "variance 1");
  assert.ok(Math.abs(mean((x) => x ** 3)) < 5 * Math.sqrt(15 / count), "no skew");
  assert.ok(Math.abs(mean((x) => x ** 4) - 3) < 5 * Math.sqrt(96 / count), "kurtosis 3");
  assert.ok(Math.abs(mean((x) => Math.abs(x) > 3) - 0.0026998) < 5 * Math.sqrt(0.0027 / count), "0.27 % beyond 3 sigma");
  assert.ok(Math.abs(mean((x, index) => (x * noise[index ^ 1]) / sigma)) < 5 * Math.sqrt(2 / count), "the two of a pair do not hang together");
  assert.ok(Math.abs(mean((x, index) => x * (noise[(index + 2) % count] / sigma))) < 5e-3, "nor do pairs");
});

test("noise is never the same, lies on its grid, and is quick", () => {
  for (const sigma of [1e-6, 0.37, 1, 700]) {
    const grid = gridOf(sigma);
    assert.ok(grid <= sigma / 1024 && grid > sigma / 2049 && Number.isInteger(Math.log2(grid)));
    const [one, other] = [values(999, 3, sigma), values(999, 3, sigma)];
    addNoise(one, sigma);
    addNoise(other, sigma);
    assert.ok(one.every((value) => Number.isInteger(value / grid)));
    assert.ok(one.filter((value, index) => value === other[index]).length < 20);
  }
  const large = new Float32Array(5_000_000);
  // Time of the processor, whatever else it does meanwhile.
  const begin = process.cpuUsage();
  addNoise(large, 1);
  const { user, system } = process.cpuUsage(begin);
  const seconds = (user + system) / 1e6;
  assert.ok(large.every((value) => Math.abs(value) < 8.6) && large.at(-1) !== large.at(-3), "every value has its noise, of at most 8.57 sigma");
  assert.ok(seconds < 2, `5 million values took ${seconds} s`);
  for (const sigma of [0, -1, NaN, Infinity]) assert.throws(() => addNoise(large, sigma), code("bad-option", /deviation/));
});

test("a delta takes the bytes that its dtype says", () => {
  for (const count of [0, 1, 127, 128, 129, 70_001]) {
    const delta = values(count, 5);
    const bytes = (dtype) => Object.values(encodeDelta(delta, dtype).arrays).reduce((sum, { data }) => sum + data.byteLength, 0);
    assert.equal(bytes("f32"), 4 * count);
    assert.equal(bytes("f16"), 2 * count);
    assert.equal(bytes("nf4"), Math.ceil(count / 2) + 2 * Math.ceil(count / 128));
    if (count > 1000) assert.ok(bytes("nf4") < (1.05 / 8) * 4 * count);
  }
});

test("halves are the nearest ones, half to even, and the last one beyond", () => {
  const nearest = (value) => {
    const { arrays, residual } = encodeDelta(Float32Array.of(value), "f16");
    assert.equal(residual[0], Math.fround(Math.fround(value) - half(arrays.delta.data[0])));
    return arrays.delta.data[0];
  };
  for (let bits = 0; bits < 0x7bff; bits += 1) {
    const [below, above] = [half(bits), half(bits + 1)];
    assert.equal(nearest(below), bits);
    assert.equal(nearest((below + above) / 2), bits % 2 ? bits + 1 : bits, "a tie goes to the even one");
    assert.equal(nearest(below * 0.49 + above * 0.51), bits + 1);
    assert.equal(nearest(-(below * 0.51 + above * 0.49)), bits | 0x8000);
  }
  for (const [value, bits] of [[65_504, 0x7bff], [65_519, 0x7bff], [65_520, 0x7bff], [3e38, 0x7bff], [-3e38, 0xfbff], [-0, 0x8000], [1e-45, 0]]) assert.equal(nearest(value), bits);
});

test("4-bit codes are bitsandbytes' nearest, under scales that no value passes", () => {
  const count = 128 * 40 + 5;
  const delta = values(count, 11, 1e-3);
  delta.fill(0, 128, 256);
  delta.fill(1e-9, 256, 384);
  delta[384] = 3e38;
  const { arrays, residual } = encodeDelta(delta, "nf4");
  const decoded = decode(arrays, count);
  for (let index = 0; index < count; index += 1) {
    const block = index >> 7;
    const scale = half(arrays.scales.data[block]);
    const largest = Math.max(...delta.subarray(128 * block, 128 * block + 128).map(Math.abs));
    if (block === 3) assert.equal(scale, 65_504);
    else assert.ok(scale >= largest && (largest === 0 || half(arrays.scales.data[block] - 1) < largest), "the smallest half that is large enough");
    const nearest = Math.min(...NF4.map((value) => Math.abs(value * scale - delta[index])));
    assert.ok(Math.abs(Math.abs(decoded[index] - delta[index]) - nearest) <= 1e-6 * scale);
    assert.equal(residual[index], Math.fround(delta[index] - decoded[index]));
  }
  const { delta: two } = encodeDelta(Float32Array.of(1, -1, 0), "nf4").arrays;
  assert.deepEqual([...two.data], [0xf0, 0x70], "the first value is in the high bits");
});

test("what a round loses comes with the next: the mean of 50 rounds is the delta", () => {
  const delta = values(1000, 17, 1e-3);
  for (const [dtype, once] of [["f16", 1e-7], ["nf4", 1e-5]]) {
    const sum = new Float64Array(delta.length);
    let residual;
    for (let round = 0; round < 50; round += 1) {
      const encoded = encodeDelta(delta, dtype, residual);
      residual = encoded.residual;
      decode(encoded.arrays, delta.length).forEach((value, index) => (sum[index] += value));
    }
    const worst = (found) => found.reduce((most, value, index) => Math.max(most, Math.abs(value - delta[index])), 0);
    const alone = worst(decode(encodeDelta(delta, dtype).arrays, delta.length));
    const mean = worst(sum.map((value) => value / 50));
    assert.ok(alone > once, `one round of ${dtype} is off by ${alone}`);
    assert.ok(mean < alone / 20, `${dtype}: ${mean} after 50 rounds, ${alone} after one`);
  }
  const { arrays, residual } = encodeDelta(Float32Array.of(1, 2), "f32", Float32Array.of(0.5, 0));
  assert.deepEqual([[...arrays.delta.data], residual], [[1.5, 2], undefined]);
});

test("a delta that is no number, or with another's residual, is not encoded", () => {
  for (const dtype of ["f32", "f16", "nf4"]) {
    for (const value of [NaN, Infinity]) assert.throws(() => encodeDelta(Float32Array.of(0, value), dtype), code("not-finite", /value 1 of the delta/));
    assert.throws(() => encodeDelta(Float32Array.of(3e38), dtype, Float32Array.of(3e38)), code("not-finite", /Infinity/));
  }
  assert.throws(() => encodeDelta(new Float32Array(2), "f16", new Float32Array(3)), code("bad-option", /residual has 3 values/));
  assert.throws(() => encodeDelta(new Float32Array(2), "int4"), code("bad-option", /f32, f16 or nf4, not as int4/));
});

test("fixed point rounds half to even, clamps, and carries weight and loss", () => {
  const fixed = { range: 4, scale: 2, weight_cap: 3 };
  const update = (delta, examples = 1, train_loss = 0) => ({ delta: Float32Array.from(delta), examples, train_loss });
  const signed = (...given) => [...new Int32Array(quantise(update(...given), fixed, 2).buffer)];
  assert.deepEqual(signed([0.25, 0.75, -0.25, -0.75, 9, -9]), [0, 2, 0, -2, 8, -8, 1, 0]);
  assert.deepEqual(signed([1], 100, 1.5), [6, 3, 4608], "the weight is capped");
  assert.deepEqual(signed([], 1, 1e30), [1, 2 ** 30 - 1], "a loss is clamped so that two of them fit");
  assert.throws(() => quantise(update([0]), { ...fixed, scale: 2 ** 28 }, 2), code("federation-protocol", /do not fit sums of 2 clients/));
  assert.ok(quantise(update([0]), { ...fixed, scale: 2 ** 28 - 1 }, 2));
  for (const wrong of [{ range: 0 }, { range: NaN }, { scale: -1 }, { weight_cap: 0 }, { weight_cap: 1.5 }, { weight_cap: 2 ** 30 }]) {
    assert.throws(() => quantise(update([0]), { ...fixed, ...wrong }, 2), code("federation-protocol", /do not fit/));
  }
  assert.throws(() => quantise(update([0], 0), fixed, 2), code("bad-option", /0 rows/));
  assert.throws(() => quantise(update([0], 1, NaN), fixed, 2), code("bad-option", /loss is NaN/));
  assert.throws(() => quantise(update([NaN]), fixed, 2), code("not-finite", /value 0/));
});

function identity() {
  const { publicKey, privateKey } = generateKeyPairSync("ec", { namedCurve: "P-384" });
  return {
    pem: publicKey.export({ type: "spki", format: "pem" }),
    sign: async (bytes) => new Uint8Array(sign("sha256", bytes, privateKey)),
    verify: async (pem, bytes, signature) => {
      try {
        return verify("sha256", bytes, pem, signature);
      } catch {
        return false;
      }
    },
  };
}

/** Clients of a round who have made their keys, and what a server tells one of the others. */
async function begun(count, round = 1) {
  const clients = [];
  for (let id = 0n; id < count; id += 1n) clients.push({ id, machine: await MaskedRound.begin(round, id, identity()) });
  for (const client of clients) client.keys = await client.machine.keys();
  const peersFor = (own, threshold = Math.ceil((2 * count) / 3)) => {
    const others = clients.filter(({ id }) => id !== own);
    const list = (name) => others.map(({ keys }) => keys[name]);
    return { ids: others.map(({ id }) => id), encrypt: list("encrypt"), mask: list("mask"), signatures: list("signature"), identities: list("identity"), threshold };
  };
  return { clients, peersFor };
}

/** The same up to the sealed shares. */
async function shared(count) {
  const { clients, peersFor } = await begun(count);
  for (const { id, machine } of clients) {
    const { ids, sealed } = await machine.shares(peersFor(id));
    clients.find((client) => client.id === id).sealed = new Map(ids.map((to, index) => [to, sealed[index]]));
  }
  const sharesFor = (own, from = clients) => {
    const others = from.filter(({ id }) => id !== own);
    return { ids: others.map(({ id }) => id), sealed: others.map(({ sealed }) => sealed.get(own)) };
  };
  return { clients, sharesFor };
}

const FIXED = { range: 4, scale: 1000, weight_cap: 1 };
const UPDATE = { delta: values(10), examples: 1, train_loss: 1 };

test("peers that are not what they should be are refused", async () => {
  const { clients: [own, other], peersFor } = await begun(4);
  const refusals = [
    ["a threshold of half", (peers) => (peers.threshold = 2), /threshold of 2 for 4 clients/],
    ["a threshold beyond all", (peers) => (peers.threshold = 5), /threshold of 5/],
    ["a threshold of no number", (peers) => (peers.threshold = "3"), /threshold of 3/],
    ["itself among the peers", (peers) => (peers.ids[1] = 0n), /client 0 is named twice/],
    ["a repeated id", (peers) => (peers.ids[1] = peers.ids[0]), /client 1 is named twice/],
    ["an id of no node", (peers) => (peers.ids[1] = -1n), /-1 is no id/],
    ["an id that is no bigint", (peers) => (peers.ids[1] = 7), /7 is no id/],
    ["lists of other lengths", (peers) => peers.mask.pop(), /not all as long/],
    ["no lists", (peers) => (peers.identities = null), /not all as long/],
    ["nobody", (peers) => Object.keys(peers).forEach((name) => Array.isArray(peers[name]) && (peers[name] = [])), /list of 1 to 254/],
    ["too many", (peers) => (peers.ids = Array.from({ length: MAX_PEERS + 1 }, (_, id) => BigInt(id))), /list of 1 to 254/],
    ["a point off the curve", (peers) => (peers.mask[0] = peers.mask[0].with(64, peers.mask[0][64] ^ 1)), /client 1 is no point of P-256/],
    ["a point beyond the field", (peers) => (peers.mask[0] = peers.mask[0].map((byte, index) => (index > 32 ? 255 : byte))), /no point of P-256/],
    ["the point at infinity", (peers) => (peers.mask[0] = new Uint8Array(1)), /no point of P-256/],
    ["a point of another length", (peers) => (peers.encrypt[0] = peers.encrypt[0].subarray(1)), /no point of P-256/],
    ["a key of its own", (peers) => (peers.mask[0] = own.keys.mask), /client 1 has a key that another client has/],
    ["another's key", (peers) => (peers.encrypt[1] = other.keys.encrypt), /client 2 has a key that another client has/],
    ["one key for both purposes", (peers) => (peers.encrypt[0] = peers.mask[0]), /or the same one twice/],
    ["an identity twice", (peers) => (peers.identities[1] = peers.identities[0]), /client 2 has a key that another/],
    ["its own identity", (peers) => (peers.identities[1] = own.keys.identity), /client 2 has a key that another/],
    ["an endless identity", (peers) => (peers.identities[0] = " ".repeat(2000)), /identity of client 1 is none/],
    ["a false signature", (peers) => (peers.signatures[0] = peers.signatures[1]), /client 1 are not signed by it for round 1/],
  ];
  for (const [name, spoil, text] of refusals) {
    const machine = await MaskedRound.begin(1, 0n, { ...identity(), pem: own.keys.identity });
    // The keys are those the peers were spoilt with.
    const fresh = await machine.keys();
    Object.assign(own.keys, { encrypt: fresh.encrypt, mask: fresh.mask });
    const peers = peersFor(0n);
    spoil(peers);
    await assert.rejects(machine.shares(peers), code("federation-protocol", text), name);
    await assert.rejects(machine.shares(peersFor(0n)), code("bad-state", /"over" was due/), `${name}: the round has ended`);
  }
  const late = await MaskedRound.begin(2, 0n, identity());
  await late.keys();
  await assert.rejects(late.shares(peersFor(0n)), code("federation-protocol", /not signed by it for round 2/), "signatures are of one round");
});

test("shares for another client, of another round or of too few are refused", async () => {
  const { clients, sharesFor } = await shared(5);
  const refuse = async (client, shares, text) => assert.rejects(client.machine.masked(shares, FIXED, UPDATE), code("federation-protocol", text));
  await refuse(clients[0], sharesFor(1n), /shares of this client itself/);
  const swapped = sharesFor(1n);
  swapped.sealed.reverse();
  await refuse(clients[1], swapped, /shares of client 0 were not sealed for this client and round/);
  await refuse(clients[2], sharesFor(2n, clients.slice(0, 3)), /3 clients are left, and below 4/);
  const twice = sharesFor(3n);
  twice.ids[0] = twice.ids[1];
  await refuse(clients[3], twice, /came twice/);
  const stranger = sharesFor(4n);
  stranger.ids[0] = 99n;
  await refuse(clients[4], stranger, /a stranger, 99/);
});

test("survivors other than those masked against get nothing, and nobody gives both kinds of share", async () => {
  const { clients, sharesFor } = await shared(7);
  for (const { id, machine } of clients) await machine.masked(sharesFor(id), FIXED, UPDATE);
  const all = clients.map(({ id }) => id);
  const refuse = async (client, ids, dropped, text) => {
    await assert.rejects(client.machine.unmask({ ids, dropped }), code("federation-protocol", text));
    await assert.rejects(client.machine.unmask({ ids: all, dropped: [] }), code("bad-state", /"over" was due/), "there is no second try");
  };
  await refuse(clients[0], all, [1n], /named twice/);
  await refuse(clients[1], all.slice(0, 6), [], /not those whom this client masked against/);
  await refuse(clients[2], all.slice(0, 6), [99n], /not those whom/);
  await refuse(clients[3], all.slice(0, 4), all.slice(4), /4 clients are left, and below 5/);
  await refuse(clients[4], all.filter((id) => id !== 4n), [4n], /counts this client, which sent its numbers, as dropped/);
  const { self_ids, key_ids, self_shares, key_shares } = await clients[5].machine.unmask({ ids: all.slice(1), dropped: [0n] });
  assert.deepEqual([self_ids, key_ids], [all.slice(1), [0n]]);
  assert.ok([...self_shares, ...key_shares].every((share) => share.length === 33));
  await assert.rejects(clients[5].machine.unmask({ ids: all.slice(0, 6), dropped: [6n] }), code("bad-state", /"over"/), "once only");
});

test("phases come in their order", async () => {
  const machine = await MaskedRound.begin(1, 0n, identity());
  await assert.rejects(machine.masked({}, FIXED, UPDATE), code("bad-state", /"masked" of masked round 1 came where "keys" was due/));
  const keys = await machine.keys();
  assert.equal(keys.encrypt.length, 65);
  assert.equal(signedKeys(1, keys.encrypt, keys.mask).length, 138);
  for (const round of [0, -1, 1.5, NaN, 1n]) await assert.rejects(MaskedRound.begin(round, 0n, identity()), code("federation-protocol", /no number of a round/));
  await assert.rejects(machine.keys(), code("bad-state", /"keys" of masked round 1 came where "shares" was due/));
});

const JUNK = [null, undefined, 0, NaN, 1n, -1n, 2n ** 64n, "", "3", true, {}, [], [1n], new Uint8Array(0), new Uint8Array(65).fill(4), new Uint8Array(94)];

/** A record with one list, one entry or one number replaced by something else, by a fixed stream of chances. */
function mutated(record, chance) {
  const pick = (list) => list[Math.floor(chance() * list.length)];
  const name = pick(Object.keys(record));
  const list = record[name];
  if (!Array.isArray(list) || chance() < 0.2) return { ...record, [name]: pick(JUNK) };
  if (chance() < 0.2) return { ...record, [name]: list.slice(1) };
  return { ...record, [name]: list.with(Math.floor(chance() * list.length), pick([...JUNK, pick(list)])) };
}

test("400 mutated messages: each phase answers, or ends the round with a coded error", async () => {
  let state = 9;
  const chance = () => (state = (state * 48_271) % 2_147_483_647) / 2_147_483_647;
  let refusals = 0;
  const tell = async (phase, record) => {
    const changed = mutated(record, chance);
    const error = await phase(changed).then(() => undefined, (thrown) => thrown);
    if (error) assert.equal(error.code, "federation-protocol", error.stack);
    if (error) refusals += 1;
  };
  const { peersFor } = await begun(4);
  for (let turn = 0; turn < 300; turn += 1) {
    const machine = await MaskedRound.begin(1, 0n, identity());
    await machine.keys();
    await tell((peers) => machine.shares(peers), peersFor(0n));
  }
  for (let turn = 0; turn < 50; turn += 1) {
    const { clients: [{ machine }, { machine: other }], sharesFor } = await shared(4);
    await tell((shares) => machine.masked(shares, FIXED, UPDATE), sharesFor(0n));
    await other.masked(sharesFor(1n), FIXED, UPDATE);
    await tell((survivors) => other.unmask(survivors), { ids: [0n, 1n, 2n], dropped: [3n] });
  }
  assert.ok(refusals > 250, `${refusals} refusals`);
});
