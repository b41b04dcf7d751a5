// What a node reads and writes, held to what flwr itself made (tests/fixtures/flower), and what it refuses.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { ObjectMaker } from "../../www/package/build/federated/wire/content.js";
import { decoded, FederationError } from "../../www/package/build/federated/wire/errors.js";
import { fromFloat16, toFloat16 } from "../../www/package/build/federated/wire/float16.js";
import { serverAddress } from "../../www/package/build/federated/wire/address.js";
import { Identity, memoryIdentities, verify } from "../../www/package/build/federated/wire/identity.js";
import { words } from "../../tools/lib/drawing.mjs";
import { headOf, onlyMessage, openMessage, replyTo } from "../../www/package/build/federated/wire/message.js";
import { float32Of, npyHeader, readNpy, valueBytes } from "../../www/package/build/federated/wire/npy.js";
import { idOf, idsOf, ObjectSet, openObject, openTree, objectBytes, treeBytes } from "../../www/package/build/federated/wire/objects.js";
import { ObjectTree, PullMessagesResponse, PushMessagesRequest } from "../../www/package/build/federated/wire/proto/flower.js";
import { readValues, valuesBytes } from "../../www/package/build/federated/wire/records.js";

const made = JSON.parse(readFileSync(new URL("../fixtures/flower/wire.json", import.meta.url), "utf8"));
const bytesOf = (base64) => new Uint8Array(Buffer.from(base64, "base64"));
const LIMIT = 1 << 20;

/** Without the prototypes that names from outside may not meet. */
const plain = (value) => structuredClone(value);

const array = (dtype, shape, data) => ({ dtype, shape, data });

/** What make.py puts into its messages. */
const CONTENT = {
  arrays: {
    arrays: {
      float32: array("float32", [2, 3], new Float32Array([0.5, -1.5, 3e38, 1e-45, -0, 7])),
      float64: array("float64", [2], new Float64Array([0.1, -1e300])),
      float16: array("float16", [3], new Uint16Array([0x2e66, 0xfbff, 0x0001])),
      uint8: array("uint8", [3], new Uint8Array([0, 127, 255])),
      int32: array("int32", [2], new Int32Array([-(2 ** 31), 2 ** 31 - 1])),
      uint32: array("uint32", [1], new Uint32Array([2 ** 32 - 1])),
      int64: array("int64", [2], new BigInt64Array([-(2n ** 63n), 2n ** 63n - 1n])),
      scalar: array("float32", [], new Float32Array([2.5])),
      empty: array("float32", [0, 4], new Float32Array(0)),
      same: array("uint8", [3], new Uint8Array([0, 127, 255])),
    },
  },
  metrics: {
    metrics: {
      "num-examples": 12n, train_loss: 1, big: 2n ** 64n - 1n, ints: [1n, -2n], floats: [0.5], bigs: [1n, 2n ** 63n], none: [],
    },
  },
  config: {
    config: {
      "server-round": 0n, rate: 1e-3, yes: true, no: false, text: "Grüße, 世界", raw: new Uint8Array([0, 255]), empty: "",
      ints: [-1n, 2n ** 40n], floats: [0, 1.5], flags: [true, false], texts: ["a", ""],
      raws: [new Uint8Array(0), new Uint8Array([1])], none: [],
    },
  },
};

/** The head and the content of a message as it was pulled. */
async function read(pulled, objects, limit = LIMIT) {
  const [message, tree_bytes] = onlyMessage(decoded("pull-messages", () => PullMessagesResponse.decode(pulled)));
  const tree = openTree(tree_bytes);
  const head = headOf(message, tree);
  const set = new ObjectSet(limit);
  for (const id of idsOf(tree)) {
    const bytes = objects.get(id);
    if (bytes === undefined || !(await set.add(id, bytes))) throw new FederationError("federation-protocol", `${id} is another object`);
  }
  return { head, content: openMessage(head, set), set };
}

const GOLDEN = new Map(Object.entries(made.objects).map(([id, base64]) => [id, bytesOf(base64)]));

/** Every refusal has this class and code, so that nothing else is taken for one. */
const refusal = (message) => (thrown) => {
  assert.ok(thrown instanceof FederationError, String(thrown.stack));
  assert.equal(thrown.code, "federation-protocol");
  assert.match(thrown.message, message);
  return true;
};

