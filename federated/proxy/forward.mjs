// One call passed on to the SuperLink, and its answer back. Both bodies are streamed, each as fast as its receiver takes it.
import * as http from "node:http";
import * as https from "node:https";
import { pipeline } from "node:stream";
import { MEDIA_TYPE, mediaType } from "./fleet.mjs";
import { Refusal, refuse } from "./refusals.mjs";

/** Types of the SuperLink's answers: a message, or an error in JSON. */
const ANSWERED = [MEDIA_TYPE, "application/json"];

const RETRY_SECONDS = 5;

export class Superlink {
  #url;
  #agent;
  #request;
  #deadline_ms;
  #journal;

  /** @param {URL} url its address, without a path */
  constructor(url, { limits, journal }) {
    const { Agent, request } = url.protocol === "https:" ? https : http;
    this.#url = url;
    // Each call has a connection of its own. What one leaves behind can then not be read as the start of another, and none
    // meets a connection that the other side is just closing. (With maxSockets, Node would use them again for calls that wait.)
    this.#agent = new Agent({ keepAlive: false, maxTotalSockets: limits.upstream_connections });
    this.#request = request;
    this.#deadline_ms = limits.request_ms + limits.answer_ms;
    this.#journal = journal;
  }

  /**
   * Sends `call` ({ path, headers } of checkCall) with the body of `request`, and what comes back as `response`. Resolves to the status
   * of the SuperLink's answer as soon as that begins, or to undefined where none came.
   */
  pass(call, request, response) {
    return new Promise((resolve) => {
      const sent = this.#request(this.#url, { method: "POST", path: call.path, headers: call.headers, agent: this.#agent });
      let decided = false;
      const decide = (status) => {
        decided = true;
        resolve(status);
      };
      const fail = (refusal) => {
        decide(undefined);
        // What has yet to come of the body is read and dropped, so that the connection can go on.
        request.unpipe(sent).resume();
        sent.destroy();
        this.#journal.refused(refusal);
        refuse(response, refusal);
      };
      const deadline = setTimeout(() => fail(late()), this.#deadline_ms);
      response.once("close", () => {
        clearTimeout(deadline);
        decide(undefined);
        sent.destroy();
      });
      sent.once("response", (answer) => {
        this.#journal.answers(true);
        if (decided) return;
        if (!ANSWERED.includes(mediaType(answer.headers))) {
          fail(strange());
          return;
        }
        decide(answer.statusCode);
        response.writeHead(answer.statusCode, headersBack(answer.headers));
        pipeline(answer, response, () => {});
      });
      sent.on("error", (error) => {
        request.unpipe(sent).resume();
        // The client went away, or is answered already.
        if (decided) return;
        this.#journal.answers(false, error.code);
        fail(unreachable());
      });
      request.pipe(sent);
    });
  }

  close() {
    this.#agent.destroy();
  }
}

function late() {
  return unavailable("no answer in time", "The federation's server did not answer in time; try again.", 504);
}

function strange() {
  return unavailable("strange answer", "What answers is not Flower's Fleet API; the operator has to look at the SuperLink.", 502);
}

function unreachable() {
  return unavailable("no SuperLink", "The federation's server cannot be reached at the moment; try again in a while.", 503);
}

function unavailable(kind, message, status) {
  return new Refusal("unavailable", kind, message, { status, headers: { "Retry-After": RETRY_SECONDS } });
}

function headersBack({ "content-type": type, "content-length": length }) {
  return {
    "Content-Type": type,
    ...(length !== undefined && { "Content-Length": length }),
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
  };
}
