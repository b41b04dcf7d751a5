/** A chat as the place Chat keeps it; what else is in it is that place's own. */
export interface KeptChat {
  version: 1;
  id: string;
  /** What the person calls it; null where they gave it no name. */
  title: string | null;
  /** Milliseconds since 1970. */
  date: number;
  turns: readonly unknown[];
  /** Another one each time that it is kept, whether anything is new in it or not. */
  revision?: string;
}

/** The chats of the page, as far as the library has to do with them. */
export interface Chats {
  all(): Promise<KeptChat[]>;
  put(chat: KeptChat): Promise<unknown>;
  delete(id: string): Promise<unknown>;
  /** What people know it by. */
  nameOf(chat: KeptChat): string;
  /** What was said, turn by turn. */
  messagesOf(chat: KeptChat): { role: string; content: string }[];
  /** A chat out of an archive, of which nothing is believed; undefined where it is none. */
  read(value: unknown): KeptChat | undefined;
}

/** What runs told of themselves as they learnt, by the ids of the runs. */
export interface Logs {
  /** What each takes. */
  sizes(): Promise<Map<string, number>>;
  /** One as JSON has it; undefined where there is none. */
  read(id: string): Promise<KeptLog | undefined>;
  write(id: string, log: KeptLog): Promise<unknown>;
  delete(id: string): Promise<unknown>;
}

/** A log as an archive has it: a number or nothing of each kind for each step. */
export interface KeptLog {
  version: 1;
  /** Steps of the whole run. */
  total: number;
  /** Of steps without a measurement one in so many is kept. */
  every: number;
  steps: number[];
  columns: Record<string, (number | null)[]>;
}

/** What a record takes, which browsers do not tell: as much as it would as text. */
export function bytesOf(record: unknown): number {
  return new TextEncoder().encode(JSON.stringify(record)).length;
}
