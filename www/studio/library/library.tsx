import { cachedModels, Dataset, forgetModel } from "tabtune";
import { signal } from "@preact/signals";
import { render } from "preact";
import { block, type Busy } from "../shell/busy.js";
import { showError } from "../shell/errors.js";
import { onPlace, reveal } from "../shell/places.js";
import { downloadAdapter, downloadRows, handOver } from "../ui/download.js";
import { element, say, show } from "../ui/dom.js";
import { remembered } from "../ui/remembered.js";
import { stored } from "../ui/stored.js";
import { deleteQuestion, type Act } from "./acts.js";
import { stemOf } from "./adapter-files.js";
import type { Adapters } from "./adapters.js";
import { sumOfChat } from "./archive/sums.js";
import type { Here } from "./archive/kinds/kind.js";
import type { Bringing } from "./bringing.js";
import { entriesIn } from "./entries.js";
import { isLearnt, itemsOf, keyOf, shownOf, type Item, type View } from "./items.js";
import { LibraryList, type ListWork } from "./list.js";
import type { Learnt } from "./learnt.js";
import type { Chats, Logs } from "./others.js";
import { renameRows, type Renaming } from "./renaming.js";
import { RoomDialog } from "./room-dialog.js";
import type { ShelfCard } from "./shelf.js";
import { roomNow, StorageView, type Room } from "./storage.js";
import type { Taking } from "./taking.js";

/** The parts of the page that the library has to do with. */
export interface LibraryPage {
  busy: Busy;
  adapters: Adapters;
  shelf: ShelfCard;
  chats: Chats;
  logs: Logs;
  /** Names of the rows that come with the page. */
  bundled: readonly string[];
  /** Chooses rows to train on, or shows them. */
  trainOn(dataset: string): Promise<void>;
  lookAt(dataset: string): Promise<void>;
  /** Chooses a model of the hub. */
  useModel(name: string): void;
  /** Fills in the settings of an earlier run. */
  useSettings(learnt: Learnt): Promise<void>;
  /** Rows were deleted, or others came. */
  rowsChanged(): Promise<void>;
  rowsRenamed(renaming: Renaming): Promise<void>;
}

/** All that is kept: found, used, renamed, deleted, exported and imported. */
export class Library {
  readonly #page: LibraryPage;
  readonly #items = signal<Item[] | undefined>(undefined);
  readonly #view = signal<View>({ kind: "all", search: "", order: "date" });
  readonly #room = signal<Room | undefined>(undefined);
  readonly #room_dialog: RoomDialog;
  /** Loaded when they are first asked for, as few visits export or import. */
  #taking: Taking | undefined;
  #bringing: Bringing | undefined;
  /** Counts what was asked, so that a late answer does not undo a newer one. */
  #asked = 0;
  /** What gets the keyboard as soon as it is listed. */
  #next: string | undefined;

