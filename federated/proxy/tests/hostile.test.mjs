// A thousand requests that nobody should send, over raw sockets: none gets beyond a node's calls, and the proxy stays as large as it was.
// FUZZ_SEED=N FUZZ_INPUTS=N tries others, and more.
import assert from "node:assert/strict";
import { fork } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { attacksOf, MOST_BYTES, numberIn } from "./attacks.mjs";
import { FLEET_PATHS } from "../fleet.mjs";
import { answerOk, ask, CALL, identity, playSuperlink, TERMS, until } from "./support.mjs";

const COUNT = Number(process.env.FUZZ_INPUTS ?? 1000);
const SEED = Number(process.env.FUZZ_SEED ?? Math.floor(Math.random() * 2 ** 31));
const AT_ONCE = 48;
const MIB = 1 << 20;

/** What the proxy may keep when all is over, beyond what it had before, and what the process may take in the meantime. */
const MORE_HELD = 2 * MIB;
const MORE_AT_PEAK = 64 * MIB;

const LARGE_BYTES = 5 * MIB;
const HEADERS = [...Object.keys(identity()), "content-length", "host", "connection"].sort();

/** Starts the program with short times and no rates, which would refuse most of this for its number alone. */
async function start(t, superlink) {
  const folder = await mkdtemp(join(tmpdir(), "tabtune-hostile-"));
  t.after(() => rm(folder, { recursive: true, force: true }));
  await writeFile(join(folder, "federation.json"), JSON.stringify(TERMS));
  await writeFile(join(folder, "large.bin"), Buffer.alloc(LARGE_BYTES));
  const options = {
    terms: join(folder, "federation.json"), superlink: superlink.url.origin, port: 0, page: folder, rate: 1_000_000,
    "rate-per-key": 1_000_000,
    connections: 1000, "connections-per-address": 1000, "header-seconds": 1, "request-seconds": 2, "answer-seconds": 10,
  };
  const args = Object.entries(options).flatMap(([name, value]) => [`--${name}`, String(value)]);
  const program = fileURLToPath(new URL("fixtures/measured.mjs", import.meta.url));
  const child = fork(program, args, { execArgv: ["--expose-gc"], stdio: ["ignore", "pipe", "pipe", "ipc"] });
  t.after(() => child.kill("SIGKILL"));
  const output = { log: "", errors: "" };
  child.stdout.setEncoding("utf8").on("data", (text) => (output.log += text));
  child.stderr.setEncoding("utf8").on("data", (text) => (output.errors += text));
  child.once("exit", (code, signal) => (output.errors += code === 0 ? "" : `the proxy ended: ${signal ?? code}\n`));
  await until(() => / is at \S+ for /.test(output.log), "the proxy listens");
  const [, origin] = / is at (\S+) for /.exec(output.log);
  const memory = async () => {
    assert.equal(output.errors, "");
    child.send("memory");
    const [told] = await once(child, "message");
    return told;
  };
  return { child, output, origin, memory, port: Number(new URL(origin).port) };
}

/** Carries out one attack. Resolves to the bytes that were taken of it and the statuses that came back. */
async function attack({ text, more, wait = 400, unread = false }, port) {
  const socket = connect(port, "127.0.0.1");
  let answer = "";
  if (!unread) socket.setEncoding("latin1").on("data", (piece) => (answer = (answer + piece).slice(0, 65_536)));
  socket.on("error", () => {});
  const closed = new Promise((resolve) => socket.once("close", resolve));
  const torn = setTimeout(() => socket.resetAndDestroy(), more ? Math.max(wait, 3000) : wait);
  socket.write(text);
  const pour = () => {
    while (more && !socket.destroyed && socket.bytesWritten < MOST_BYTES) {
      if (!socket.write(more)) {
        socket.once("drain", pour);
        return;
      }
    }
  };
  pour();
  await closed;
  clearTimeout(torn);
  return { written: socket.bytesWritten, statuses: [...answer.matchAll(/^HTTP\/1\.1 (\d{3})/gm)].map(([, status]) => Number(status)) };
}

