// Keeps the page and the engine in the browser, so that both are there without a network. It knows the files of one build and
// answers for these alone: not for other servers, whose models the package keeps itself, and for nothing that is a person's.
import { answer } from "./answer.js";
import { pathWithin, type Build } from "./files.js";
import { TAKE_OVER } from "./messages.js";
import type { WorkerScope } from "./scope.js";
import { Versions } from "./versions.js";

/** Put here by the plugin of the build, so that another build is another service worker. */
declare const BUILD: Build;

const worker = globalThis as unknown as WorkerScope;
const { scope } = worker.registration;
const versions = new Versions(scope, BUILD, { caches, locks: navigator.locks, fetch: (...args) => fetch(...args) });

/** What the build names by its content, which older builds have under other names. */
const NAMED_BY_CONTENT = /^assets\//;

async function answerOwn(request: Request, path: string): Promise<Response> {
  const kept = await versions.own(path);
  return kept ? answer(request, kept) : fetch(request);
}

async function answerOlder(request: Request, path: string): Promise<Response> {
  const kept = await versions.older(path);
  return kept ? answer(request, kept) : fetch(request);
}

worker.addEventListener("install", (event) => event.waitUntil(versions.install()));

// The page that was open before there was any service worker is to be there without a network, too.
worker.addEventListener("activate", (event) => event.waitUntil(Promise.all([worker.clients.claim(), versions.tidy()])));

worker.addEventListener("fetch", (event) => {
  const { request } = event;
  const path = pathWithin(scope, request.url);
  if (path === undefined || (request.method !== "GET" && request.method !== "HEAD")) return;
  if (versions.has(path)) event.respondWith(answerOwn(request, path));
  else if (NAMED_BY_CONTENT.test(path)) event.respondWith(answerOlder(request, path));
  // The engine looks for files that a model may do without, and must hear that they are not there, not that there is no network.
  else if (versions.lacks(path)) event.respondWith(Promise.resolve(new Response("not found\n", { status: 404 })));
  // Pages that come are the time to look which have gone.
  if (request.mode === "navigate") event.waitUntil(versions.tidy());
});

worker.addEventListener("message", ({ data }) => {
  if (data === TAKE_OVER) void worker.skipWaiting();
});
