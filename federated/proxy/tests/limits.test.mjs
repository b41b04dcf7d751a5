// How much one client may take: of connections, requests, time and memory.
import assert from "node:assert/strict";
import { once } from "node:events";
import { Agent, request as httpRequest } from "node:http";
import { connect } from "node:net";
import { test } from "node:test";
import { clientOf, Rates } from "../limits.mjs";
import { answerOk, ask, CALL, head, identity, makeKey, open, PUSH, stopClock, until, write } from "./support.mjs";

test("a rate lets a burst through, then so many a second, and says how long to wait", () => {
  let now = 0;
  const rates = new Rates(10, { now: () => now });
  const taken = (client, count) => {
    let through = 0;
    for (let time = 0; time < count; time += 1) {
      if (rates.wait(client) > 0) continue;
      rates.spend(client);
      through += 1;
    }
    return through;
  };
  assert.equal(taken("a", 100), 40);
  assert.equal(rates.wait("a"), 1);
  assert.equal(taken("b", 1), 1);
  now += 1000;
  assert.equal(taken("a", 100), 10);
  now += 3_600_000;
  assert.equal(taken("a", 100), 40);
  // Those that were let in at once are waited for.
  for (let time = 0; time < 30; time += 1) rates.spend("a");
  assert.equal(rates.wait("a"), 4);
  assert.equal(new Rates(0.1, { now: () => now }).wait("a"), 0);
});

test("of clients no more are remembered than there is room for, those that asked last", () => {
  const rates = new Rates(1, { now: () => 0, remembered: 100 });
  for (let client = 0; client < 1000; client += 1) {
    for (let time = 0; time < 4; time += 1) rates.spend(client);
    rates.spend("always");
    rates.wait(`only looked at ${client}`);
  }
  assert.equal(rates.size, 100);
  assert.deepEqual([rates.wait("always") > 0, rates.wait(999) > 0, rates.wait(0)], [true, true, 0]);
});

test("a client is an IPv4 address, or a household of IPv6", () => {
  const names = [
    ["192.0.2.7", "192.0.2.7"], ["::ffff:192.0.2.7", "192.0.2.7"], ["::1", "0:0:0:0::/64"], ["2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"],
    ["2001:db8:1:2::9", "2001:db8:1:2::/64"], ["2001:db8::9", "2001:db8:0:0::/64"], ["2001:db8:1:2:3::", "2001:db8:1:2::/64"],
    ["fe80::1%eth0", "fe80:0:0:0::/64"], [undefined, ""],
  ];
  for (const [remoteAddress, client] of names) assert.equal(clientOf({ remoteAddress }), client);
});

test("an address that asks too often is told when to come back, whatever it says of whom it asks for", async (t) => {
  stopClock(t);
  const { superlink, proxy } = await open(t, { limits: { rate_per_address: 2 } });
  const statuses = [];
  for (let time = 0; time < 12; time += 1) {
    const { status, json, headers } = await ask(proxy, time % 2 ? CALL : "/federation.json", {
      headers: identity({ "flwr-public-key": makeKey().header, "x-forwarded-for": `10.0.0.${time}`, forwarded: `for=10.0.0.${time}` }),
    });
    statuses.push(status);
    if (status !== 429) continue;
    assert.equal(json.code, "too-many");
    assert.equal(headers["retry-after"], "1");
  }
  assert.equal(statuses.filter((status) => status === 429).length, 4, String(statuses));
  assert.equal(superlink.calls.length, 4);
});

test("a key that calls too often has to wait, and nobody can make it wait who does not own it", async (t) => {
  stopClock(t);
  const forged = Buffer.from("forged").toString("base64");
  const answer = (request, response) => {
    if (request.headers["flwr-signature"] !== forged) answerOk(request, response);
    else response.writeHead(401, { "content-type": "application/json" }).end("{}");
  };
  const { proxy } = await open(t, { answer, limits: { rate_per_key: 2, rate_per_address: 10_000 } });
  const [one, other] = [makeKey().header, makeKey().header];
  const call = (key, more) => ask(proxy, CALL, { headers: identity({ "flwr-public-key": key, ...more }) });
  for (let time = 0; time < 40; time += 1) assert.equal((await call(one, { "flwr-signature": forged })).status, 401);
  // Nor by calls that are never finished.
  const unfinished = [];
  for (let time = 0; time < 40; time += 1) {
    const socket = connect(proxy.port, "127.0.0.1");
    socket.write(`${head(`POST ${CALL}`, { "flwr-public-key": one, "content-length": 10 })}x`);
    unfinished.push(socket);
  }
  const statuses = [];
  for (let time = 0; time < 12; time += 1) statuses.push((await call(one)).status);
  for (const socket of unfinished) socket.destroy();
  assert.deepEqual(statuses.slice(0, 8), new Array(8).fill(200));
  assert.ok(statuses.includes(429), String(statuses));
  assert.equal((await call(other)).status, 200);
});

