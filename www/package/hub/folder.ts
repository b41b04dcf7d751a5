/** How a model is taken from a hub. */
export interface HubOptions {
  /** The hub's address. Default "https://huggingface.co". */
  hub?: string;
  /** An access token of the hub, for private and gated models. */
  token?: string;
  /** A branch, tag or commit. Default "main". */
  revision?: string;
  /** Whether downloads are kept in the browser's cache. Default true. */
  cache?: boolean;
}

/** A model on a hub, as it travels to the worker. */
export interface HubFolder {
  kind: "hub";
  /** "owner/name". */
  id: string;
  /** The hub's address, without a slash at its end. */
  hub: string;
  revision: string;
  token: string | undefined;
  cache: boolean;
}

/** A folder on any server, as it travels to the worker. */
export interface UrlFolder {
  kind: "url";
  /** The address, with a slash at its end. */
  base: string;
  cache: boolean;
}

export type RemoteFolder = HubFolder | UrlFolder;

const DEFAULT_HUB = "https://huggingface.co";

/** One slash and nothing that only addresses have; "./a" and "/a" are paths. */
const HUB_ID = /^\w[\w.-]*\/\w[\w.-]*$/;

/** A hub id stands for a model on the hub, anything else for an address. */
export function remoteFolder(source: string | URL, options: HubOptions): RemoteFolder {
  const { hub = DEFAULT_HUB, token, revision = "main", cache = true } = options;
  if (typeof source === "string" && HUB_ID.test(source)) {
    const address = new URL(hub, globalThis.location?.href).href.replace(/\/+$/, "");
    return { kind: "hub", id: source, hub: address, revision, token, cache };
  }
  const base = new URL(source, globalThis.location?.href);
  if (!base.pathname.endsWith("/")) base.pathname += "/";
  return { kind: "url", base: base.href, cache };
}

/** The folder's address: a model's page on its hub, or an address that ends with a slash. */
export function addressOf(folder: RemoteFolder): string {
  return folder.kind === "hub" ? `${folder.hub}/${folder.id}` : folder.base;
}

/** What people call the folder at an {@link addressOf}: the hub id, or the address itself. */
export function nameAt(address: string): string {
  return address.endsWith("/") ? address : address.split("/").slice(-2).join("/");
}
