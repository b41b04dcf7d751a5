/** A file of the built page, as the plugin of the build lists it. */
export interface PageFile {
  /** Its address within the page's folder. That of an index.html is its folder's, as servers may have another name for it. */
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

/** Where `url` lies within the page's folder, as {@link PageFile.path} has it; undefined outside of it. */
export function pathWithin(scope: string, url: string): string | undefined {
  const { origin, pathname } = new URL(url);
  const address = origin + pathname;
  if (!address.startsWith(scope)) return undefined;
  return address.slice(scope.length).replace(/(^|\/)index\.html$/, "$1");
}

/** The checksum of a body, in the form of {@link PageFile.integrity}. */
export async function integrityOf(body: Blob): Promise<string> {
  const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", await body.arrayBuffer()));
  return `sha256-${btoa(String.fromCharCode(...hash))}`;
}
