// The server that the page, the command line and the tests share: what it answers to what it should not be asked.
import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { serve } from "../../tools/lib/server.mjs";

let folder, server;

before(async () => {
  folder = await mkdtemp(join(tmpdir(), "tabtune-server-"));
  await writeFile(join(folder, "a.txt"), "here");
  server = await serve({ "/": folder, "/bytes": new TextEncoder().encode("some") });
});

after(async () => {
  await server.close();
  await rm(folder, { recursive: true, force: true });
});

/** The first line of the answer to a request line that no client would write. */
async function answered(line) {
  const socket = connect(Number(new URL(server.origin).port), "localhost");
  socket.write(`${line}\r\nHost: localhost\r\nConnection: close\r\n\r\n`);
  let text = "";
  socket.setEncoding("latin1").on("data", (piece) => (text += piece));
  await once(socket, "close");
  return text.split("\r\n", 1)[0];
}

test("malformed addresses are refused, and the server stays", async () => {
  for (const path of ["/%ff", "/%", "/%zz", "/%e0%a4%a", "/a%ff.txt?x=1"]) {
    assert.match(await answered(`GET ${path} HTTP/1.1`), / 400 /, path);
  }
  for (const path of ["//", "///", "//evil.example/a.txt", "http://evil.example/a.txt", "/%00", "/..%2f..%2fetc/passwd", "/%2e%2e/%2e%2e/"]) {
    assert.match(await answered(`GET ${path} HTTP/1.1`), / 40[04] /, path);
  }
  for (const line of ["GET", "GET a.txt HTTP/1.1", "nonsense", "OPTIONS * HTTP/1.1", "GET /\u00ff HTTP/1.1"]) {
    assert.match(await answered(line), / 40[04] /, line);
  }
  assert.equal(await (await fetch(`${server.origin}/a.txt`)).text(), "here");
  assert.equal(await (await fetch(`${server.origin}/bytes`)).text(), "some");
});

test("pages are cross-origin isolated where that is asked for, and what they load may be", async (t) => {
  const isolated = await serve({ "/": folder }, { isolated: true });
  t.after(() => isolated.close());
  const headers = async (origin) => {
    const { headers } = await fetch(`${origin}/a.txt`);
    return ["opener", "embedder"].map((who) => headers.get(`cross-origin-${who}-policy`));
  };
  assert.deepEqual(await headers(isolated.origin), ["same-origin", "require-corp"]);
  assert.deepEqual(await headers(server.origin), [null, null]);
});

test("a connection that breaks off ends nothing", async () => {
  const socket = connect(Number(new URL(server.origin).port), "localhost");
  socket.write("GET /a.txt HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n");
  socket.on("error", () => {});
  socket.resetAndDestroy();
  assert.equal(await (await fetch(`${server.origin}/a.txt`)).text(), "here");
});
