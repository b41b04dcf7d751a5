// The proxy: what each request gets to, and what every connection is held to.
import * as http from "node:http";
import * as https from "node:https";
import { createHash } from "node:crypto";
import { answering } from "../../tools/lib/server.mjs";
import { Cors } from "./cors.mjs";
import { Enrolment } from "./enrolment.mjs";
import { checkCall, FLEET_PATHS } from "./fleet.mjs";
import { Superlink } from "./forward.mjs";
import { clientOf, Connections, LIMITS, Rates } from "./limits.mjs";
import { Refusal, refuse, refuseOn } from "./refusals.mjs";

const TERMS_PATH = "/federation.json";

/** How long a request that is under way may take when the proxy stops. */
const GRACE_MS = 5000;

export class Proxy {
  #server;
  #superlink;
  #terms;
  #page;
  #cors;
  #enrolment;
  #journal;
  #connections;
  #of_addresses;
  #of_keys;
  /** Sockets with a request that is not answered yet. */
  #busy = new WeakSet();
  #closing = false;

  /**
   * @param {object} options `terms` as readTerms gives them; `superlink` a URL; `page` a folder or undefined; `tls` { cert, key } or
   *   undefined; `origins` that pages may come from; `limits` in the place of some of LIMITS; `journal`.
   */
  constructor({ terms, superlink, page, tls, origins = [], limits: own = {}, journal }) {
    const limits = { ...LIMITS, ...own };
    this.#terms = terms.bytes;
    this.#superlink = new Superlink(superlink, { limits, journal });
    const not_found = (response, status, words) => this.#notFound(response, status, words);
    this.#page = page && answering({ "/": page }, { isolated: true, refuse: not_found });
    this.#cors = new Cors(origins);
    this.#enrolment = new Enrolment(terms.enrolled);
    this.#journal = journal;
    this.#connections = new Connections(limits.connections_per_address);
    this.#of_addresses = new Rates(limits.rate_per_address);
    this.#of_keys = new Rates(limits.rate_per_key);
    this.#server = this.#listener(tls, limits);
  }

