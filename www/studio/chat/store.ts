import { del, get, set, update, values } from "idb-keyval";
import { openStore } from "../ui/database.js";
import { newId, opened, type Chat } from "./record.js";

/** The chats, kept in the browser. */
export class ChatStore {
  readonly #records = openStore("tabtune-chats", "records");

  /** All of them, the latest first; what a later version of this page wrote is left alone. */
  async all(): Promise<Chat[]> {
    const all = await values<Chat>(this.#records);
    return all.filter(isKnown).map(opened).sort((a, b) => b.date - a.date);
  }

  async get(id: string): Promise<Chat | undefined> {
    const chat = await get<Chat>(id, this.#records);
    return chat && isKnown(chat) ? opened(chat) : undefined;
  }

  /** Keeps a chat, whatever is there. */
  put(chat: Chat): Promise<void> {
    return set(chat.id, { ...chat, revision: newId() }, this.#records);
  }

  /** Keeps a chat, unless what is there is not that `revision` of it. Resolves to what is there then. */
  async putAfter(revision: string | undefined, chat: Chat): Promise<Chat | undefined> {
    let other: Chat | undefined;
    const choose = (there: Chat | undefined) => {
      other = there && there.revision !== revision ? there : undefined;
      return other ?? chat;
    };
    await update<Chat>(chat.id, choose, this.#records);
    return other;
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
