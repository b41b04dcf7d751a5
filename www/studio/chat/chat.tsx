import { signal } from "@preact/signals";
import { render } from "preact";
import { askedModelWords } from "./asked-model.js";
import { ChatList } from "./chat-list.js";
import { Chats } from "./chats.js";
import { Composer, TwoAnswers, Waiting } from "./composer.js";
import { examplesFor } from "./examples.js";
import { How } from "./how.js";
import { isHere } from "../work/is-here.js";
import type { LearntVoices } from "./learnt-voices.js";
import { Log } from "./log.js";
import type { Difference } from "./manner.js";
import type { Picked } from "./picked.js";
import { chatIn, messagesBefore, titleOf, type Chat as Record } from "./record.js";
import { RoomContext, useRoom, type Around, type Room } from "./room.js";
import { chats as store } from "./store.js";
import { Talk } from "./talk.js";
import { Who } from "./who.js";
import type { Voices } from "./voices.js";
import type { Learnt } from "../library/learnt.js";
import type { Chats as KeptChats } from "../library/others.js";
import { onPlace, placeNow, placeRest, writeRest } from "../shell/places.js";
import { modelWords, type ModelName } from "../train/model-name.js";
import { element } from "../ui/dom.js";
import type { Job, Voice } from "../work/job.js";
import { showError } from "../shell/errors.js";

/** The parts of the page that the chat has to do with. */
export interface ChatPage {
  job(): Job;
  voices: Voices;
  /** The voice that a choice of these stands for. */
  voiceOf(choice: string): Voice;
  learnt: LearntVoices;
  /** Lets answer what was learnt before. */
  openLearnt(choice: string): void;
  /** What stands before a new chat. */
  system(): string | null;
  /** Loads the model where none is there, and does the work with it; `begun` is told first. Resolves to whether it was done. */
  answering(begun: () => void, work: (signal: AbortSignal) => Promise<void>): Promise<boolean>;
  /** Does work that needs no model. Resolves to whether it was done. */
  working(work: () => Promise<void>): Promise<boolean>;
  /** The model that answers, or would once it is loaded. */
  model(): ModelName | undefined;
  /** The rows that were learnt, where they are known. */
  learntRows(): Promise<Learnt["rows"]>;
  /** Asks what goes on to end. */
  stop(): void;
}

/** The place where a person talks to the model: the chats that are kept, the one at hand, and who answers. */
export class Chat {
  readonly #page: ChatPage;
  readonly #talk: Talk;
  readonly #chats: Chats;
  readonly #around = signal<Around>({ model: "", is_loaded: false, examples: [], system: null, has_learnt: false });
  readonly #is_busy = signal(false);
  readonly #is_answering = signal(false);
  readonly #status = signal("");
  readonly #two = signal<Difference | undefined>(undefined);
  /** Counts what was asked, so that a late answer does not replace a newer one. */
  #asked = 0;

