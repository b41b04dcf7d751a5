// The program: its command line, TLS, its log, and how it stops.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { get, request as httpsRequest } from "node:https";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { answerOk, ask, CALL, head, identity, openProxy, playSuperlink, TERMS, until } from "./support.mjs";

const MAIN = fileURLToPath(new URL("../main.mjs", import.meta.url));
const fixture = (name) => fileURLToPath(new URL(`fixtures/${name}`, import.meta.url));
const [CERT, KEY] = [fixture("localhost.cert.pem"), fixture("localhost.key.pem")];

let folder, terms;

before(async () => {
  folder = await mkdtemp(join(tmpdir(), "tabtune-proxy-main-"));
  terms = join(folder, "federation.json");
  await writeFile(terms, JSON.stringify(TERMS));
});

after(() => rm(folder, { recursive: true, force: true }));

/** Runs the program to its end. */
async function run(...args) {
  const child = spawn(process.execPath, [MAIN, ...args], { stdio: ["ignore", "pipe", "pipe"], timeout: 120_000 });
  const outputs = { stdout: "", stderr: "" };
  for (const name of Object.keys(outputs)) child[name].setEncoding("utf8").on("data", (text) => (outputs[name] += text));
  const [code] = await once(child, "close");
  return { code, ...outputs };
}

/** Starts the program on a free port; it is ended with the test. */
async function start(t, ...args) {
  const child = spawn(process.execPath, [MAIN, "--terms", terms, "--port", "0", ...args], { stdio: ["ignore", "pipe", "inherit"] });
  t.after(() => child.kill("SIGKILL"));
  const log = { text: "" };
  child.stdout.setEncoding("utf8").on("data", (text) => (log.text += text));
  await until(() => / is at \S+ for /.test(log.text), "the proxy listens");
  const [, origin] = / is at (\S+) for /.exec(log.text);
  return { child, log, origin, port: Number(new URL(origin).port) };
}

test("options that make no sense are refused, each by its name", async () => {
  for (const [args, message] of [
    [[], /--terms FILE is missing/],
    [["--terms", terms, "--colour", "red"], /'--colour'/],
    [["--terms", terms, "--port", "80x"], /--port must be a whole number from 0 to 65535/],
    [["--terms", terms, "--rate", "0"], /--rate must be a whole number from 1/],
    [["--terms", terms, "--header-seconds", "300"], /--header-seconds/],
    [["--terms", terms, "--superlink", "127.0.0.1:8000"], /--superlink/],
    [["--terms", terms, "--superlink", "http://127.0.0.1:8000/v1"], /--superlink/],
    [["--terms", terms, "--origin", "*"], /--origin/],
    [["--terms", terms, "--origin", "https://app.example.org/page"], /--origin/],
    [["--terms", terms, "--cert", CERT], /--cert and --key go together/],
    [["--terms", terms, "--cert", CERT, "--key", CERT], /--cert and --key cannot be used/],
    [["--terms", terms, "--cert", CERT, "--key", join(folder, "no.pem")], /no.pem/],
    [["--terms", terms, "--page", terms], /--page/],
    [["--terms", join(folder, "none.json")], /none.json/],
  ]) {
    const { code, stderr } = await run(...args);
    assert.equal(code, 1, String(args));
    assert.match(stderr, /^error\[(bad-option|io)\]: [^\n]+\n$/);
    assert.match(stderr, message);
  }
  const { code, stdout } = await run("--help");
  assert.deepEqual([code, stdout.startsWith("usage: ")], [0, true]);
});

test("without TLS it listens on this machine only, unless it is told that this is meant", async (t) => {
  for (const host of ["0.0.0.0", "::", "192.0.2.1", "learn.example.org", "127.example.org"]) {
    const { code, stderr } = await run("--terms", terms, "--port", "0", "--host", host);
    assert.deepEqual([code, stderr.split(":")[0]], [1, "error[bad-option]"], host);
    assert.match(stderr, /without TLS, .* can read .* give --cert and --key, or --insecure/);
  }
  for (const args of [["--host", "0.0.0.0", "--insecure"], ["--host", "0.0.0.0", "--cert", CERT, "--key", KEY], ["--host", "localhost"]]) {
    (await start(t, ...args)).child.kill();
  }
});

