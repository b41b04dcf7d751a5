import { Client } from "./client.js";
import { throwIfAborted } from "./errors.js";
import type { Folder } from "./files.js";
import { cachedModels } from "./hub/carry.js";
import { isOwnMachine } from "./hub/request.js";
import { connectionChange, meteredConnection } from "./policy.js";
import { VERSION } from "./protocol.js";
import { isOfLostDevice, RESTART_SECONDS } from "./run.js";
import { sleep } from "./sleep.js";
import type { AdapterInfo, DeviceName, ProgressCallback, RunPolicy } from "./types.js";

/** What the engine is asked for: on a device of the page's own there is nothing to choose. */
export function deviceName(device: DeviceName | object | undefined): DeviceName {
  return typeof device === "object" ? "webgpu" : (device ?? "auto");
}

/** Does `work` with a fresh engine on the device that is asked for, which is ended if that fails or the signal is aborted. */
export async function started<T>(
  signal: AbortSignal | undefined,
  device: DeviceName | object | undefined,
  work: (client: Client, adapter: AdapterInfo) => Promise<T>,
): Promise<T> {
  throwIfAborted(signal);
  const client = typeof device === "object" ? await Client.onDevice(device) : Client.inWorker();
  // Loading has no safe point to stop at, so the worker is ended as a whole.
  const stop = () => client.terminate();
  signal?.addEventListener("abort", stop);
  try {
    return await work(client, await client.call("start", { version: VERSION, device: deviceName(device) }));
  } catch (thrown) {
    client.terminate();
    throwIfAborted(signal);
    throw thrown;
  } finally {
    signal?.removeEventListener("abort", stop);
  }
}

/** Makes an attempt again, with growing waits, when it fails because the device was lost. */
export async function retrying<T>(signal: AbortSignal | undefined, attempt: (tries: number) => Promise<T>): Promise<T> {
  for (let tries = 0; ; tries++) {
    try {
      return await attempt(tries);
    } catch (thrown) {
      const seconds = RESTART_SECONDS[tries];
      // A GPU that is missing at the very first is not lost.
      const may_return = isOfLostDevice(thrown) && (tries > 0 || thrown.code === "device-lost");
      if (!may_return || seconds === undefined) throw thrown;
      await sleep(seconds, signal);
    }
  }
}

/** Waits for a connection that the policy allows a model to be downloaded on, unless it was before. */
export async function unmetered(
  folder: Folder,
  policy: RunPolicy,
  report: ProgressCallback,
  signal: AbortSignal | undefined,
): Promise<void> {
  if (policy.allow_metered || (folder.kind !== "hub" && folder.kind !== "url")) return;
  const name = folder.kind === "hub" ? folder.id : folder.base;
  if (folder.kind === "url" && isOwnMachine(new URL(folder.base))) return;
  const isThere = async () => (await cachedModels()).some((model) => model.name === name && model.complete);
  await whileMetered((detail) => report({ status: "waiting", name, file: "", detail }), signal, isThere);
}

/** Waits for a connection that the policy allows something to be sent on to an address. */
export async function affordable(
  address: string,
  policy: RunPolicy,
  on_wait: (why: string) => void,
  signal: AbortSignal | undefined,
): Promise<void> {
  if (policy.allow_metered || isOwnMachine(new URL(address))) return;
  await whileMetered(on_wait, signal);
}

/** Waits as long as the connection costs, unless there is nothing to wait for. */
async function whileMetered(on_wait: (why: string) => void, signal: AbortSignal | undefined, isMoot = async () => false): Promise<void> {
  for (let why = meteredConnection(); why !== undefined; why = meteredConnection()) {
    if (await isMoot()) return;
    on_wait(why);
    await Promise.race([connectionChange(), aborted(signal)]);
    throwIfAborted(signal);
  }
}

/** Settles when the signal is aborted. */
export function aborted(signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve) => {
    if (signal?.aborted) resolve();
    signal?.addEventListener("abort", () => resolve(), { once: true });
  });
}