test("connections are counted, of an address and in all, and free again when they close", async (t) => {
  const { proxy } = await open(t, { limits: { connections_per_address: 3, connections: 5 } });
  const openOne = async (localAddress) => {
    const socket = connect({ port: proxy.port, host: "127.0.0.1", localAddress });
    socket.on("error", () => {});
    const closed = once(socket, "close").then(() => "closed");
    socket.write("GET /federation.json HTTP/1.1\r\nhost: x\r\n\r\n");
    return { socket, outcome: await Promise.race([closed, once(socket, "data").then(() => "answered")]) };
  };
  const all = [];
  for (const [address, wanted] of [["127.0.0.1", "answered"], ["127.0.0.1", "answered"], ["127.0.0.1", "answered"], ["127.0.0.1", "closed"],
    ["127.0.0.2", "answered"], ["127.0.0.2", "answered"], ["127.0.0.2", "closed"], ["127.0.0.3", "closed"]]) {
    const { socket, outcome } = await openOne(address);
    assert.equal(outcome, wanted, address);
    all.push(socket);
  }
  for (const socket of all) socket.destroy();
  await until(async () => {
    const { socket, outcome } = await openOne("127.0.0.1");
    socket.destroy();
    return outcome === "answered";
  }, "a connection is free");
  proxy.journal.summarise();
  assert.match(proxy.lines.at(-1), /too-many \(connections of an address\)/);
  assert.match(proxy.lines.at(-1), /too-many \(connections\)/);
});

test("headers, bodies and silence have their time", async (t) => {
  const { superlink, proxy } = await open(t, { limits: { header_ms: 1000, request_ms: 2000, answer_ms: 300, idle_ms: 200 } });
  // What each takes at least is told by the clock, and at most by the turns that this process had: others are none of the proxy's.
  let turns = 0;
  const turning = setInterval(() => (turns += 1), 50);
  t.after(() => clearInterval(turning));
  const timed = async (text) => {
    const [begun, before] = [performance.now(), turns];
    const answer = await write(proxy.port, text);
    return { answer, took: performance.now() - begun, had: 50 * (turns - before) };
  };
  const [silent, dripping, body, idle] = await Promise.all([
    timed(""),
    timed(`POST ${CALL} HTTP/1.1\r\nhost: x\r\nx-slow: `),
    timed(`${head(`POST ${PUSH}`, { "content-length": 100 })}abc`),
    timed("GET /federation.json HTTP/1.1\r\nhost: x\r\n\r\n"),
  ]);
  assert.match(silent.answer, /^HTTP\/1.1 408 [^]*"bad-request"/);
  assert.match(dripping.answer, /^HTTP\/1.1 408 [^]*"bad-request"/);
  // Its answer was awaited already, so the connection is just closed.
  assert.equal(body.answer, "");
  assert.match(idle.answer, /^HTTP\/1.1 200 /);
  for (const [{ took, had }, least, most] of [[silent, 950, 2200], [dripping, 950, 2200], [body, 1950, 3600], [idle, 150, 3000]]) {
    assert.ok(took > least && had < most, `${took} ms, ${had} of them ours`);
  }
  assert.equal(superlink.calls.filter(({ whole }) => whole).length, 0);
  await until(async () => (await superlink.connections()) === 0, "the SuperLink's connection is closed");
});

test("a SuperLink that does not answer is not waited for without end", async (t) => {
  const { superlink, proxy } = await open(t, { answer: () => {}, limits: { header_ms: 1000, request_ms: 1000, answer_ms: 200 } });
  const { status, json } = await ask(proxy, CALL);
  assert.deepEqual([status, json.code], [504, "unavailable"]);
  await until(async () => (await superlink.connections()) === 0, "the SuperLink's connection is closed");
});

test("requests that do not wait for answers end the connection, and only the first gets through", async (t) => {
  const { superlink, proxy } = await open(t, { answer: (_, response) => setTimeout(() => answerOk(_, response), 50) });
  const calls = head(`POST ${CALL}`, { "content-length": 0 }).repeat(50);
  assert.equal(await write(proxy.port, calls), "");
  assert.ok(superlink.calls.length <= 1);
  // One after the other they share a connection, refused ones with bodies among them.
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  t.after(() => agent.destroy());
  const sockets = new Set();
  for (const [path, length, status] of [[CALL, 3, 200], [CALL, 2 << 20, 413], ["/v1/fleet/no", 1 << 20, 404], [CALL, 0, 200]]) {
    const headers = identity({ "content-length": length });
    const sent = httpRequest({ port: proxy.port, host: "127.0.0.1", path, method: "POST", headers, agent });
    sent.end(Buffer.alloc(length));
    const [response] = await once(sent, "response");
    sockets.add(response.socket);
    response.resume();
    await once(response, "end");
    assert.equal(response.statusCode, status);
  }
  assert.equal(sockets.size, 1);
});