test("a port that is taken is told", async (t) => {
  const { port } = await start(t);
  const { code, stderr } = await run("--terms", terms, "--port", String(port));
  assert.equal(code, 1);
  assert.match(stderr, new RegExp(`^error\\[io\\]: 127.0.0.1:${port} cannot be listened on \\(EADDRINUSE\\)`));
});

test("a signal lets a call that is under way end, closes what waits, and ends the program", async (t) => {
  for (const signal of ["SIGTERM", "SIGINT"]) {
    let finish;
    const superlink = await playSuperlink({ answer: (request, response) => (finish = () => answerOk(request, response)) });
    t.after(() => superlink.close());
    const { child, log, origin, port } = await start(t, "--superlink", superlink.url.origin);
    const ended = once(child, "exit");
    const waiting = connect(port, "127.0.0.1");
    const closed = once(waiting, "close");
    waiting.write("GET /federation.json HTTP/1.1\r\nhost: x\r\n\r\n");
    await once(waiting, "data");
    const call = ask({ origin }, CALL);
    await until(() => finish !== undefined, "the call is under way");
    child.kill(signal);
    await until(() => log.text.includes(`${signal}: stopping`), "it stops");
    await assert.rejects(ask({ origin }, CALL), { code: "ECONNREFUSED" });
    // Long before the time is over in which calls may end, after which this one would have no answer.
    await closed;
    finish();
    assert.equal((await call).status, 200);
    assert.deepEqual(await ended, [0, null]);
    assert.match(log.text, / stopped\n$/);
  }
});

test("a call that does not end is cut off when the program stops", async (t) => {
  const superlink = await playSuperlink({ answer: () => {} });
  t.after(() => superlink.close());
  const { child, origin } = await start(t, "--superlink", superlink.url.origin);
  const ended = once(child, "exit");
  const call = assert.rejects(ask({ origin }, CALL), { code: "ECONNRESET" });
  await until(() => superlink.calls.length === 1, "the call is under way");
  child.kill();
  await call;
  assert.deepEqual(await ended, [0, null]);
});

test("over TLS calls come through as without; connections that never speak it are closed, and all are counted", async (t) => {
  const superlink = await playSuperlink();
  const tls = { cert: await readFile(CERT), key: await readFile(KEY) };
  const proxy = await openProxy({ superlink, tls, limits: { connections_per_address: 3, header_ms: 3000 } });
  t.after(async () => {
    await proxy.close();
    await superlink.close();
  });
  const options = { host: "localhost", port: proxy.port, ca: tls.cert, agent: false };
  // More than may be open at once, so each has to be free again when it is closed.
  for (let time = 0; time < 10; time += 1) {
    const sent = httpsRequest({ ...options, path: CALL, method: "POST", headers: identity({ "content-length": 3 }) });
    sent.end("abc");
    const [response] = await once(sent, "response");
    assert.equal(response.statusCode, 200);
    response.resume();
    await once(response, "close");
  }
  assert.equal(superlink.calls.filter(({ whole }) => whole).length, 10);
  for (const text of [head(`POST ${CALL}`, { "content-length": 0 }), "\x16\x03\x01\x00\x01x", "\0".repeat(100)]) {
    const socket = connect(proxy.port, "127.0.0.1");
    socket.on("error", () => {});
    socket.write(text);
    socket.resume();
    await once(socket, "close");
  }
  const silent = connect(proxy.port, "127.0.0.1").on("error", () => {}).resume();
  await once(silent, "close");
  const [response] = await once(get({ ...options, path: "/federation.json" }), "response");
  assert.equal(response.statusCode, 200);
  response.resume();
  assert.equal(superlink.calls.length, 10);
});
