// Servers on this machine that answer for those which the guides name, to any browser: a proxy for https, where the browser's own checks
// (policies, CORS, redirects) meet the names that the guides have.
import { execFileSync } from "node:child_process";
import { createServer, request as askHttp } from "node:http";
import { createServer as createTlsServer } from "node:https";
import { connect } from "node:net";

/** A key and its certificate, which nobody vouches for: browsers are told to take it. As PEM. */
function certificate() {
  const key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", "-"];
  const args = ["req", "-x509", ...key, "-subj", "/CN=the tests' own", "-days", "2", "-out", "-"];
  return execFileSync("openssl", args, { stdio: ["ignore", "pipe", "ignore"] });
}

/** Hands a request on to `at`, and what is answered back, with the names of `named` in the place of this machine's origins. */
function handOn({ at, path, named, headers }, request, response) {
  const asked = new URL(path, at);
  const rename = (text) => Object.entries(named).reduce((text, [local, name]) => text.replaceAll(local, name), text);
  const { host, ...given } = request.headers;
  const local = askHttp(asked, { method: request.method, headers: given }, (answer) => {
    const told = Object.entries(answer.headers).map(([name, value]) => [name, typeof value === "string" ? rename(value) : value]);
    const all = { ...Object.fromEntries(told), ...headers };
    if (!/json/.test(answer.headers["content-type"] ?? "")) {
      response.writeHead(answer.statusCode, all);
      answer.pipe(response);
      return;
    }
    // Lists and tickets have addresses in them.
    delete all["content-length"];
    const pieces = [];
    answer.on("data", (piece) => pieces.push(piece));
    answer.on("end", () => response.writeHead(answer.statusCode, all).end(rename(Buffer.concat(pieces).toString())));
  });
  local.on("error", () => response.destroy());
  response.on("close", () => local.destroy());
  request.pipe(local);
}

/**
 * Starts the proxy; gives { port, answer, close }. `answer(origin, find)` has that origin answered for: `find(path)` tells
 * { at, path, named, headers }, the address and path to ask, the origins of this machine by what they are called, and headers to add.
 * Whatever nobody answers for cannot be reached.
 */
export async function startStandIns() {
  const known = new Map();
  const pem = certificate();
  const tls = createTlsServer({ key: pem, cert: pem }, (request, response) => {
    const find = known.get(`https://${request.headers.host}`);
    handOn({ named: {}, path: request.url, ...find(request.url) }, request, response);
  });
  const proxy = createServer((_, response) => response.writeHead(502).end());
  const sockets = new Set();
  proxy.on("connect", (request, socket, head) => {
    sockets.add(socket);
    socket.on("error", () => {}).on("close", () => sockets.delete(socket));
    // Browsers ask their makers for this and that.
    if (!known.has(`https://${request.url.replace(/:443$/, "")}`)) return socket.end("HTTP/1.1 502 Bad Gateway\r\n\r\n");
    const inner = connect(tls.address().port, "127.0.0.1", () => {
      socket.write("HTTP/1.1 200 OK\r\n\r\n");
      inner.write(head);
      socket.pipe(inner).pipe(socket);
    });
    inner.on("error", () => socket.destroy());
    socket.on("close", () => inner.destroy());
  });
  for (const server of [tls, proxy]) await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    port: proxy.address().port,
    answer: (origin, find) => known.set(origin, find),
    close() {
      for (const socket of sockets) socket.destroy();
      for (const server of [tls, proxy]) {
        server.closeAllConnections();
        server.close();
      }
    },
  };
}