async function attackAll(attacks, port, seen = () => {}) {
  const turn = async () => {
    for (let next = attacks.next(); !next.done; next = attacks.next()) seen(next.value, await attack(next.value, port));
  };
  await Promise.all(Array.from({ length: AT_ONCE }, turn));
}

test(`${COUNT} malformed or oversized requests reach nothing but a node's calls, and leave nothing behind`, async (t) => {
  t.diagnostic(`seed ${SEED}`);
  const large = Buffer.alloc(LARGE_BYTES);
  const answer = (request, response) => {
    if (!request.url.endsWith("/pull-object")) answerOk(request, response);
    else response.writeHead(200, { "content-type": "application/protobuf", "content-length": LARGE_BYTES }).end(large);
  };
  const superlink = await playSuperlink({ answer, keep: false });
  t.after(() => superlink.close());
  const proxy = await start(t, superlink);

  // What the first requests make once, caches and compiled code, is no growth.
  await attackAll(attacksOf(SEED ^ 0x5555, 400), proxy.port);
  await until(async () => (await superlink.connections()) === 0, "the first ones are over");
  const before = await proxy.memory();
  superlink.calls.length = 0;

  const all = new Map();
  let written = 0;
  const begun = performance.now();
  const outcomes = {};
  await attackAll(attacksOf(SEED, COUNT), proxy.port, (one, { written: bytes, statuses }) => {
    all.set(one.number, one);
    written += bytes;
    for (const status of statuses.length > 0 ? statuses : ["closed"]) outcomes[status] = (outcomes[status] ?? 0) + 1;
    const passed = statuses.includes(200) && !one.legal;
    assert.ok(!passed, `attack ${one.number} (${one.kind}) of seed ${SEED} was served: ${String(one.text).slice(0, 300)}`);
  });
  const took = (performance.now() - begun) / 1000;
  await until(async () => (await superlink.connections()) === 0, "no call is under way any more");
  const after = await proxy.memory();

  const mib = (bytes) => `${(bytes / MIB).toFixed(1)} MiB`;
  t.diagnostic(`${mib(written)} written in ${took.toFixed(1)} s; answers ${JSON.stringify(outcomes)}`);
  t.diagnostic(`${superlink.calls.length} calls with a right one in them reached the SuperLink`);
  t.diagnostic(`memory held: ${mib(before.held)} before, ${mib(after.held)} after`);
  t.diagnostic(`process at most: ${mib(before.peak)} before, ${mib(after.peak)} in the run`);

  assert.equal(all.size, COUNT);
  assert.deepEqual(superlink.strange, []);
  const wrong = superlink.calls.filter((call) => !isLegal(call, all));
  assert.deepEqual(wrong, [], `seed ${SEED}`);
  assert.ok(after.held - before.held < MORE_HELD, "memory is held");
  assert.ok(after.peak - before.peak < MORE_AT_PEAK, "memory grew in the meantime");

  // It serves as it did, and its log is an operator's and not a list of a thousand lines.
  assert.equal((await ask(proxy, CALL, { body: "abc" })).status, 200);
  assert.ok(proxy.output.log.split("\n").length < 10, proxy.output.log);
  assert.equal(proxy.output.errors, "");
  proxy.child.kill("SIGTERM");
  assert.deepEqual(await once(proxy.child, "exit"), [0, null]);
});

/**
 * Whether a call that reached the SuperLink is one that a node may make, in the form that the proxy gives it, and of an attack that had a
 * right one in it (which attack that is, a damaged key no longer tells).
 */
function isLegal({ method, path, headers, bytes, whole, trailers = [] }, attacks) {
  const named = Object.fromEntries(headers.flatMap((name, index) => (index % 2 === 0 ? [[name.toLowerCase(), headers[index + 1]]] : [])));
  const length = Number(named["content-length"]);
  const number = numberIn(named["flwr-public-key"]);
  const is_call = method === "POST" && FLEET_PATHS.has(path) && length <= FLEET_PATHS.get(path);
  const has_body = (whole ? bytes === length : bytes <= length) && trailers.length === 0;
  const has_headers = headers.length === 2 * HEADERS.length && Object.keys(named).sort().join() === HEADERS.join();
  return is_call && has_body && has_headers && (number === undefined || attacks.get(number).legal === true);
}
