import type { Client } from "./client.js";
import { throwIfAborted } from "./errors.js";
import { folderOf, type FolderSource, type HubOptions } from "./files.js";
import { holdStore } from "./hub/persist.js";
import { checkDevice } from "./options.js";
import type { Calls } from "./protocol.js";
import { withShared } from "./shared.js";
import { aborted, deviceName, started } from "./start.js";
import type { DeviceName } from "./types.js";

/** Asks what runs take of a model that is not loaded, in the worker that is shared, or on a device of the page's own. */
export async function figure<C extends "estimate" | "compare">(
  call: C,
  model: FolderSource,
  options: HubOptions & { device?: DeviceName | object; signal?: AbortSignal },
  parts: Omit<Calls[C]["args"], "device" | "folder">,
): Promise<Calls[C]["result"]> {
  const { signal, device } = options;
  checkDevice(device);
  const folder = folderOf(model, options);
  holdStore(folder);
  const args = { device: deviceName(device), folder, ...parts } as Calls[C]["args"];
  const ask = (client: Client) => client.call(call, args, { signal });
  if (typeof device === "object") return started(signal, device, (client) => ask(client).finally(() => client.terminate()));
  throwIfAborted(signal);
  // The worker stops where it can, and nobody waits for that.
  return Promise.race([withShared(ask), aborted(signal).then(() => throwIfAborted(signal) as never)]);
}
