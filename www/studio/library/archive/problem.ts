import { MissingInput } from "../../ui/missing.js";

/** Why an archive is refused, from a fixed list. */
export type ArchiveCode = "not-an-archive" | "damaged" | "unlisted" | "too-large" | "later-version" | "cut-off";

/** An archive that is not taken. The message is for people; what it quotes of the archive is short, and text alone. */
export class ArchiveProblem extends MissingInput {
  readonly code: ArchiveCode;

  constructor(code: ArchiveCode, message: string) {
    super(message);
    this.code = code;
  }
}

/** A text of a stranger in a message: quoted, short, and without what would turn or hide other text. */
export function shown(text: string): string {
  const safe = plain(text);
  return `“${safe.length > 60 ? `${safe.slice(0, 60)}…` : safe}”`;
}

/** A text without what would turn or hide other text. */
export function plain(text: string): string {
  return text.replace(/[\p{C}\p{Zl}\p{Zp}]/gu, "·");
}
