import { effect, signal } from "@preact/signals";
import { isFound, newChat, newId, opened, titleOf, type Chat } from "./record.js";
import { stored } from "../ui/stored.js";
import type { ChatStore } from "./store.js";
import type { Talk } from "./talk.js";

/** While an answer is written the chat is saved so often. */
const PAUSE_MILLIS = 500;

/** What is written in a chat and not sent, which is kept at once; of a chat in which nothing was said yet, under no name. */
const DRAFTS = "tabtune:draft:";

const ELSEWHERE = "This chat went on in another tab, and is shown as it is there.";

/** The chats that are kept, and which of them is at hand: opened, saved as they grow, renamed, deleted. */
export class Chats {
  /** The latest first. */
  readonly list = signal<Chat[]>([]);
  readonly search = signal("");
  /** What is to be said of the list: that a chat was deleted, or is not here. */
  readonly said = signal("");
  /** Why the chat at hand could not be saved. */
  readonly problem = signal("");
  readonly #store: ChatStore;
  readonly #talk: Talk;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #saving: Promise<void> = Promise.resolve();
  /** How many savings are to come to an end. */
  #to_save = 0;
  /** The chat as it was saved last, or as it came; undefined while what is saved is a part of it. */
  #saved: Chat | undefined;
  /** The chats that were at hand, as they are kept as far as this tab knows. */
  readonly #revisions = new Map<string, string | undefined>();
  /** Tells other tabs which chat was kept. */
  #channel: BroadcastChannel | undefined;
  /** The chat whose draft is kept, and under which name. */
  #drafting = { id: "", name: DRAFTS };