test("a message of flwr's is read as it was written", async () => {
  const { head, content, set } = await read(bytesOf(made.pulled), GOLDEN);
  assert.deepEqual(plain(content), CONTENT);
  const { tree, ...rest } = head;
  assert.deepEqual(rest, {
    run_id: String(2n ** 64n - 1n), message_id: made.message_id, src_node_id: "1", dst_node_id: made.node_id, group_id: "1",
    message_type: "train", created_at: 1796000000.25, ttl: 600, src_task_id: "11",
  });
  assert.deepEqual(idsOf(tree).sort(), Object.keys(made.objects).sort());
  assert.equal(set.bytes, [...GOLDEN.values()].reduce((sum, { length }) => sum + length, 0));
  // Two names of one array are one array.
  assert.equal(content.arrays.arrays.same, content.arrays.arrays.uint8);
  assert.deepEqual(JSON.parse(JSON.stringify(head)), head);
});

test("a reply and a failure are flwr's to the byte, ids and all", async () => {
  const { head } = await read(bytesOf(made.pulled), GOLDEN);
  const pushed = ({ message, tree }) =>
    PushMessagesRequest.encode({ node: { node_id: BigInt(made.node_id) }, messages_list: [message], message_object_trees: [tree] }).finish();
  const reply = await replyTo(JSON.parse(JSON.stringify(head)), { content: CONTENT }, made.now * 1000);
  assert.equal(Buffer.from(pushed(reply)).toString("base64"), made.reply);
  for (const [id, bytes] of reply.objects) {
    assert.equal(await idOf(bytes), id);
    if (GOLDEN.has(id)) assert.deepEqual(bytes, GOLDEN.get(id));
  }
  // Only the messages themselves differ.
  assert.equal([...reply.objects.keys()].filter((id) => !GOLDEN.has(id)).length, 1);

  const failure = await replyTo(head, { failure: { code: 3, reason: "tabtune: bad-data: row 3 has no text" } }, made.now * 1000);
  assert.equal(Buffer.from(pushed(failure)).toString("base64"), made.failure);
  const base64 = Object.fromEntries([...failure.objects].map(([id, bytes]) => [id, Buffer.from(bytes).toString("base64")]));
  assert.deepEqual(base64, made.failure_objects);
});

test("arrays of several chunks have flwr's ids, and chunks that are alike are one object", async () => {
  for (const [name, data] of [["zeros", new Float32Array(4_000_000)], ["counted", new Float32Array(3_000_000).map((_, index) => index)]]) {
    const maker = new ObjectMaker();
    const values = array("float32", [data.length], data);
    const tree = await maker.content({ a: { arrays: { a: values } } });
    const of_array = tree.children[0].children[0];
    assert.deepEqual({ id: of_array.id, chunks: of_array.children.map(({ id }) => id) }, made[name]);
    const message = await maker.make("Message", [tree], new Uint8Array(0));
    const set = new ObjectSet(2 ** 25);
    for (const [id, bytes] of maker.objects) assert.ok(await set.add(id, bytes));
    // A database tells children in any order.
    const turned = ({ id, children }) => ({ id, children: children.map(turned).reverse() });
    assert.deepEqual(plain(openMessage({ tree: turned(message) }, set)), { a: { arrays: { a: values } } });
    // The values of a repeated chunk count as often as it is there.
    const small = new ObjectSet(name === "zeros" ? 12_000_000 : 11_000_000);
    await assert.rejects(async () => {
      for (const [id, bytes] of maker.objects) await small.add(id, bytes);
      openMessage({ tree: message }, small);
    }, refusal(/more than the 1[12]000000 bytes/));
  }
});

/** A generator of numbers below a limit. */
function chances(seed) {
  const next = words(seed);
  return (limit) => next() % limit;
}

/** The bytes with one thing that is different. */
function mutated(bytes, below) {
  const at = below(bytes.length + 1);
  const some = Uint8Array.from({ length: 1 + below(8) }, () => below(256));
  const join = (...parts) => new Uint8Array(Buffer.concat(parts));
  switch (below(6)) {
    case 0:
      return bytes.map((byte, index) => (index === at ? byte ^ (1 << below(8)) : byte));
    case 1:
      return bytes.slice(0, at);
    case 2:
      return join(bytes.subarray(0, at), some, bytes.subarray(at));
    case 3:
      return join(bytes.subarray(0, at), bytes.subarray(at + some.length));
    case 4:
      return join(bytes.subarray(0, at), bytes.subarray(below(bytes.length)));
    default:
      return bytes.map((byte, index) => (index >= at && index < at + some.length ? some[index - at] : byte));
  }
}