  constructor(page: ChatPage, picked: Picked) {
    this.#page = page;
    this.#talk = new Talk(
      {
        answering: (begun, work) => this.#answering(begun, work),
        working: page.working,
        answer: (turns, how, as, stop) => (as === undefined ? page.job().answer(turns, how, stop) : page.job().answerAs(this.#voiceOf(as), turns, how, stop)),
        nameOf: (as) => page.voices.nameOf(as),
        others: () => page.voices.others.value.map(({ value }) => value),
        model: () => ({ words: modelWords(page.job().base!.name), is_chat: page.job().has_chat_template }),
        system: page.system,
      },
      picked,
    );
    this.#chats = new Chats(store, this.#talk);
    this.#follow();
    render(
      <RoomContext.Provider value={this.#room()}>
        <ChatRoom />
      </RoomContext.Provider>,
      element("chat-room"),
    );
    element("undo-pick").addEventListener("click", () => void this.#undo());
  }

  /** Shows the chats that are kept, and the one that the address names. */
  async begin(): Promise<void> {
    this.#chats.follow();
    const arrive = () => Promise.all([this.#arrive(), this.#chats.refresh()]);
    onPlace((place) => place === "chat" && void arrive().catch(showError));
    if (placeNow() === "chat") await arrive();
    else await this.#chats.refresh();
  }

  /** The chats as the library has to do with them. */
  get kept(): KeptChats {
    return {
      all: () => store.all(),
      put: (chat: Record) => this.#chats.put(chat),
      delete: (id) => this.#chats.delete(id),
      nameOf: (chat: Record) => titleOf(chat),
      messagesOf: (chat: Record) => messagesBefore(chat),
      read: chatIn,
    };
  }

  /** Whether the page does something. */
  set busy(is_busy: boolean) {
    this.#is_busy.value = is_busy;
  }

  /** Tells of what the page has at hand now. */
  async offer(): Promise<void> {
    const turn = ++this.#asked;
    const { learnt, job, voices, system } = this.#page;
    const model = this.#page.model();
    const base = job().base;
    const is_loaded = base !== undefined && model !== undefined && modelWords(base.name) === modelWords(model);
    const rows = await this.#page.learntRows();
    const [choices, examples, is_here] = await Promise.all([learnt.choices(), examplesFor(rows, model), model ? isHere(model) : true]);
    if (turn !== this.#asked) return;
    voices.offerLearnt(choices, model);
    const words = askedModelWords(model, is_loaded, is_here);
    this.#around.value = { model: words, is_loaded, examples, system: system(), has_learnt: job().adapter !== undefined };
    if (!this.#around.value.has_learnt && this.#two.value === "learnt") this.#two.value = "temperature";
  }

  #room(): Room {
    return {
      talk: this.#talk,
      chats: this.#chats,
      voices: this.#page.voices,
      around: this.#around,
      is_busy: this.#is_busy,
      is_answering: this.#is_answering,
      status: this.#status,
      two: this.#two,
      send: () => void this.#talk.send({ two: this.#two.value, has_learnt: this.#around.value.has_learnt }),
      choose: (choice) => (this.#page.learnt.is(choice) ? this.#page.openLearnt(choice) : this.#page.voices.choose(choice)),
      stop: () => this.#page.stop(),
      focus,
      begin: () => this.#begin(),
      rename: (chat) => this.#rename(chat),
      delete: (chat) => {
        if (confirm(`Delete the chat “${titleOf(chat)}”? What you picked in it stays.`)) void this.#delete(chat).catch(showError);
      },
    };
  }

  #voiceOf(choice: string): Voice {
    return this.#page.learnt.is(choice) ? this.#page.learnt.voiceOf(choice) : this.#page.voiceOf(choice);
  }

  async #answering(begun: () => void, work: (signal: AbortSignal) => Promise<void>): Promise<boolean> {
    const begin = () => {
      this.#is_answering.value = true;
      begun();
      this.#writeAddress("replace");
      // A question is kept before it is answered: loading a model may take long.
      void this.#chats.save();
    };
    const done = await this.#page.answering(begin, work);
    this.#is_answering.value = false;
    // The talk first settles what was stopped, or takes it back.
    setTimeout(() => {
      this.#writeAddress("replace");
      void this.#chats.save();
    });
    return done;
  }

  /** Opens the chat that the address names, or names the one that is open. */
  async #arrive(): Promise<void> {
    const id = placeRest();
    if (!id || this.#is_answering.value) return this.#writeAddress("replace");
    const is_there = await this.#chats.open(id);
    if (!is_there) this.#writeAddress("replace");
  }

  #writeAddress(how: "push" | "replace"): void {
    const { id, turns } = this.#talk.chat.value;
    writeRest("chat", turns.length > 0 ? id : "", how);
  }

  #begin(): void {
    this.#chats.begin();
    this.#writeAddress("push");
    focus();
  }

  #rename(chat: Record): void {
    const title = prompt("What is this chat to be called?", titleOf(chat))?.trim();
    if (title && title !== titleOf(chat)) void this.#chats.put({ ...chat, title }).catch(showError);
  }

  /** The button that had the keyboard goes with its chat: one that is left gets it, or what the place is called. */
  async #delete({ id }: Record): Promise<void> {
    await this.#chats.delete(id);
    this.#writeAddress("replace");
    const left = [...document.querySelectorAll<HTMLAnchorElement>(".chats li a")].find(({ hash }) => hash !== `#chat/${id}`);
    (left ?? element("chat-title")).focus({ preventScroll: true });
  }

  async #undo(): Promise<void> {
    await this.#talk.undo();
    if (element("undo-pick").hidden) focus();
  }

