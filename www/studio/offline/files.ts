/** A file of the built page, as the plugin of the build lists it. */
export interface PageFile {
  /** Its address within the page's folder; that of the page itself is empty, as servers may call index.html otherwise. */
  path: string;
  /** What its content must be, as `sha256-…` in base64. */
  integrity: string;
}

/** What the build says of itself to the service worker. */
export interface Build {
  /** Another one for each build that differs in any file. */
  version: string;
  /** Small ones first, so that what cannot be kept shows early. */
  files: PageFile[];
}

/** Where `url` lies within the page's folder: undefined outside of it. The page has two addresses. */
export function pathWithin(scope: string, url: string): string | undefined {
  const { origin, pathname } = new URL(url);
  const address = origin + pathname;
  if (!address.startsWith(scope)) return undefined;
  const path = address.slice(scope.length);
  return path === "index.html" ? "" : path;
}

/** The checksum of a body, in the form of {@link PageFile.integrity}. */
export async function integrityOf(body: Blob): Promise<string> {
  const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", await body.arrayBuffer()));
  return `sha256-${btoa(String.fromCharCode(...hash))}`;
}
