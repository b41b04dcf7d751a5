import { bytesOf, type KeptChat } from "../../others.js";
import { damaged } from "../manifest.js";
import type { ToPack } from "../pack.js";
import { shown } from "../problem.js";
import { recordIn } from "../records.js";
import { sumOfChat } from "../sums.js";
import { text } from "./files.js";
import type { Kind } from "./kind.js";

const CHAT = "chat.json";

export async function chatToPack(name: string, chat: KeptChat): Promise<ToPack> {
  const files = async function* () {
    yield text(CHAT, chat);
  };
  return { kind: "chat", id: chat.id, name, date: chat.date, mark: await sumOfChat(chat), bytes: bytesOf(chat), files };
}

export const chat: Kind = {
  sameAs: ({ id, mark, name }, here) => (here.chats.some((other) => other.id === id && other.mark === mark) ? name : undefined),
  // Several chats may have one name.
  taken: ({ chats }) => ({ ids: chats.map(({ id }) => id) }),
  bring: async ({ item, id }, { archive, stores: { chats } }) => {
    const told = chats.read(recordIn(await archive.needed(item, CHAT)));
    if (!told) throw damaged(`the chat ${shown(item.name)} is none`);
    await chats.put(id === told.id ? told : { ...told, id, title: `${chats.nameOf(told)} (2)` });
  },
};