test("2,000 malformed answers and objects: each is refused, or read as what it was", { timeout: 600_000 }, async () => {
  const seed = 20261129;
  const below = chances(seed);
  const pulled = bytesOf(made.pulled);
  const ids = [...GOLDEN.keys()];
  let refused = 0;
  for (let round = 0; round < 2000; round++) {
    const id = below(2) === 0 ? undefined : ids[below(ids.length)];
    const objects = id === undefined ? GOLDEN : new Map(GOLDEN).set(id, mutated(GOLDEN.get(id), below));
    try {
      const { content } = await read(id === undefined ? mutated(pulled, below) : pulled, objects);
      assert.deepEqual(plain(content), CONTENT, `seed ${seed}, round ${round}`);
    } catch (thrown) {
      assert.ok(thrown instanceof FederationError && thrown.code === "federation-protocol", `seed ${seed}, round ${round}: ${thrown.stack}`);
      refused += 1;
    }
  }
  assert.ok(refused > 1500, String(refused));
});

/** The message whose object `changed` has other bytes, with all ids above it made right; what a hostile server can send. */
async function forged(tree, changed, bytes) {
  const objects = new Map();
  const make = async ({ id, children }) => {
    const below = [];
    for (const child of children) below.push([child.id, await make(child)]);
    let text = Buffer.from(id === changed ? bytes : GOLDEN.get(id)).toString("latin1");
    for (const [old, { id: now }] of below) text = text.replaceAll(old, now);
    const own = new Uint8Array(Buffer.from(text, "latin1"));
    const now = await idOf(own);
    objects.set(now, own);
    return { id: now, children: below.map(([, child]) => child) };
  };
  return { tree: await make(tree), objects };
}

test("2,000 forged objects whose ids are right: each is refused, or is a content that can be sent", { timeout: 600_000 }, async () => {
  const seed = 7;
  const below = chances(seed);
  const { head } = await read(bytesOf(made.pulled), GOLDEN);
  const ids = idsOf(head.tree);
  let refused = 0;
  for (let round = 0; round < 2000; round++) {
    const id = ids[below(ids.length)];
    const { tree, objects } = await forged(head.tree, id, mutated(GOLDEN.get(id), below));
    // Time of the processor, whatever else it does meanwhile.
    const began = process.cpuUsage();
    try {
      const set = new ObjectSet(LIMIT);
      for (const [id, bytes] of objects) assert.ok(await set.add(id, bytes));
      const content = openMessage({ ...head, tree: openTree(treeBytes(tree)) }, set);
      await replyTo(head, { content }, made.now * 1000);
    } catch (thrown) {
      assert.ok(thrown instanceof FederationError && thrown.code === "federation-protocol", `seed ${seed}, round ${round}: ${thrown.stack}`);
      refused += 1;
    }
    const { user, system } = process.cpuUsage(began);
    assert.ok(user + system < 1e6, `seed ${seed}, round ${round} took too long`);
  }
  assert.ok(refused > 1000 && refused < 2000, String(refused));
});

