import { createStore, del, get, set, values } from "idb-keyval";
import { opened, type Chat } from "./record.js";

/** The chats, kept in the browser. */
export class ChatStore {
  readonly #records = createStore("tabtune-chats", "records");

  /** All of them, the latest first; what a later version of this page wrote is left alone. */
  async all(): Promise<Chat[]> {
    const all = await values<Chat>(this.#records);
    return all.filter(isKnown).map(opened).sort((a, b) => b.date - a.date);
  }

  async get(id: string): Promise<Chat | undefined> {
    const chat = await get<Chat>(id, this.#records);
    return chat && isKnown(chat) ? opened(chat) : undefined;
  }

  put(chat: Chat): Promise<void> {
    return set(chat.id, chat, this.#records);
  }

  delete(id: string): Promise<void> {
    return del(id, this.#records);
  }
}

/** The chats of this browser. */
export const chats = new ChatStore();

function isKnown({ version }: Chat): boolean {
  return version === 1;
}
