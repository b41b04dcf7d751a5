import { sha1 } from "@noble/hashes/legacy.js";
import { sha256 } from "@noble/hashes/sha2.js";
import { bytesToHex, utf8ToBytes } from "@noble/hashes/utils.js";
import type { ListedFile } from "./list.js";

/** Whether a hub's list gives a sum that the content of a file can be checked by: sha256, or that of git, which is a sha1. */
export function isCheckable({ version, sha256 }: ListedFile): boolean {
  return sha256 !== undefined || /^[0-9a-f]{40}$/.test(version);
}

/** The sum of a listed file's content, counted piece by piece. */
export class FileSum {
  /** What it is called. */
  readonly kind: "sha256" | "git's sha1";
  /** What the list gives. */
  readonly expected: string;
  readonly #hash: ReturnType<typeof sha256.create> | ReturnType<typeof sha1.create>;

  constructor({ size, version, sha256: listed }: ListedFile) {
    this.kind = listed === undefined ? "git's sha1" : "sha256";
    this.expected = listed ?? version;
    // Git counts what kind of thing it is, and how long, before the content.
    this.#hash = listed === undefined ? sha1.create().update(utf8ToBytes(`blob ${size}\0`)) : sha256.create();
  }

  add(bytes: Uint8Array): void {
    this.#hash.update(bytes);
  }

  /** The sum of all that was added; nothing can be added any more. */
  end(): string {
    return bytesToHex(this.#hash.digest());
  }
}
