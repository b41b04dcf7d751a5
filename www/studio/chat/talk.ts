import { batch, signal } from "@preact/signals";
import type { GenerateOptions, GenerateResult, Message } from "tabtune";
import { anotherOf, howOf, onwards, twoManners, type Difference, type How } from "./manner.js";
import type { PickedRows } from "./picked-rows.js";
import { isSameRow, pairRow, ratingRow, type PairRow } from "./preference-rows.js";
import { answerOf, messagesBefore, newChat, newId, settled, type Chat, type ModelTurn, type Origin, type Spoken, type Turn } from "./record.js";
import { codeOf } from "../shell/errors.js";
import { shuffled } from "../ui/shuffle.js";
import type { Answer } from "../work/streaming.js";

/** What a talk asks of the page. */
export interface TalkPage {
  /**
   * Loads the model where none is there, and does the work with it; `begun` is told first, unless something else is being done.
   * Resolves to whether it was done.
   */
  answering(begun: () => void, work: (signal: AbortSignal) => Promise<void>): Promise<boolean>;
  /** Does work that needs no model. Resolves to whether it was done. */
  working(work: () => Promise<void>): Promise<boolean>;
  /** Answers a chat: as whoever answers now, or as the one that is chosen in a menu. */
  answer(turns: Message[], how: GenerateOptions, as: string | undefined, signal: AbortSignal): Answer;
  /** What the one is called that is chosen in a menu, or that answers now. */
  nameOf(as: string | undefined): string;
  /** Those that can answer beside whoever answers now. */
  others(): string[];
  /** The model that is loaded, in words, and whether it has a chat template. */
  model(): { words: string; is_chat: boolean };
  /** What is said to the model before a new chat. */
  system(): string | null;
}

/** Where what is picked and rated is kept. */
export interface Kept {
  pairs: Pick<PickedRows, "add" | "takeOut">;
  ratings: Pick<PickedRows, "add" | "takeOut">;
  /** Counts anew. */
  refresh(): Promise<void>;
}

/** Who is to answer, and how. */
interface Wanted {
  by: string;
  as: string | undefined;
  how: How;
  /** What was said already, where the answer goes on from there. */
  from?: string;
}

/** What follows one's message. */
export interface Asking {
  /** Two answers are made to be picked from, which differ by that. */
  two?: Difference | undefined;
  has_learnt?: boolean;
}

const SAME = "Both answers are the same, so there is nothing to pick. Edit it, or ask for something that can be said in many ways, such as a story.";

/** The chat at hand: what is asked and answered, and the rows that are made of what the person thinks of it. */
export class Talk {
  readonly chat = signal<Chat>(newChat());
  /** What was written and not sent. */
  readonly draft = signal("");
  /** The answer that is being written, so far. */
  readonly live = signal("");
  /** What is to be said of the last answer. */
  readonly note = signal("");
  readonly #page: TalkPage;
  readonly #kept: Kept;

  constructor(page: TalkPage, kept: Kept) {
    this.#page = page;
    this.#kept = kept;
  }

  /** The chat as it stands in this moment, in the middle of an answer too. */
  get snapshot(): Chat {
    const chat = this.chat.peek();
    const live = this.live.peek();
    const withLive = (one: Spoken): Spoken => (one.end === "going" ? { ...one, text: longer(one.text, live) } : one);
    return { ...chat, turns: chat.turns.map((turn) => (turn.role === "user" ? turn : { ...turn, spoken: turn.spoken.map(withLive) })) };
  }

  /** Goes on with another chat. */
  open(chat: Chat, draft = ""): void {
    batch(() => {
      this.chat.value = chat;
      this.draft.value = draft;
      this.note.value = "";
    });
  }

  /** Changes how the chat is gone on with. */
  set(change: Partial<Pick<Chat, "manner" | "beside" | "system" | "title">>): void {
    this.chat.value = { ...this.chat.value, ...change };
  }