  constructor(page: LibraryPage) {
    this.#page = page;
    const { busy } = page;
    this.#room_dialog = new RoomDialog(busy, (item) => this.#delete(item));
    const work: ListWork = {
      act: (act, item) => void this.#act(act, item),
      rename: (item, name) => this.#renameAndFind(item, name),
      drawn: () => busy.update(),
    };
    render(<LibraryList items={this.#items} view={this.#view} work={work} />, element("kept-things"));
    render(<StorageView items={this.#items} room={this.#room} />, element("storage"));
    element("free-room").addEventListener("click", () => this.#room_dialog.open(this.#items.value ?? []));
    element("shelf-show").addEventListener("click", () => this.#showAdapters());
    element("take-open").addEventListener("click", () => void this.#take().catch(showError));
    const picker = element<HTMLInputElement>("bring-file");
    element("bring-open").addEventListener("click", () => picker.click());
    picker.addEventListener("change", () => {
      const [file] = picker.files ?? [];
      picker.value = "";
      if (file) void this.#bring(file).catch(showError);
    });
    element("promise-ask").addEventListener("click", () => this.#work(() => this.#askPromise()));
    element("together-link").addEventListener("click", () => reveal("together", "start"));
    addEventListener("hashchange", () => this.#reveal());
  }

  /** Shows what the page's address names, and looks anew whenever the place is entered: another tab may have changed things. */
  begin(): void {
    this.#reveal();
    onPlace((place) => {
      if (place === "library" && !this.#page.busy.running) void this.#lookAnew().catch(showError);
    });
  }

  /** Looks anew at what there is. What was learnt and the shelf were looked up before. */
  async refresh(): Promise<void> {
    const turn = ++this.#asked;
    const { busy, adapters, shelf, chats, logs, bundled } = this.#page;
    const [datasets, models, kept, sizes, shelved, open] = await Promise.all([Dataset.list(), cachedModels(), chats.all(), logs.sizes(), shelf.marked(), adapters.open()]);
    const named = kept.map((chat) => ({ chat, name: chats.nameOf(chat) }));
    const items = itemsOf({ learnt: adapters.entries, shelf: shelved, datasets, models, chats: named, logs: sizes, open: open?.id, answers: shelf.answers, bundled });
    const room = await roomNow();
    if (turn !== this.#asked) return;
    this.#items.value = items;
    this.#room.value = room;
    const next = this.#next;
    if (items.some(({ key }) => key === next)) {
      this.#next = undefined;
      requestAnimationFrame(() => drawnItem(next!)?.focus({ preventScroll: true }));
    }
    // Whoever asks before it is known what there is would be told that there is nothing.
    for (const id of ["take-open", "free-room"]) block(id, false);
    busy.update();
    show("promise-ask", room.is_promised === false);
    show("together-link", !element("together").hidden);
  }

  /** The same of everything. */
  async #lookAnew(): Promise<void> {
    await Promise.all([this.#page.adapters.refresh(), this.#page.shelf.refresh()]);
    await this.refresh();
  }

  #showAdapters(): void {
    this.#view.value = { ...this.#view.value, kind: "adapter", search: "" };
    element("kept-title").focus({ preventScroll: true });
    reveal("kept-title", "start");
  }

  #work(work: () => Promise<void>): void {
    void this.#page.busy.run(work);
  }

  async #act(act: Act, item: Item): Promise<void> {
    const { adapters, shelf, chats, trainOn, lookAt, useModel } = this.#page;
    const { kind, name, subject } = item;
    if (act === "delete") return this.#askToDelete(item);
    if (kind === "dataset") {
      if (act === "train") return trainOn(name);
      if (act === "look") return lookAt(name);
      return this.#work(() => downloadRows(name));
    }
    if (kind === "model") return useModel(name);
    if (kind === "chat") {
      if (act === "open") location.hash = `chat/${encodeURIComponent(subject.id)}`;
      else handOver(`${stemOf(name, "chat")}.jsonl`, new Blob([`${JSON.stringify({ messages: chats.messagesOf(subject) })}\n`], { type: "application/jsonl" }));
      return;
    }
    const learnt = isLearnt(subject) ? subject.learnt : undefined;
    if (act === "open" && learnt) return adapters.openKept(learnt);
    if (act === "go on" && learnt) return adapters.goOn(learnt);
    if (act === "settings" && learnt) return this.#page.useSettings(learnt);
    if (act === "use" && !isLearnt(subject)) return shelf.use(subject);
    this.#work(async () => {
      const one = isLearnt(subject) ? subject.learnt : subject;
      if (act === "card") await shelf.card(one);
      else if (act === "give") await shelf.give(one);
      else if (learnt && act === "download") downloadAdapter(learnt.name, await adapters.store.files(learnt.id));
      else if (learnt && act === "shelve") await shelf.shelve(learnt);
    });
  }

  #askToDelete(item: Item): void {
    const needing = item.kind === "dataset" ? this.#page.adapters.needing(item.name) : [];
    if (!confirm(deleteQuestion(item, needing))) return;
    const place = shownOf(this.#items.value ?? [], this.#view.value).findIndex(({ key }) => key === item.key);
    void this.#page.busy.run(() => this.#delete(item)).then(async () => {
      await this.#lookAnew().catch(showError);
      // The button that had the keyboard goes with its item, which may still be listed until a later look is through.
      const left = shownOf(this.#items.value ?? [], this.#view.value).filter(({ key }) => key !== item.key);
      const next = left[Math.min(place, left.length - 1)];
      ((next && drawnItem(next.key)) ?? element("kept-title")).focus({ preventScroll: true });
    });
  }

  async #delete(item: Item): Promise<void> {
    const { adapters, shelf, chats, logs } = this.#page;
    switch (item.kind) {
      case "run":
      case "adapter":
        if (!isLearnt(item.subject)) return shelf.delete(item.subject);
        await adapters.delete(item.subject.learnt);
        await logs.delete(item.subject.learnt.id);
        return;
      case "dataset":
        await (await Dataset.open(item.name)).delete();
        remembered.forget(item.name);
        return this.#page.rowsChanged();
      case "model":
        return forgetModel(item.name);
      case "chat":
        await chats.delete(item.subject.id);
    }
  }

  async #renameAndFind(item: Item, name: string): Promise<void> {
    const is_done = await this.#page.busy.run(() => this.#rename(item, name));
    if (!is_done || item.kind !== "dataset") return;
    // Rows are known by their name, so that the entry which had the keyboard is gone, and another one will be there.
    this.#next = keyOf("dataset", name);
    await this.refresh().catch(showError);
  }

  async #rename(item: Item, name: string): Promise<void> {
    const { adapters, shelf, chats, bundled } = this.#page;
    if (item.kind === "dataset") {
      const renaming = { from: item.name, to: name };
      await renameRows(renaming, adapters.store, bundled);
      await this.#page.rowsRenamed(renaming);
    } else if (item.kind === "chat") await chats.put({ ...item.subject, title: name });
    else if (item.kind === "run" || item.kind === "adapter") {
      if (isLearnt(item.subject)) await adapters.store.rename(item.subject.learnt.id, name);
      else await shelf.rename(item.subject, name);
    }
  }

  async #take(): Promise<void> {
    const { busy, adapters, shelf, logs } = this.#page;
    const { Taking } = await import("./taking.js");
    this.#taking ??= new Taking(busy, async () => ({ learnt: adapters.store, shelf: await shelf.shelf, logs }));
    await this.#taking.open(this.#items.value ?? []);
  }

  async #bring(file: File): Promise<void> {
    const { busy, adapters, shelf, chats, logs } = this.#page;
    const { Bringing } = await import("./bringing.js");
    this.#bringing ??= new Bringing(busy, {
      here: () => this.#here(),
      stores: async () => ({ learnt: adapters.store, shelf: await shelf.shelf, chats, logs, settings: stored }),
    });
    await this.#bringing.look(file);
  }

  async #here(): Promise<Here> {
    const { adapters, shelf, chats } = this.#page;
    const { modelsHere } = await import("./archive/kinds/model.js");
    await this.#page.rowsChanged();
    await shelf.refresh();
    const [learnt, entries, shelved, datasets, models, kept] = await Promise.all([adapters.store.all(), entriesIn(adapters.store), shelf.marked(), Dataset.list(), modelsHere(), chats.all()]);
    const saved = new Map(entries.map(({ learnt: { id }, saved_step }) => [id, saved_step]));
    const marked = await Promise.all(kept.map(async (chat) => ({ id: chat.id, mark: await sumOfChat(chat) })));
    return { learnt, saved, shelf: shelved, datasets, models, chats: marked };
  }

  async #askPromise(): Promise<void> {
    const is_promised = await navigator.storage.persist();
    this.#room.value = await roomNow();
    show("promise-ask", !is_promised);
    say(is_promised ? "The browser keeps it until you delete it." : "The browser does not promise it now. It may once you use this page more often, or install it.");
  }

  /** Brings what the address names into sight, whatever was searched for before. */
  #reveal(): void {
    const key = keyIn(location.hash);
    if (key === undefined) return;
    if (!shownOf(this.#items.value ?? [], this.#view.value).some((item) => item.key === key)) this.#view.value = { ...this.#view.value, kind: "all", search: "" };
    requestAnimationFrame(() => {
      const found = drawnItem(key);
      found?.scrollIntoView({ block: "center", behavior: "instant" });
      found?.focus({ preventScroll: true });
    });
  }
}

/** Where the thing of that key is drawn. */
function drawnItem(key: string): HTMLElement | undefined {
  return [...document.querySelectorAll<HTMLElement>("#library-list > li")].find(({ dataset }) => dataset["key"] === key);
}

/** The key of the thing that an address names. */
function keyIn(hash: string): string | undefined {
  const [, key] = /^#library\/(.+)$/.exec(hash) ?? [];
  try {
    return key === undefined ? undefined : decodeURIComponent(key);
  } catch {
    return undefined;
  }
}
