import type { Message } from "tabtune";
import { mannerIn, USUAL, type How, type Manner } from "./manner.js";
import type { PairRow, RatingRow } from "./preference-rows.js";
import { systemTurn } from "../work/question.js";

/** How far an answer is: its turn has not come, it is being written, it ended by itself, at its longest, or because it was stopped. */
export type End = "waiting" | "going" | "whole" | "cut" | "stopped";

/** One answer. */
export interface Spoken {
  /** What the page calls who said it. */
  by: string;
  text: string;
  end: End;
  how: How;
  /** Tokens, and how many a second; null while it is not over. Of an answer that went on, of what was said since. */
  told: { tokens: number; a_second: number; went_on?: boolean } | null;
  /** What the person said of it, as it is kept among the ratings. */
  rating: RatingRow | null;
}

/** How an answer came to be the one that the chat goes on with. */
export interface Origin {
  /** The rows that this is kept as. */
  rows: PairRow[];
  /** The answer as it was before the person wrote it anew; null where one of several was picked. */
  text: string | null;
}

export interface UserTurn {
  id: string;
  role: "user";
  text: string;
}

export interface ModelTurn {
  id: string;
  role: "assistant";
  /** One answer, or several side by side. */
  spoken: Spoken[];
  /** The one that the chat goes on with; null while none of several was picked. */
  picked: number | null;
  /** Whether nobody is told whose the answers are until one is picked. */
  is_blind: boolean;
  /** The latest last. */
  origins: Origin[];
}

export type Turn = UserTurn | ModelTurn;

/** A chat as the browser keeps it. */
export interface Chat {
  version: 1;
  id: string;
  /** What the person calls it; null for its first question. */
  title: string | null;
  /** When something was said last, in milliseconds since 1970. */
  date: number;
  /** What it was kept as, by which a tab tells that another one has kept it since. */
  revision?: string;
  /** What is said to the model before the chat; left out until the chat begins or the person writes something. */
  system?: string | null;
  manner: Manner;
  /** Who answers beside whoever answers now, as the menus have it. */
  beside: string[];
  /** The model that answered last, in words. */
  model: string | null;
  /** Whether that model has a chat template, so that rows made of the chat are turns and not text. */
  is_chat: boolean;
  turns: Turn[];
}

/** Letters of a title that is a first question. */
const LONGEST_TITLE = 60;

export function newId(): string {
  return crypto.randomUUID().slice(0, 13);
}

/** A chat in which nothing was said, in the manner of the one before. */
export function newChat({ manner, beside }: Pick<Chat, "manner" | "beside"> = { manner: USUAL, beside: [] }): Chat {
  return { version: 1, id: newId(), title: null, date: Date.now(), manner, beside, model: null, is_chat: true, turns: [] };
}

export function titleOf({ title, turns }: Pick<Chat, "title" | "turns">): string {
  const asked = title ?? turns.find((turn) => turn.role === "user")?.text.replace(/\s+/g, " ").trim();
  if (!asked) return "New chat";
  const letters = [...asked];
  return letters.length > LONGEST_TITLE ? `${letters.slice(0, LONGEST_TITLE - 1).join("").trimEnd()}…` : asked;
}

/** The answer that counts: the one that was picked, or that of the same speaker, or the first. */
export function answerOf({ spoken, picked }: ModelTurn, by?: string): Spoken {
  return spoken[picked ?? Math.max(0, spoken.findIndex((one) => one.by === by))]!;
}

/** What was said before a turn, as whoever is called `by` has it: where none was picked, each goes on from its own answers. */
export function messagesBefore({ system, turns }: Pick<Chat, "system" | "turns">, id?: string, by?: string): Message[] {
  const end = turns.findIndex((turn) => turn.id === id);
  const said = (end < 0 ? turns : turns.slice(0, end)).map((turn) => ({
    role: turn.role,
    content: turn.role === "user" ? turn.text : answerOf(turn, by).text,
  }));
  return [...systemTurn(system || null), ...said];
}