test("no more calls are with the SuperLink at once than it is given, and the others follow", async (t) => {
  let most = 0;
  const there = [];
  const answer = (request, response) => {
    there.push(() => answerOk(request, response));
    most = Math.max(most, there.length);
    // As many as there may be are there before one is answered, and one more has time to come.
    if (there.length === 4) setTimeout(() => there.splice(0).forEach((answerOne) => answerOne()), 20);
  };
  const { proxy } = await open(t, { answer, limits: { upstream_connections: 4 } });
  const answers = await Promise.all(Array.from({ length: 40 }, () => ask(proxy, CALL, { body: "abc" })));
  assert.ok(answers.every(({ status }) => status === 200));
  assert.equal(most, 4);
});

test("large headers are refused by their size and not by their number", async (t) => {
  const { superlink, proxy } = await open(t);
  assert.match(await write(proxy.port, head(`POST ${CALL}`, { "x-large": "a".repeat(9000) })), /^HTTP\/1.1 431 [^]*"too-large"/);
  assert.match(await write(proxy.port, `GET /${"a".repeat(9000)} HTTP/1.1\r\nhost: x\r\n\r\n`), /^HTTP\/1.1 431 /);
  // None of many small headers is left out: the last one here is the one that matters.
  const many = `GET /federation.json HTTP/1.1\r\nhost:x\r\n${"a:\r\n".repeat(2010)}upgrade:h2c\r\nconnection:close\r\n\r\n`;
  assert.match(await write(proxy.port, many), /^HTTP\/1.1 400 [^]*upgraded/);
  assert.deepEqual(superlink.calls, []);
});

test("bodies are passed on as fast as they are taken, in both directions", async (t) => {
  const LARGE = 64 << 20;
  let written = 0;
  const answer = (_, response) => {
    response.writeHead(200, { "content-type": "application/protobuf", "content-length": LARGE });
    const fill = () => {
      while (written < LARGE && !response.destroyed) {
        written += 1 << 16;
        if (!response.write(Buffer.alloc(1 << 16))) {
          response.once("drain", fill);
          return;
        }
      }
      response.end();
    };
    fill();
  };
  const { proxy } = await open(t, { answer });
  const sent = httpRequest({ port: proxy.port, host: "127.0.0.1", path: CALL, method: "POST", headers: identity({ "content-length": 0 }) });
  sent.end();
  const [response] = await once(sent, "response");
  // Nothing is read of the answer, so the SuperLink soon stops writing it: only what sockets hold is under way.
  let before = -1;
  await until(async () => {
    await new Promise((resolve) => setTimeout(resolve, 100));
    const stopped = written === before;
    before = written;
    return stopped;
  }, "the SuperLink waits");
  assert.ok(written < LARGE / 2, `${written} bytes are under way`);
  let read = 0;
  for await (const piece of response) read += piece.length;
  assert.equal(read, LARGE);
});

test("whoever breaks off takes the call to the SuperLink along", async (t) => {
  const { superlink, proxy } = await open(t, { answer: () => {} });
  const half = connect(proxy.port, "127.0.0.1");
  half.write(`${head(`POST ${PUSH}`, { "content-length": 1000 })}abc`);
  const whole = connect(proxy.port, "127.0.0.1");
  whole.write(`${head(`POST ${CALL}`, { "content-length": 3 })}abc`);
  await until(() => superlink.calls.length === 2, "both calls are there");
  half.resetAndDestroy();
  whole.resetAndDestroy();
  await until(async () => (await superlink.connections()) === 0, "both connections are closed");
  assert.equal((await ask(proxy, "/federation.json", { method: "GET" })).status, 200);
});

test("whoever breaks off while it is refused does no harm", async (t) => {
  const { proxy } = await open(t, { limits: { rate_per_address: 10_000 } });
  const too_large = head(`POST ${CALL}`, { "content-length": 1e12 });
  const requests = [head("CONNECT x:1"), "nonsense\r\n\r\n", too_large, head("GET /")];
  for (let time = 0; time < 200; time += 1) {
    const socket = connect(proxy.port, "127.0.0.1").on("error", () => {});
    await once(socket, "connect");
    socket.write(requests[time % requests.length], () => socket.resetAndDestroy());
    await once(socket, "close");
  }
  assert.equal((await ask(proxy, CALL)).status, 200);
});

test("a SuperLink that breaks off in its answer is not taken for one that ended it", async (t) => {
  const answer = (_, response) => {
    response.writeHead(200, { "content-type": "application/protobuf", "content-length": 1000 }).write("abc");
    setTimeout(() => response.destroy(), 50);
  };
  const { proxy } = await open(t, { answer });
  await assert.rejects(ask(proxy, CALL), { code: "ECONNRESET" });
});

test("refusals are summed up in the log, which names nobody", async (t) => {
  const { proxy } = await open(t);
  for (let time = 0; time < 5; time += 1) await ask(proxy, "/v1/control/list-runs");
  await ask(proxy, CALL, { headers: identity({ "content-type": "text/plain" }) });
  assert.deepEqual(proxy.lines, []);
  proxy.journal.summarise();
  proxy.journal.summarise();
  assert.equal(proxy.lines.length, 1);
  assert.match(proxy.lines[0], /^\d{4}-\S+Z refused: 5 not-found \(address\), 1 bad-request \(media type\)$/);
});