test("JSON in objects is what it has to be, and nested without end it is refused", async () => {
  const { head } = await read(bytesOf(made.pulled), GOLDEN);
  const [record] = head.tree.children;
  const arrays = record.children.find(({ children }) => children.length > 0);
  const [one] = arrays.children;
  const [chunk] = one.children;
  const deep = `${"[".repeat(400_000)}${"]".repeat(400_000)}`;
  const forge = async (id, type, children, json) => {
    const { tree, objects } = await forged(head.tree, id, objectBytes(type, children, [new TextEncoder().encode(json)]));
    const set = new ObjectSet(1 << 22);
    for (const [id, bytes] of objects) await set.add(id, bytes);
    return openMessage({ ...head, tree }, set);
  };
  const of_array = (more) => {
    const { dtype, shape, stype, chunks } = { dtype: '"float32"', shape: "[2, 3]", stype: '"numpy.ndarray"', chunks: "[0]", ...more };
    return forge(one.id, "Array", [chunk.id], `{"dtype": ${dtype}, "shape": ${shape}, "stype": ${stype}, "arraychunk_ids": ${chunks}}`);
  };
  assert.deepEqual(plain(await of_array({})), CONTENT);
  const refused = (more, message) => assert.rejects(of_array(more), refusal(message), JSON.stringify(more).slice(0, 80));
  for (const shape of [deep, "[3, 2]", "[[2], 3]", "[2, 3, 1]", "6", "null"]) await refused({ shape }, /another type or shape/);
  for (const dtype of [deep, '"float64"', "null"]) await refused({ dtype }, /another type or shape/);
  for (const stype of [deep, '"torch"', "0"]) await refused({ stype }, /stored as (object|"torch"|number), not as numpy.ndarray/);
  for (const chunks of [deep, "[1]", "[-1]", "[0.5]", '["length"]', '["0"]']) await refused({ chunks }, /none of its children/);
  await refused({ chunks: "0" }, /lists no chunks/);
  await refused({ chunks: "[]" }, /no .npy file/);
  await refused({ chunks: "[0, 0]" }, /bytes of values/);
  await refused({ chunks: `[${"0, ".repeat(300_000)}0]` }, /more than the 4194304 bytes/);
  const all = record.children.map(({ id }) => id);
  for (const [json, message] of [
    [deep, /no JSON object|cannot be read/], [`{"a": ${deep}}`, /none of its children/], ["null", /no JSON object/],
    ["{", /cannot be read/], ["{}", /children without names/], [`{"a": "${all[0]}"}`, /children without names/],
    [`{"a": "${"0".repeat(64)}"}`, /none of its children/],
  ]) {
    await assert.rejects(forge(record.id, "RecordDict", all, json), refusal(message), json.slice(0, 80));
  }
});

test("trees that are too large or too deep are refused before they are opened", () => {
  const id = "0".repeat(64);
  const leaf = ObjectTree.encode({ object_id: id, children: [] }).finish();
  const wide = (count) => ObjectTree.encode({ object_id: id, children: Array(count).fill(leaf) }).finish();
  assert.equal(openTree(wide(4095)).children.length, 4095);
  assert.throws(() => openTree(wide(4096)), refusal(/more than 4096 objects/));
  const deep = (levels) => (levels === 1 ? leaf : ObjectTree.encode({ object_id: id, children: [deep(levels - 1)] }).finish());
  assert.equal(openTree(deep(8)).children.length, 1);
  assert.throws(() => openTree(deep(9)), refusal(/nested more than 8 deep/));
  assert.throws(() => openTree(deep(1000)), refusal(/nested more than 8 deep/));
  for (const object_id of ["", "0".repeat(63), "G".repeat(64), "0".repeat(65)]) {
    assert.throws(() => openTree(ObjectTree.encode({ object_id, children: [] }).finish()), refusal(/no SHA-256/));
  }
});