  constructor(store: ChatStore, talk: Talk) {
    this.#store = store;
    this.#talk = talk;
    this.#saved = talk.chat.peek();
    talk.draft.value = this.#draftOf("");
    effect(() => {
      void talk.live.value;
      if (talk.chat.value === this.#saved) return;
      // What a person says of an answer is saved at once: for a page that goes away it is too late.
      if (isWhole(talk.chat.value)) void this.save();
      else this.#timer ??= setTimeout(() => this.save(), PAUSE_MILLIS);
    });
    effect(() => this.#keepDraft(talk.chat.value, talk.draft.value));
    addEventListener("pagehide", () => this.save());
  }

  /** Those that the search finds. */
  get found(): Chat[] {
    const search = this.search.value.trim();
    return search ? this.list.value.filter((chat) => isFound(chat, search)) : this.list.value;
  }

  /** From now on hears what other tabs keep, and tells them. */
  follow(channel = new BroadcastChannel("tabtune-chats")): void {
    this.#channel = channel;
    channel.onmessage = ({ data: id }) => void this.#hear(id as string).catch(() => undefined);
  }

  /** Lists anew what there is: another tab may have talked too. */
  async refresh(): Promise<void> {
    await this.#saving;
    await this.#list();
  }

  /** Goes on with a kept chat. Resolves to whether it is there. */
  async open(id: string): Promise<boolean> {
    if (id === this.#talk.chat.value.id) return true;
    await this.save();
    const chat = await this.#store.get(id);
    this.said.value = chat ? "" : "This chat is not in this browser. It was deleted, or belongs to another one.";
    if (chat) this.#turnTo(chat, this.#draftOf(id));
    return chat !== undefined;
  }

  /** Begins a new chat, unless the one at hand is new. */
  begin(): void {
    void this.save();
    this.said.value = "";
    if (this.#talk.chat.value.turns.length > 0) this.#turnTo(newChat(this.#talk.chat.value), this.#draftOf(""));
  }

  /** Keeps a chat under another title, or one that came from elsewhere. Of the one at hand it is the title alone that changes. */
  async put(chat: Chat): Promise<void> {
    if (chat.id === this.#talk.chat.value.id) {
      this.#talk.set({ title: chat.title });
      await this.save();
    } else {
      await this.#store.put(chat);
      this.#channel?.postMessage(chat.id);
    }
    await this.refresh();
  }

  async delete(id: string): Promise<void> {
    const is_at_hand = id === this.#talk.chat.value.id;
    if (is_at_hand) this.#turnTo(newChat(this.#talk.chat.value), this.#draftOf(""));
    await this.#saving;
    const chat = await this.#store.get(id);
    await this.#store.delete(id);
    stored.forget(DRAFTS + id);
    await this.refresh();
    this.said.value = chat ? `“${titleOf(chat)}” was deleted.` : "";
  }

  /** Saves the chat at hand as it stands. Work goes on where that fails, which is told. */
  save(): Promise<void> {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const chat = this.#talk.snapshot;
    if (this.#talk.chat.peek() === this.#saved) return this.#saving;
    // An answer that is being written is not yet all of it.
    this.#saved = isWhole(chat) ? this.#talk.chat.peek() : undefined;
    this.#to_save++;
    this.#saving = this.#saving.then(async () => {
      try {
        // A first question that was taken back leaves no chat behind.
        if (chat.turns.length > 0) await this.#keep(chat);
        else {
          await this.#store.delete(chat.id);
          this.#show(chat);
        }
        this.problem.value = "";
        if (isWhole(chat)) this.#channel?.postMessage(chat.id);
      } catch (thrown) {
        this.problem.value = `This chat is not saved: ${thrown instanceof Error ? thrown.message : thrown}`;
      } finally {
        this.#to_save--;
      }
    });
    return this.#saving;
  }

  /** Keeps a chat of this tab. One that another tab went on with meanwhile is left alone. */
  async #keep(chat: Chat): Promise<void> {
    const kept = { ...chat, revision: newId() };
    const other = await this.#store.putAfter(this.#revisions.get(chat.id), kept);
    if (other) return this.#part(chat, other);
    this.#revisions.set(chat.id, kept.revision);
    this.#show(chat);
  }

  /** What was said in this tab alone becomes a chat of its own. Where there is no such thing, what the other tab kept is shown. */
  async #part(chat: Chat, other: Chat): Promise<void> {
    // What a later version of this page wrote is left alone.
    const has_own = other.version !== chat.version || chat.turns.some(({ id }) => !other.turns.some((turn) => turn.id === id));
    const at_hand = this.#talk.chat.peek();
    if (at_hand.id !== chat.id) return has_own ? this.#store.put({ ...chat, id: newId() }) : undefined;
    if (has_own) this.#talk.chat.value = { ...at_hand, id: newId() };
    else this.#turnTo(opened(other), this.#talk.draft.peek());
    this.said.value = has_own ? "This chat went on in another tab. What was said here is a chat of its own now." : ELSEWHERE;
    await this.#list();
  }

  /** Shows a chat that another tab has kept, unless something is new in it here, which is told apart once that is kept. */
  async #hear(id: string): Promise<void> {
    await this.refresh();
    const is_as_kept = () => this.#to_save === 0 && this.#talk.chat.peek() === this.#saved && this.#saved.id === id;
    const there = is_as_kept() ? await this.#store.get(id) : undefined;
    if (!there || !is_as_kept() || there.revision === this.#revisions.get(id)) return;
    this.#turnTo(there, this.#talk.draft.peek());
    this.said.value = ELSEWHERE;
  }

  #turnTo(chat: Chat, draft: string): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#revisions.set(chat.id, chat.revision);
    this.#saved = chat;
    this.#talk.open(chat, draft);
  }

  async #list(): Promise<void> {
    this.list.value = await this.#store.all();
  }

  #show(chat: Chat): void {
    const others = this.list.value.filter(({ id }) => id !== chat.id);
    this.list.value = [...(chat.turns.length > 0 ? [chat] : []), ...others].sort((a, b) => b.date - a.date);
  }

  #draftOf(id: string): string {
    return stored.get<string>(DRAFTS + id) ?? "";
  }

  #keepDraft({ id, turns }: Chat, draft: string): void {
    const name = DRAFTS + (turns.length > 0 ? id : "");
    // With its first message a chat gets a name of its own.
    if (this.#drafting.id === id && this.#drafting.name !== name) stored.forget(this.#drafting.name);
    this.#drafting = { id, name };
    if (draft) stored.set(name, draft);
    else if (stored.get(name) !== undefined) stored.forget(name);
  }
}

/** Whether no answer is being written or about to be. */
function isWhole(chat: Chat): boolean {
  return chat.turns.every((turn) => turn.role === "user" || turn.spoken.every(({ end }) => end !== "going" && end !== "waiting"));
}