  /** Begins to listen. Resolves to the port. */
  listen({ port, host }) {
    return new Promise((resolve, reject) => {
      this.#server.once("error", reject);
      this.#server.listen(port, host, () => {
        this.#server.off("error", reject).on("error", (error) => this.#journal.tell(`error[io]: ${error.message}`));
        resolve(this.#server.address().port);
      });
    });
  }

  /** Takes no more requests, lets those under way end, and resolves when no connection is left. */
  async close(grace_ms = GRACE_MS) {
    this.#closing = true;
    const cut = setTimeout(() => this.#connections.destroyAll(), grace_ms);
    await new Promise((resolve) => this.#server.close(resolve));
    clearTimeout(cut);
    this.#superlink.close();
    this.#journal.close();
  }

  #listener(tls, limits) {
    const settings = {
      maxHeaderSize: limits.header_bytes,
      headersTimeout: limits.header_ms,
      requestTimeout: limits.request_ms,
      keepAliveTimeout: limits.idle_ms,
      connectionsCheckingInterval: Math.min(1000, limits.header_ms / 4),
      // Whether there is one is asked where the answer is JSON.
      requireHostHeader: false,
      insecureHTTPParser: false,
    };
    const secured = { ...settings, ...tls, minVersion: "TLSv1.2", handshakeTimeout: limits.header_ms };
    const server = tls ? https.createServer(secured) : http.createServer(settings);
    // Their bytes are limited, and a header that was left out for its place among many could be the one that matters.
    server.maxHeadersCount = 0;
    server.maxConnections = limits.connections;
    // Whoever does not read what it asked for is not waited for.
    server.timeout = limits.request_ms + limits.answer_ms;
    server.on("drop", () => this.#journal.refused({ code: "too-many", kind: "connections" }));
    server.on("connection", (socket) => {
      if (this.#connections.admit(socket)) return;
      this.#journal.refused({ code: "too-many", kind: "connections of an address" });
      socket.destroy();
    });
    server.on("request", (request, response) => void this.#answer(request, response));
    server.on("checkContinue", (request, response) => void this.#answer(request, response));
    server.on("checkExpectation", (request, response) => {
      this.#refuse(response, new Refusal("bad-request", "expectation", "Only 100-continue can be expected.", { status: 417 }));
    });
    server.on("connect", (_, socket) => this.#refuseOn(socket, new Refusal("bad-request", "method", "Nothing is tunnelled here.")));
    server.on("clientError", (error, socket) => this.#unreadable(error, socket));
    return server;
  }

  async #answer(request, response) {
    const { socket } = request;
    if (this.#busy.has(socket)) {
      // Requests that do not wait for answers would get around what one connection may have under way.
      this.#journal.refused({ code: "bad-request", kind: "pipelined" });
      socket.destroy();
      return;
    }
    this.#busy.add(socket);
    response.once("close", () => {
      this.#busy.delete(socket);
      if (this.#closing) this.#server.closeIdleConnections();
    });
    try {
      this.#cors.allow(request, response);
      const client = clientOf(socket);
      holdBack(this.#of_addresses.wait(client), "rate of an address");
      this.#of_addresses.spend(client);
      checkFraming(request);
      await this.#route(request, response);
    } catch (error) {
      this.#refuse(response, error);
    }
  }

  async #route(request, response) {
    const { method, url } = request;
    const is_call = FLEET_PATHS.has(url);
    if (method === "OPTIONS" && (is_call || url === TERMS_PATH)) {
      this.#cors.preflight(request, response, is_call ? "POST" : "GET");
    } else if (is_call) {
      await this.#pass(request, response);
    } else if (method !== "GET" && method !== "HEAD") {
      throw new Refusal("not-found", "address", "There is nothing at this address that could be called.");
    } else if (url === TERMS_PATH) {
      response.writeHead(200, { "Content-Type": "application/json", "Content-Length": this.#terms.length, "Cache-Control": "no-store" });
      response.end(this.#terms);
    } else if (this.#page) {
      this.#page(request, response);
    } else {
      throw new Refusal("not-found", "address", "There is nothing at this address.");
    }
  }

  async #pass(request, response) {
    const call = checkCall(request);
    const key = call.headers["flwr-public-key"];
    this.#enrolment.check(key);
    const node = createHash("sha256").update(key).digest("base64");
    holdBack(this.#of_keys.wait(node), "rate of a key");
    if (request.headers.expect !== undefined) response.writeContinue();
    const status = await this.#superlink.pass(call, request, response);
    // Anyone can send anyone's public key; it is its owner who asked where the SuperLink, which checks the signature, took it.
    if (status !== undefined && status !== 401) this.#of_keys.spend(node);
  }

  #notFound(response, status, words) {
    const code = status === 404 ? "not-found" : "bad-request";
    this.#refuse(response, new Refusal(code, "address", `The address is of no use here: ${words}.`));
  }

  #refuse(response, error) {
    if (!(error instanceof Refusal)) this.#journal.tell(`error[internal]: ${error?.stack ?? error}`);
    const refusal = error instanceof Refusal ? error : new Refusal("unavailable", "internal", "The proxy failed; its log says why.");
    this.#journal.refused(refusal);
    refuse(response, refusal);
  }

  #refuseOn(socket, refusal) {
    this.#journal.refused(refusal);
    refuseOn(socket, refusal);
  }

  /** What HTTP's parser could make nothing of, or waited too long for. */
  #unreadable(error, socket) {
    const refusal = refusalOf(error);
    // A second answer on a connection that waits for its first would be taken for that one.
    if (refusal && !this.#busy.has(socket)) {
      this.#refuseOn(socket, refusal);
      return;
    }
    if (refusal) this.#journal.refused(refusal);
    socket.destroy();
  }
}

/** Refuses what could be read in more than one way, or would turn the connection into something else than HTTP. */
function checkFraming({ method, httpVersion, headers }) {
  const bad = (words) => new Refusal("bad-request", "framing", words);
  if (headers.host === undefined && httpVersion !== "1.0") throw bad("The header host is missing.");
  if (headers.upgrade !== undefined) throw bad("Connections are not upgraded here.");
  const has_body = headers["transfer-encoding"] !== undefined || (headers["content-length"] ?? "0") !== "0";
  if (has_body && method !== "POST") throw bad("Only a POST can have a body here.");
}

function holdBack(seconds, kind) {
  if (seconds === 0) return;
  const headers = { "Retry-After": seconds };
  throw new Refusal("too-many", kind, `Too many requests; try again in ${seconds} s.`, { headers });
}

/** Undefined where there is nobody left to tell. */
function refusalOf({ code = "" }) {
  if (code === "HPE_HEADER_OVERFLOW") return new Refusal("too-large", "headers", "The request's headers are too large.", { status: 431 });
  if (code === "ERR_HTTP_REQUEST_TIMEOUT") {
    return new Refusal("bad-request", "too slow", "The request did not arrive in time.", { status: 408 });
  }
  return code.startsWith("HPE_") ? new Refusal("bad-request", "malformed", "This is not a request of HTTP/1.1.") : undefined;
}