test("heads of objects are as Flower writes them", () => {
  const id = "a".repeat(64);
  const text = (head) => new TextEncoder().encode(head);
  const bytes = objectBytes("RecordDict", [id, id], [text("{}")]);
  assert.deepEqual(openObject(id, bytes), { type: "RecordDict", children: [id, id], body: text("{}") });
  const plain = ["", "\0", "Array 0\0", "Array  00\0", "Array  -1\0", "Array  1\0", "Array ,  0\0", "Ärray  0\0", "Array  0 \0"];
  for (const head of [...plain, `Array ${id},  0\0`, `Array ${id}${id} 0\0`]) {
    assert.throws(() => openObject(id, text(head)), refusal(/no head of Flower's|bytes where its head tells/), head);
  }
  const large = (type, length) => openObject(id, objectBytes(type, [], [new Uint8Array(length)]));
  assert.equal(large("ArrayChunk", 5_242_880).body.length, 5_242_880);
  assert.throws(() => large("ArrayChunk", 5_242_881), refusal(/too large/));
  assert.throws(() => large("ConfigRecord", (1 << 20) + 1), refusal(/too large/));
});

test("values that Flower has no type for are not sent", () => {
  for (const [kind, values] of [["metrics", [true, "1", [true], null]], ["config", [null, [1, 1n], [null], {}]]]) {
    for (const value of values) {
      assert.throws(() => valuesBytes(kind, { value }), { code: "internal", message: /"value"/ }, `${kind} ${typeof value}`);
    }
  }
  assert.throws(() => readValues("metrics", valuesBytes("config", { text: "a" })), refusal(/"text" is no number/));
  // A value of a field that is not known.
  assert.throws(() => readValues("config", new Uint8Array([10, 7, 10, 1, 97, 18, 2, 56, 1])), refusal(/"a" .* no value that is known/));
  assert.throws(() => readValues("config", new Uint8Array([10, 200, 1])), refusal(/cannot be read/));
  const odd = readValues("config", valuesBytes("config", { ["__proto__"]: 1n, toString: "a" }));
  assert.deepEqual(Object.entries(odd), [["__proto__", 1n], ["toString", "a"]]);
});

test(".npy files are numpy's, and what is not is refused", () => {
  const one = array("float32", [3], new Float32Array([1, 2, 3]));
  const file = new Uint8Array(Buffer.concat([npyHeader(one), valueBytes(one)]));
  assert.equal(file.length, 140);
  // However it is cut into parts.
  for (let cut = 0; cut <= file.length; cut++) {
    assert.deepEqual(readNpy([file.subarray(0, cut), new Uint8Array(0), file.subarray(cut)]), one);
  }
  // Values do not start at a multiple of their size where a header has been cut short.
  const odd = (header, values) => {
    const text = new TextEncoder().encode(header);
    return [new Uint8Array([0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59, 1, 0, text.length & 255, text.length >> 8]), text, values];
  };
  const header = (more) => {
    const { descr, order, shape } = { descr: "<f4", order: "False", shape: "3,", ...more };
    return `{'descr': '${descr}', 'fortran_order': ${order}, 'shape': (${shape}), }\n`;
  };
  assert.deepEqual(readNpy(odd(header(), valueBytes(one))), one);
  const refused = (more, message, values = valueBytes(one)) =>
    assert.throws(() => readNpy(odd(typeof more === "string" ? more : header(more), values)), refusal(message));
  for (const descr of [">f4", "|O", "<f16", "|b1", "<c8", "|S4", "<i2", "<u8", "__proto__"]) refused({ descr }, /there can be float32/);
  refused({ order: "True" }, /Fortran/);
  refused({ shape: "4," }, /12 bytes of values for float32 of shape \(4\)/);
  refused({ shape: "9007199254740993," }, /bytes of values/);
  refused({ shape: "4294967296, 4294967296" }, /bytes of values/);
  refused({ shape: "-3," }, /not as numpy writes it/);
  refused({ shape: "3, x" }, /not as numpy writes it/);
  refused({ shape: "1, ".repeat(65) + "3" }, /66 dimensions/);
  refused("{}", /not as numpy writes it/);
  refused({}, /13 bytes of values/, new Uint8Array(13));
  refused({ shape: "" }, /12 bytes of values/);
  for (const bytes of [new Uint8Array(0), file.subarray(0, 9), file.map((byte, index) => (index === 6 ? 2 : byte)), file.subarray(1)]) {
    assert.throws(() => readNpy([bytes]), refusal(/no .npy file of version 1.0/));
  }
  assert.throws(() => readNpy([file.subarray(0, 100)]), refusal(/cut off/));
  assert.deepEqual(float32Of(array("float64", [1], new Float64Array([0.1]))), new Float32Array([0.1]));
  assert.deepEqual(float32Of(array("float16", [1], new Uint16Array([0x3c00]))), new Float32Array([1]));
  assert.throws(() => float32Of(array("uint8", [1], new Uint8Array(1))), refusal(/of uint8 where floats/));
});

test("float16: every value there and back, and numpy's rounding", () => {
  const floats = new Float32Array(bytesOf(made.floats).buffer);
  const halves = new Uint16Array(bytesOf(made.halves).buffer);
  assert.ok(floats.length > 10_000);
  assert.deepEqual(toFloat16(floats), halves);
  const every = Uint16Array.from({ length: 65536 }, (_, index) => index);
  const values = fromFloat16(every);
  const back = toFloat16(values);
  for (let bits = 0; bits < 65536; bits++) {
    const exponent = (bits >> 10) & 31;
    const size = exponent === 0 ? (bits & 1023) * 2 ** -24 : (1 + (bits & 1023) / 1024) * 2 ** (exponent - 15);
    const is_nan = exponent === 31 && (bits & 1023) !== 0;
    const expected = is_nan ? NaN : (bits & 0x8000 ? -1 : 1) * (exponent === 31 ? Infinity : size);
    assert.ok(Object.is(values[bits], expected), `${bits}: ${values[bits]}`);
    assert.ok(is_nan ? (back[bits] & 0x7fff) > 0x7c00 : back[bits] === bits, String(bits));
  }
});

test("an identity is kept, signs as Flower does, and goes by the server's clock", async () => {
  const store = memoryIdentities();
  const base = "http://localhost:1/fl/";
  const [one, two] = await Promise.all([Identity.of(base, store), Identity.of("http://localhost:1/fl", store)]);
  assert.equal(one.base, "http://localhost:1/fl");
  assert.equal(one.pem, two.pem);
  assert.notEqual((await Identity.of("http://localhost:2", store)).pem, one.pem);
  const kept = await store.get(one.base);
  assert.equal(kept.keys.privateKey.extractable, false);
  assert.equal(one.node_id, undefined);
  await one.setNodeId(5n);
  assert.equal((await Identity.of(base, store)).node_id, 5n);

  for (let times = 0; times < 300; times++) {
    // Of 300 signatures some have an r or an s with zeros before it, and many with its first bit set.
    const message = new TextEncoder().encode(`message ${times}`);
    const signature = await one.sign(message);
    assert.ok(await verify(one.pem, message, signature), Buffer.from(signature).toString("hex"));
    if (times > 0) continue;
    assert.equal(await verify(one.pem, new TextEncoder().encode("message 1"), signature), false);
    for (let at = 0; at < signature.length; at++) {
      assert.equal(await verify(one.pem, message, signature.map((byte, index) => (index === at ? byte ^ 1 : byte))), false, String(at));
      assert.equal(await verify(one.pem, message, signature.subarray(0, at)), false);
    }
  }
  assert.ok(await verify(made.pem, new TextEncoder().encode("a message"), bytesOf(made.signature)));
  const no_key = "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n";
  for (const pem of ["", no_key, made.pem.replace("PUBLIC", "PRIVATE"), made.pem.repeat(2)]) {
    assert.equal(await verify(pem, new TextEncoder().encode("a message"), bytesOf(made.signature)), false);
  }

  const headers = await one.headers();
  assert.equal(Buffer.from(headers["flwr-public-key"], "base64").toString(), one.pem);
  assert.match(headers["flwr-timestamp"], /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00$/);
  assert.ok(await verify(one.pem, new TextEncoder().encode(headers["flwr-timestamp"]), bytesOf(headers["flwr-signature"])));
  assert.equal(one.follow(null), false);
  assert.equal(one.follow("soon"), false);
  assert.equal(one.follow(new Date(Date.now() + 1000).toUTCString()), false);
  assert.equal(one.follow(new Date(Date.now() - 3_600_000).toUTCString()), true);
  const ahead = Date.now() - Date.parse((await one.headers())["flwr-timestamp"]);
  assert.ok(Math.abs(ahead - 3_600_000) < 3000, String(ahead));
  await one.forget();
  assert.notEqual((await Identity.of(base, store)).pem, one.pem);
});

test("a server's address is one over TLS, or on this machine", () => {
  assert.equal(serverAddress("https://learn.example.org"), "https://learn.example.org");
  assert.equal(serverAddress(new URL("https://learn.example.org/a/b//")), "https://learn.example.org/a/b");
  for (const local of ["http://localhost:8000", "http://127.0.0.1", "http://[::1]:8000"]) assert.equal(serverAddress(local), local);
  for (const [address, message] of [
    ["learn.example.org", /is none: write it as/], ["", /is none/], ["http://learn.example.org", /https/],
    ["http://localhost.example.org", /https/], ["ftp://localhost", /https/], ["https://user@learn.example.org", /a user/],
    ["https://learn.example.org/?a", /a query/], ["https://learn.example.org/#a", /fragment/],
  ]) {
    assert.throws(() => serverAddress(address), { code: "bad-option", message }, address);
  }
});