  /** Sends what was written. */
  async send(asking: Asking = {}): Promise<void> {
    const text = this.draft.value.trim();
    if (!text) return;
    const last = this.chat.value.turns.at(-1);
    // Going on without a pick is to pick neither of two that nobody can tell apart.
    const turns = last?.role === "assistant" && last.is_blind && last.picked === null ? this.chat.value.turns.slice(0, -2) : this.chat.value.turns;
    await this.#ask(turns, text, asking);
  }

  /** Says something else in place of an earlier message. What followed it is dropped. */
  async sayInstead(id: string, text: string): Promise<void> {
    const { turns } = this.chat.value;
    const draft = this.draft.value;
    await this.#ask(turns.slice(0, turns.findIndex((turn) => turn.id === id)), text.trim(), {});
    // What was being written is still to be sent.
    this.draft.value ||= draft;
  }

  /** Has the last message answered once more, in other words. */
  async again(): Promise<void> {
    const last = this.#lastAnswer();
    if (!last) return;
    const wanted = last.spoken.length > 1 ? this.#wanted() : [{ by: this.#page.nameOf(undefined), as: undefined, how: anotherOf(this.chat.value.manner) }];
    await this.#answering(() => [...this.chat.value.turns.slice(0, -1), turnOf(wanted)], wanted);
  }

  /**
   * Lets the last answer go on that was stopped or cut off, for as long again. Spaces at its end are the model's to write
   * once more, as its words begin with them.
   */
  async goOn(): Promise<void> {
    const last = this.#lastAnswer();
    const place = last?.spoken.findIndex(({ end }) => end === "stopped" || end === "cut") ?? -1;
    const one = last?.spoken[place];
    if (!last || !one || last.spoken.length > 1) return;
    const how = { max_new_tokens: this.chat.value.manner.longest, ...onwards(one.how) };
    const wanted = [{ by: one.by, as: undefined, how, from: one.text.trimEnd() }];
    await this.#answering(() => this.#with(last, { spoken: [{ ...one, end: "going", how }] }), wanted);
  }

  /** Goes on with one of several answers. The others are worse, as far as they are others. */
  async pick(id: string, place: number): Promise<void> {
    const turn = this.#turn(id);
    const chosen = turn?.spoken[place];
    if (!turn || !chosen) return;
    const others = new Set(turn.spoken.map(({ text }) => text).filter((text) => text !== chosen.text));
    const before = messagesBefore(this.chat.value, id, chosen.by);
    const rows = [...others].map((text) => pairRow(before, chosen.text, text, this.chat.value.is_chat));
    await this.#keep(turn, rows, { picked: place, origins: [...turn.origins, { rows, text: null }] });
  }

  /** Keeps nothing of two answers, so that the question can be asked again or in other words. */
  pickNeither(): void {
    const { turns } = this.chat.value;
    const question = turns.at(-2);
    this.#set(turns.slice(0, -2));
    if (question?.role === "user") this.draft.value ||= question.text;
  }

  /** The person wrote the answer anew, which is better than it was. */
  async correct(id: string, text: string): Promise<void> {
    const turn = this.#turn(id);
    if (!turn) return;
    const { text: was } = answerOf(turn);
    const row = pairRow(messagesBefore(this.chat.value, id), text, was, this.chat.value.is_chat);
    await this.#keep(turn, [row], { spoken: rewritten(turn, text), origins: [...turn.origins, { rows: [row], text: was }] });
  }

