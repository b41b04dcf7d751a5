/** A chat as the place Chat keeps it; what else is in it is that place's own. */
export interface KeptChat {
  version: 1;
  id: string;
  title: string;
  /** Milliseconds since 1970. */
  date: number;
  turns: readonly unknown[];
}

/** What a run told of itself, as the place Train keeps it, by the id of the run. */
export interface KeptLog {
  version: 1;
  id: string;
}

/** A store of other places of the page, as far as the library has to do with it. */
export interface Records<Kept extends { id: string }> {
  all(): Promise<Kept[]>;
  get(id: string): Promise<Kept | undefined>;
  put(kept: Kept): Promise<unknown>;
  delete(id: string): Promise<unknown>;
}

/** A store in which nothing is, where the page has none of the kind. */
export const NOTHING_KEPT: Records<never> = {
  all: async () => [],
  get: async () => undefined,
  put: async () => undefined,
  delete: async () => undefined,
};

/** What a record takes, which browsers do not tell: as much as it would as text. */
export function bytesOf(record: unknown): number {
  return new TextEncoder().encode(JSON.stringify(record)).length;
}

/** The turns of a chat as messages. A turn that is none, or has other answers beside it, is told by what it says. */
export function messagesOf({ turns }: KeptChat): { role: string; content: string }[] {
  return turns.flatMap((turn) => {
    const { role, content, text } = (turn ?? {}) as Record<string, unknown>;
    const said = typeof content === "string" ? content : text;
    return typeof role === "string" && typeof said === "string" ? [{ role, content: said }] : [];
  });
}
