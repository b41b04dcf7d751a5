import type { Signal } from "@preact/signals";
import { createContext } from "preact";
import { useContext } from "preact/hooks";
import type { Chats } from "./chats.js";
import type { Difference } from "./manner.js";
import type { Chat } from "./record.js";
import type { Talk } from "./talk.js";
import type { Voices } from "./voices.js";

/** What stands before a chat, and changes with what the page has at hand. */
export interface Around {
  /** Which model answers, and what it takes until it can. */
  model: string;
  is_loaded: boolean;
  /** What can be asked to begin with. */
  examples: string[];
  /** What is said to the model before a new chat. */
  system: string | null;
  /** Whether something was learnt, so that there is a before and an after. */
  has_learnt: boolean;
}

/** What the parts of the chat share. */
export interface Room {
  talk: Talk;
  chats: Chats;
  voices: Voices;
  around: Signal<Around>;
  /** Whether the page does something, be it for the chat or not. */
  is_busy: Signal<boolean>;
  /** Whether an answer is on its way. */
  is_answering: Signal<boolean>;
  /** What the page says of work that goes on, such as loading a model. */
  status: Signal<string>;
  /** By what two answers to one message differ; undefined for one answer. */
  two: Signal<Difference | undefined>;
  send(): void;
  /** Lets another one answer from now on. */
  choose(choice: string): void;
  stop(): void;
  /** Puts the keyboard where messages are written. */
  focus(): void;
  begin(): void;
  rename(chat: Chat): void;
  delete(chat: Chat): void;
}

export const RoomContext = createContext<Room>(undefined as unknown as Room);

export function useRoom(): Room {
  return useContext(RoomContext);
}