  /** Calls an answer good or bad; what is said once more is taken back. */
  async rate(id: string, place: number, is_good: boolean): Promise<void> {
    const turn = this.#turn(id);
    const one = turn?.spoken[place];
    if (!turn || !one) return;
    const row = ratingRow(messagesBefore(this.chat.value, id, one.by), one.text, is_good, this.chat.value.is_chat);
    await this.#page.working(async () => {
      if (one.rating) await this.#kept.ratings.takeOut(one.rating);
      const rating = one.rating?.label === is_good ? null : row;
      if (rating) await this.#kept.ratings.add(rating);
      this.#say(id, place, { rating });
      await this.#kept.refresh();
    });
  }

  /** Takes the last pick or edit back. Where the chat went on from it just now, it can be picked from once more. */
  async undo(): Promise<void> {
    await this.#page.working(async () => {
      const taken = (await this.#kept.pairs.takeOut()) as PairRow | undefined;
      const last = this.#lastAnswer();
      const origin = last?.origins.at(-1);
      if (taken && last && origin?.rows.some((row) => isSameRow(row, taken))) {
        // A pick among three is two rows.
        for (const row of origin.rows) if (!isSameRow(row, taken)) await this.#kept.pairs.takeOut(row);
        this.#reopen(last, origin);
      }
      await this.#kept.refresh();
    });
  }

  async #ask(turns: Turn[], text: string, { two, has_learnt = false }: Asking): Promise<void> {
    const { manner } = this.chat.value;
    const wanted = two ? this.#two(two, has_learnt, manner.longest) : this.#wanted();
    const question: Turn = { id: newId(), role: "user", text };
    const asked = (): Turn[] => {
      this.draft.value = "";
      return [...turns, question, turnOf(wanted, two !== undefined)];
    };
    const is_said = await this.#answering(asked, wanted);
    // What was not answered can be asked again.
    if (!is_said) this.draft.value ||= text;
  }

  /** Whoever answers now, and those beside, each once. */
  #wanted(): Wanted[] {
    const { manner, beside } = this.chat.value;
    const how = howOf(manner);
    const there = this.#page.others();
    return [undefined, ...beside.filter((as) => there.includes(as))].map((as) => ({ by: this.#page.nameOf(as), as, how }));
  }

  /** The order in which they are asked and shown is one of chance, so that it tells nothing. */
  #two(by: Difference, has_learnt: boolean, longest: number): Wanted[] {
    const name = this.#page.nameOf(undefined);
    const words = ({ adapter, temperature }: How) =>
      adapter === undefined ? `${name}, ${temperature === 1 ? "free" : "cautious"}` : adapter ? name : this.#page.nameOf("base");
    return shuffled(twoManners(by, has_learnt, longest)).map((how) => ({ by: words(how), as: undefined, how }));
  }

  /** Answers the last message of what `begin` makes of the turns. Resolves to whether anything was said; otherwise the chat is as it was. */
  async #answering(begin: () => Turn[], wanted: Wanted[]): Promise<boolean> {
    const as_it_was = this.chat.value;
    let has_begun = false;
    const start = () => {
      has_begun = true;
      batch(() => {
        this.note.value = "";
        this.live.value = "";
        const { system = this.#page.system() } = as_it_was;
        this.chat.value = { ...as_it_was, system, date: Date.now(), turns: begin() };
      });
    };
    const done = await this.#page.answering(start, (signal) => this.#answerAll(wanted, signal));
    if (!has_begun) return true;
    const turn = this.#lastAnswer();
    const has_said = ({ text, end }: Spoken, place: number) => text.trimEnd() !== (wanted[place]?.from ?? "") || end === "whole";
    const is_of_use = turn?.spoken.some(has_said) && (done || !turn.is_blind);
    if (!is_of_use) this.chat.value = as_it_was;
    else if (!done) this.chat.value = settled(this.chat.value);
    else this.#merge(turn!);
    return is_of_use === true;
  }

  async #answerAll(wanted: Wanted[], signal: AbortSignal): Promise<void> {
    const { id } = this.#lastAnswer()!;
    const { words, is_chat } = this.#page.model();
    this.chat.value = { ...this.chat.value, model: words, is_chat };
    for (const [place, one] of wanted.entries()) await this.#answerOne(id, place, one, signal);
  }

  async #answerOne(id: string, place: number, { by, as, how, from }: Wanted, signal: AbortSignal): Promise<void> {
    this.live.value = from ?? "";
    this.#say(id, place, { end: "going" });
    const before = messagesBefore(this.chat.value, id, by);
    const went_on = from !== undefined;
    const [turns, options] = went_on ? [[...before, { role: "assistant", content: from }], { ...how, continue_final_message: true }] : [before, how];
    const said = this.#turn(id)!.spoken[place]!;
    try {
      const { text, stop, tokens, tokens_per_second } = await this.#stream(this.#page.answer(turns, options, as, signal));
      const told = { tokens, a_second: tokens_per_second, ...(went_on && { went_on }) };
      this.#say(id, place, { text: (from ?? "") + text, end: stop === "length" ? "cut" : "whole", told });
    } catch (thrown) {
      if (went_on && codeOf(thrown) === "bad-data") {
        // The model's template leaves out or changes what was said, as thoughts: all of it is said once more, with more room.
        const max_new_tokens = (how.max_new_tokens ?? 0) + (said.told?.tokens ?? 0);
        return this.#answerOne(id, place, { by, as, how: { ...how, max_new_tokens } }, signal);
      }
      this.#say(id, place, { text: longer(said.text, this.live.value), end: "stopped" });
      throw thrown;
    }
  }

  async #stream(answer: Answer): Promise<GenerateResult> {
    let piece;
    while (!(piece = await answer.next()).done) this.live.value += piece.value;
    return piece.value;
  }

  /** Two that nobody can tell apart and that say the same are one. */
  #merge(turn: ModelTurn): void {
    const [one, other] = turn.spoken;
    if (!turn.is_blind || one!.text !== other!.text) return;
    this.#set(this.#with(turn, { spoken: [{ ...one!, by: this.#page.nameOf(undefined) }], picked: 0, is_blind: false }));
    this.note.value = SAME;
  }

  /** Keeps pairs, and then shows what comes of it. */
  async #keep(turn: ModelTurn, rows: PairRow[], change: Partial<ModelTurn>): Promise<void> {
    await this.#page.working(async () => {
      for (const row of rows) await this.#kept.pairs.add(row);
      this.#set(this.#with(turn, change));
      await this.#kept.refresh();
    });
  }

  #reopen(turn: ModelTurn, { text }: Origin): void {
    const origins = turn.origins.slice(0, -1);
    this.#set(this.#with(turn, text === null ? { picked: null, origins } : { spoken: rewritten(turn, text), origins }));
  }

  #lastAnswer(): ModelTurn | undefined {
    const last = this.chat.value.turns.at(-1);
    return last?.role === "assistant" ? last : undefined;
  }

  #turn(id: string): ModelTurn | undefined {
    return this.chat.value.turns.find((turn): turn is ModelTurn => turn.id === id && turn.role === "assistant");
  }

  #say(id: string, place: number, change: Partial<Spoken>): void {
    const turn = this.#turn(id);
    if (turn) this.#set(this.#with(turn, { spoken: turn.spoken.map((one, at) => (at === place ? { ...one, ...change } : one)) }));
  }

  /** The turns with one of them changed. */
  #with(turn: ModelTurn, change: Partial<ModelTurn>): Turn[] {
    return this.chat.value.turns.map((other) => (other.id === turn.id ? { ...turn, ...change } : other));
  }

  #set(turns: Turn[]): void {
    this.chat.value = { ...this.chat.value, turns };
  }
}

/** A turn that waits for its answers. */
function turnOf(wanted: Wanted[], is_blind = false): ModelTurn {
  const spoken = wanted.map(({ by, how }): Spoken => ({ by, text: "", end: "waiting", how, told: null, rating: null }));
  return { id: newId(), role: "assistant", spoken, picked: spoken.length === 1 ? 0 : null, is_blind, origins: [] };
}

/** The answers, the one that counts in other words: what was said of the earlier ones does not hold of these. */
function rewritten(turn: ModelTurn, text: string): Spoken[] {
  const was = answerOf(turn);
  return turn.spoken.map((one) => (one === was ? { ...one, text, end: "whole", told: null, rating: null } : one));
}

function longer(one: string, other: string): string {
  return other.length > one.length ? other : one;
}
