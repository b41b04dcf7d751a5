import { failure } from "../errors.js";

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
  /** The hub id that was given with a slash at its end, which makes an address of it. */
  id?: string;
  cache: boolean;
}

export type RemoteFolder = HubFolder | UrlFolder;

export const DEFAULT_HUB = "https://huggingface.co";

/** One slash and nothing that only addresses have; "./a", "/a" and "a/b/" are paths. */
export const HUB_ID = /^\w[\w.-]*\/\w[\w.-]*$/;

/** A name that stays in its folder, whatever an address makes of it. Models name their own weights. */
export const FILE_NAME = /^(?!.*\.\.)[\w-][\w.-]*$/;

/** The public hub as people write it; with or without a scheme. */
const PUBLIC_HUB = /^(https?:\/\/)?(www\.)?(huggingface|hf)\.co\//i;

/** What stands first in the addresses of the hub's other pages, where a model's have its owner. */
const NO_OWNERS = ["datasets", "spaces", "collections", "papers", "docs", "blog"];

/** What stands behind a model's id in the address of one of its pages, if a revision follows. */
const BEFORE_REVISION = ["tree", "blob", "resolve", "raw", "commit"];

/** A hub id or the address of a model's page stands for a model on the hub, anything else for an address. */
export function remoteFolder(source: string | URL, options: HubOptions): RemoteFolder {
  const { token, cache = true } = options;
  const given = String(source).trim();
  const hub = new URL(options.hub ?? DEFAULT_HUB, globalThis.location?.href).href.replace(/\/+$/, "");
  const model = modelOnHub(given, hub);
  if (model) {
    const revision = options.revision ?? model.revision ?? "main";
    return { kind: "hub", id: model.id, hub, revision, token, cache };
  }
  const base = new URL(given, globalThis.location?.href);
  base.search = base.hash = "";
  if (!base.pathname.endsWith("/")) base.pathname += "/";
  const id = given.replace(/\/+$/, "");
  return { kind: "url", base: base.href, ...(HUB_ID.test(id) && { id }), cache };
}

/** The model that a hub id names, or the address of one of its pages, which may tell a revision. */
function modelOnHub(given: string, hub: string): { id: string; revision: string | undefined } | undefined {
  const address = given.replace(PUBLIC_HUB, `${hub}/`);
  const on_hub = address.startsWith(`${hub}/`);
  const path = on_hub ? address.slice(hub.length + 1).replace(/[?#].*/, "") : given;
  const [owner, name, kind = "", revision, ...rest] = path.replace(/\/+$/, "").split("/");
  const id = [owner, name].join("/");
  if (!HUB_ID.test(id) || (!on_hub && (kind !== "" || given.endsWith("/")))) return undefined;
  if (on_hub && NO_OWNERS.includes(owner!)) {
    throw failure("bad-option", `${given} is no model's page: write a model's id, "owner/name", or the address of its page`);
  }
  // A folder within a repository is read as from any other server.
  if (kind === "resolve" && rest.length > 0) return undefined;
  const folders = kind === "blob" || kind === "raw" ? rest.slice(0, -1) : rest;
  if (["tree", "blob", "raw"].includes(kind) && folders.length > 0) {
    const folder = [id, "resolve", revision, ...folders].join("/");
    throw failure("bad-option", `${given} lies in a folder of the repository: write ${hub}/${folder}/ to load that one`);
  }
  const named = BEFORE_REVISION.includes(kind) && revision !== undefined;
  return { id, revision: named ? revision.replace(/%2f/gi, "/") : undefined };
}

/** The folder's address: a model's page on its hub, or an address that ends with a slash. */
export function addressOf(folder: RemoteFolder): string {
  return folder.kind === "hub" ? `${folder.hub}/${folder.id}` : folder.base;
}

/** What people call the folder at an {@link addressOf}: the hub id, or the address itself. */
export function nameAt(address: string): string {
  return address.endsWith("/") ? address : address.split("/").slice(-2).join("/");
}

/** The model on a hub that lies at an {@link addressOf}. */
export function hubFolderAt(address: string, revision: string): HubFolder {
  const id = nameAt(address);
  return { kind: "hub", id, hub: address.slice(0, -id.length - 1), revision, token: undefined, cache: true };
}