/** Whether all words of a search are somewhere in a chat. */
export function isFound(chat: Chat, search: string): boolean {
  const all = [chat.title ?? "", ...chat.turns.flatMap((turn) => (turn.role === "user" ? [turn.text] : turn.spoken.map(({ text }) => text)))];
  const text = all.join("\n").toLocaleLowerCase();
  return search.toLocaleLowerCase().split(/\s+/).every((word) => text.includes(word));
}

/** A chat as the browser has kept it: an older page knew fewer ways to answer. */
export function opened(chat: Chat): Chat {
  return settled({ ...chat, manner: mannerIn(chat.manner) });
}

/** An answer that was under way when its page was left is as it was last seen. */
export function settled(chat: Chat): Chat {
  return { ...chat, turns: chat.turns.map((turn) => (turn.role === "user" ? turn : settledTurn(turn))).filter((turn) => turn.role === "user" || turn.spoken.length > 0) };
}

function settledTurn(turn: ModelTurn): ModelTurn {
  const spoken = turn.spoken.filter(({ text, end }) => text !== "" || end === "whole" || end === "cut");
  const ended = spoken.map((one) => (one.end === "going" || one.end === "waiting" ? { ...one, end: "stopped" as const } : one));
  // Of several that began, one may be left, which is then the answer.
  return { ...turn, spoken: ended, picked: ended.length === 1 ? 0 : turn.picked };
}

/** A chat out of an archive, or undefined where it is none that this page understands. */
export function chatIn(value: unknown): Chat | undefined {
  if (!isObject(value) || value["version"] !== 1 || typeof value["id"] !== "string" || !Array.isArray(value["turns"])) return undefined;
  const { id, title, date, system, manner, beside, model, is_chat, turns } = value;
  const read = turns.map(turnIn);
  if (read.some((turn) => turn === undefined)) return undefined;
  return settled({
    version: 1,
    id,
    title: typeof title === "string" ? title : null,
    date: typeof date === "number" && Number.isFinite(date) ? date : 0,
    ...((typeof system === "string" || system === null) && { system }),
    manner: mannerIn(isObject(manner) ? manner : {}),
    beside: Array.isArray(beside) ? beside.filter((choice) => typeof choice === "string") : [],
    model: typeof model === "string" ? model : null,
    is_chat: is_chat !== false,
    turns: read as Turn[],
  });
}

function turnIn(value: unknown): Turn | undefined {
  if (!isObject(value)) return undefined;
  const { role, text, spoken, picked, is_blind, origins } = value;
  const id = typeof value["id"] === "string" ? value["id"] : newId();
  if (role === "user") return typeof text === "string" ? { id, role, text } : undefined;
  if (role !== "assistant" || !Array.isArray(spoken) || spoken.length === 0) return undefined;
  const read = spoken.map(spokenIn);
  if (read.some((one) => one === undefined)) return undefined;
  const place = typeof picked === "number" && picked in spoken ? picked : null;
  return { id, role, spoken: read as Spoken[], picked: place, is_blind: is_blind === true, origins: Array.isArray(origins) ? (origins as Origin[]) : [] };
}

const ENDS: readonly unknown[] = ["waiting", "going", "whole", "cut", "stopped"];

function spokenIn(value: unknown): Spoken | undefined {
  if (!isObject(value) || typeof value["text"] !== "string") return undefined;
  const { by, text, end, how, told, rating } = value;
  return {
    by: typeof by === "string" ? by : "the model",
    text,
    end: ENDS.includes(end) ? (end as End) : "whole",
    how: isObject(how) ? (how as How) : {},
    told: isObject(told) ? (told as unknown as NonNullable<Spoken["told"]>) : null,
    rating: isObject(rating) ? (rating as unknown as RatingRow) : null,
  };
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