  /** What the page says of work is said here too, while an answer waits for it. */
  #follow(): void {
    const status = element("status");
    const copy = () => (this.#status.value = status.textContent ?? "");
    new MutationObserver(copy).observe(status, { childList: true, characterData: true, subtree: true });
  }
}

function focus(): void {
  element("message").focus({ preventScroll: true });
}

function ChatRoom() {
  const { talk, chats, is_answering, begin } = useRoom();
  const chat = talk.chat.value;
  const is_empty = chat.turns.length === 0;
  return (
    <>
      <ChatList />
      <section id="chat-card" class="card chat" aria-label="Chat at hand">
        <div class="row centred chat-head">
          <h3>{titleOf(chat)}</h3>
          <button type="button" id="new-chat" class="small" disabled={is_answering.value} hidden={is_empty} onClick={begin}>
            New chat
          </button>
        </div>
        <Who />
        {is_empty ? <Beginning /> : <BegunWith chat={chat} />}
        <Log />
        {chats.problem.value && (
          <p class="loud" role="alert">
            {chats.problem.value}
          </p>
        )}
        <Composer />
        <Waiting />
        <div class="chat-tools">
          <TwoAnswers />
          <How />
        </div>
      </section>
    </>
  );
}

/** What stands in a chat in which nothing was said. */
function Beginning() {
  const { talk, around, focus: write } = useRoom();
  return (
    <div class="beginning">
      <p>{around.value.model}</p>
      <div class="buttons" role="group" aria-label="Examples">
        {around.value.examples.map((text) => (
          <button
            key={text}
            type="button"
            class="small"
            onClick={() => {
              talk.draft.value = text;
              write();
            }}
          >
            {text}
          </button>
        ))}
      </div>
    </div>
  );
}

/** Says of a chat that was opened again who goes on with it, where that is still to be loaded or is another one. */
function BegunWith({ chat }: { chat: Record }) {
  const { around, is_answering } = useRoom();
  const { model } = chat;
  const { model: words, is_loaded } = around.value;
  const is_other = model !== null && !words.toLowerCase().startsWith(model.toLowerCase());
  if (is_answering.value) return null;
  return (
    <>
      {(!is_loaded || is_other) && <p class="hint">{is_other ? `So far ${model} answered here. ${words}` : words}</p>}
      <GoOnWith chat={chat} />
    </>
  );
}

/** Lets the one go on that answered last, where that is something learnt before which is not open now. */
function GoOnWith({ chat: { turns } }: { chat: Record }) {
  const { voices, is_busy, choose, focus: write } = useRoom();
  const last = turns.flatMap((turn) => (turn.role === "assistant" && !turn.is_blind ? [turn] : [])).at(-1);
  const by = last?.spoken[last.picked ?? 0]?.by;
  const learnt = by === voices.nameOf() ? undefined : voices.learnt.value.find(({ words }) => words === by);
  if (!learnt) return null;
  return (
    <div>
      <button
        type="button"
        class="small"
        disabled={is_busy.value}
        onClick={() => {
          // The button is gone once that one is there.
          write();
          choose(learnt.value);
        }}
      >
        Go on with “{by}”, which answered here
      </button>
    </div>
  );
}
