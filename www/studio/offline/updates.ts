import { computed, signal } from "@preact/signals";
import { TAKE_OVER } from "./messages.js";

/** How often a page that stays open asks for a new version at most, in milliseconds. */
const ASKED_EVERY = 3600_000;

/** How long a new version may take to replace the old one before the page goes on without waiting for it, in milliseconds. */
const TAKES_AT_MOST = 3000;

/**
 * Has this browser keep the page, and tells of new versions. A new version is fetched whole and then waits; it takes the place of the
 * one before it when the person asks for that, or once no page of the old one is open.
 */
export class Updates {
  /** Whether all that the page needs is in this browser. */
  readonly is_kept = signal(false);
  /** Whether a version waits that this page is not of. */
  readonly is_new = computed(() => this.#waiting.value !== undefined || this.#is_replaced.value);
  readonly #waiting = signal<ServiceWorker | undefined>(undefined);
  /** Whether another tab has let a new version take over; this one goes on with its own files. */
  readonly #is_replaced = signal(false);
  #registration: ServiceWorkerRegistration | undefined;
  #asked = 0;

  /** Begins once the page has all that it shows, which comes first. */
  begin(): void {
    if (!("serviceWorker" in navigator)) return;
    let had_one = navigator.serviceWorker.controller !== null;
    // The first one of all takes over the page that it was fetched for, and replaces nothing.
    navigator.serviceWorker.addEventListener("controllerchange", () => {
      this.#is_replaced.value = had_one;
      had_one = true;
    });
    document.addEventListener("visibilitychange", () => void this.#ask());
    addEventListener("online", () => void this.#ask());
    void whenIdle().then(() => this.#register());
  }

  /** Loads the page anew, as the newest version. */
  async use(): Promise<void> {
    const waiting = this.#waiting.value;
    if (waiting) {
      waiting.postMessage(TAKE_OVER);
      // It does not take over while the old one still answers a request, which ends with this page at the latest.
      await Promise.race([reached(waiting, "activated"), new Promise((resolve) => setTimeout(resolve, TAKES_AT_MOST))]);
    }
    location.reload();
  }

  async #register(): Promise<void> {
    try {
      // A connection that costs by the byte is not for what nobody asked for.
      if (isSparing() && !navigator.serviceWorker.controller) return;
      await navigator.serviceWorker.register("./service-worker.js");
    } catch {
      // Browsers refuse it in private windows and where storage is denied; the page works without, from the network.
    }
    const registration = await navigator.serviceWorker.getRegistration();
    if (!registration) return;
    this.#registration = registration;
    this.#asked = Date.now();
    if (registration.waiting) this.#tellWaiting(registration.waiting);
    registration.addEventListener("updatefound", () => void this.#follow(registration.installing));
    void this.#follow(registration.installing);
    if (registration.active) await this.#tellKept(registration.active);
  }

  /** Tells of a version once it has come as a whole. */
  async #follow(worker: ServiceWorker | null): Promise<void> {
    if (!worker) return;
    const is_first = !this.#registration?.active;
    if (!(await reached(worker, "installed"))) return;
    if (is_first) await this.#tellKept(worker);
    else this.#tellWaiting(worker);
  }

  #tellWaiting(worker: ServiceWorker): void {
    this.#waiting.value = worker;
    // It may be replaced by a newer one before anybody uses it.
    void reached(worker, "redundant").then(() => {
      if (this.#waiting.value === worker) this.#waiting.value = undefined;
    });
  }

  async #tellKept(worker: ServiceWorker): Promise<void> {
    this.is_kept.value = await reached(worker, "activated");
  }

  async #ask(): Promise<void> {
    if (document.hidden || !navigator.onLine || Date.now() - this.#asked < ASKED_EVERY) return;
    this.#asked = Date.now();
    // A server that does not answer has no new version.
    await this.#registration?.update().catch(() => undefined);
  }
}

const STATES: ServiceWorkerState[] = ["parsed", "installing", "installed", "activating", "activated", "redundant"];

/** Resolves once the worker has come that far: to false where it was given up before. */
async function reached(worker: ServiceWorker, state: ServiceWorkerState): Promise<boolean> {
  const wanted = STATES.indexOf(state);
  while (STATES.indexOf(worker.state) < wanted) {
    await new Promise((resolve) => worker.addEventListener("statechange", resolve, { once: true }));
  }
  return worker.state !== "redundant" || state === "redundant";
}

/** Whether the person asked the browser to save data. */
function isSparing(): boolean {
  return (navigator as { connection?: { saveData?: boolean } }).connection?.saveData === true;
}

async function whenIdle(): Promise<void> {
  if (document.readyState !== "complete") await new Promise((resolve) => addEventListener("load", resolve, { once: true }));
  // Safari has no such callback.
  await new Promise<void>((resolve) => ("requestIdleCallback" in globalThis ? requestIdleCallback(() => resolve()) : setTimeout(resolve, 1000)));
}
