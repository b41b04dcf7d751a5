import type { Signal } from "@preact/signals";
import { useLayoutEffect, useRef, useState } from "preact/hooks";
import { offersOf, type Act } from "./acts.js";
import { ITEM_KINDS, KIND_WORDS, shownOf, sumsOf, type Item, type Origin, type View } from "./items.js";
import { sizeWords } from "./sizes.js";

/** What the list asks of the page. */
export interface ListWork {
  act(act: Act, item: Item): void;
  /** Resolves once it is done, whether it could be or not. */
  rename(item: Item, name: string): Promise<unknown>;
  /** Buttons came or went: those that wait while work is done are to wait. */
  drawn(): void;
}

interface ListProps {
  items: Signal<Item[] | undefined>;
  view: Signal<View>;
  work: ListWork;
}

const EMPTY: Record<View["kind"], string> = {
  all: "Nothing is kept yet. Train on some rows, talk to a model, or import what you exported elsewhere: it is all found here then.",
  run: "No runs yet. What you train is kept here, and opens again tomorrow.",
  adapter: "No adapters yet. Put what you learnt on the shelf, or get one from elsewhere, below.",
  dataset: "No rows of yours yet. What you import under Data is kept here.",
  model: "No models were downloaded yet. The bundled one comes with the page.",
  chat: "No chats are kept yet. What you talk about under Chat is found here.",
};

/** All that is kept: filtered, searched, sorted, and what can be done with each. */
export function LibraryList({ items, view, work }: ListProps) {
  const all = items.value;
  useLayoutEffect(() => work.drawn());
  if (!all) return <p class="hint">Looking at what is kept…</p>;
  const { kind, search, order } = view.value;
  const shown = shownOf(all, view.value);
  const change = (changed: Partial<View>) => (view.value = { ...view.peek(), ...changed });
  return (
    <div class="stacked">
      <Kinds all={all} chosen={kind} choose={(kind) => change({ kind })} />
      <div class="finder">
        <label>
          Search
          <input type="search" id="library-search" autocomplete="off" value={search} onInput={({ currentTarget }) => change({ search: currentTarget.value })} />
        </label>
        <label>
          Sort by
          <select id="library-order" value={order} onChange={({ currentTarget }) => change({ order: currentTarget.value as View["order"] })}>
            <option value="date">latest first</option>
            <option value="name">name</option>
            <option value="size">largest first</option>
          </select>
        </label>
      </div>
      <p class="unseen" role="status">{search || kind !== "all" ? `${shown.length} of ${all.length} are shown.` : ""}</p>
      {shown.length === 0 && <p class="nothing-kept hint">{search ? "Nothing that is kept has these words." : EMPTY[kind]}</p>}
      <ul id="library-list" class="kept-items" aria-label="What is kept">
        {shown.map((item) => (
          <Entry key={item.key} item={item} work={work} />
        ))}
      </ul>
    </div>
  );
}

function Kinds({ all, chosen, choose }: { all: Item[]; chosen: View["kind"]; choose(kind: View["kind"]): void }) {
  const sums = sumsOf(all);
  const chips = [{ kind: "all" as const, word: "All", count: all.length }, ...ITEM_KINDS.map((kind) => ({ kind, word: KIND_WORDS[kind].many, count: sums[kind].count }))];
  return (
    <div class="kind-chips" role="group" aria-label="What is shown">
      {chips.map(({ kind, word, count }) => (
        <button key={kind} type="button" class="kind-chip" aria-pressed={kind === chosen} onClick={() => choose(kind)}>
          {word} <span class="figure">{count}</span>
        </button>
      ))}
    </div>
  );
}

function Entry({ item, work }: { item: Item; work: ListWork }) {
  const [is_renaming, setRenaming] = useState(false);
  const [shows_more, setMore] = useState(false);
  const rename = useRef<HTMLButtonElement>(null);
  const { key, kind, name, now, about, date } = item;
  const end = async (renamed?: Promise<unknown>) => {
    setRenaming(false);
    await renamed;
    // The field that had the keyboard is gone, and buttons wait while the name is changed.
    requestAnimationFrame(() => rename.current?.focus());
  };
  const notes = [about, sizeWords(item.bytes), date === undefined ? "" : dateWords(date)].filter(Boolean);
  const acting = (act: Act) => (act === "rename" ? setRenaming(true) : work.act(act, item));
  const offers = offersOf(item);
  const buttons = (are_first: boolean) =>
    offers
      .filter(({ is_first }) => is_first === are_first)
      .map(({ act, word }) => (
        <button key={word} type="button" class={are_first ? "small is-first" : "small"} data-idle="" aria-label={`${word} ${name}`} ref={act === "rename" ? rename : null} onClick={() => acting(act)}>
          {word}
        </button>
      ));
  return (
    <li class={now ? "kept-item is-open" : "kept-item"} data-kind={kind} data-key={key} tabIndex={-1}>
      <div class="item-told">
        {is_renaming ? (
          <Renaming name={name} end={(to) => void end(to === undefined ? to : work.rename(item, to))} />
        ) : (
          <h4 class="item-title">
            <span class={`kind-tag of-${kind}`}>{KIND_WORDS[kind].one}</span> <span class="item-name">{name}</span>
            {now && <span class="now">{now}</span>}
          </h4>
        )}
        <p class="hint">{notes.join(" · ")}</p>
        <Origins origins={item.from} word="" />
        <Origins origins={item.to} word={becameWords(item)} />
      </div>
      <div class={shows_more ? "item-acts shows-more" : "item-acts"}>
        {buttons(true)}
        <button type="button" class="small item-more" aria-expanded={shows_more} aria-label={`${shows_more ? "Less" : "More"} for ${name}`} onClick={() => setMore(!shows_more)}>
          {shows_more ? "Less" : "More"}
        </button>
        <span class="later">{buttons(false)}</span>
      </div>
    </li>
  );
}

/** `end` is told the new name, or nothing where it stays. */
function Renaming({ name, end }: { name: string; end(to?: string): void }) {
  const field = useRef<HTMLInputElement>(null);
  useLayoutEffect(() => field.current?.select(), []);
  const submit = (event: Event) => {
    event.preventDefault();
    const to = field.current!.value.trim();
    end(to && to !== name ? to : undefined);
  };
  return (
    <form class="item-renaming" onSubmit={submit} onKeyDown={({ key }) => key === "Escape" && end()}>
      <input ref={field} type="text" aria-label={`Name of ${name}`} defaultValue={name} maxLength={70} autocomplete="off" />
      <button type="submit" class="small">Save the name</button>
      <button type="button" class="small" onClick={() => end()}>Cancel</button>
    </form>
  );
}

/** What came from what, as a sentence; what is in the library too leads there. */
function Origins({ origins, word }: { origins: Origin[]; word: string }) {
  if (origins.length === 0) return null;
  const parts = origins.map(({ how, name, key }, index) => {
    const told = key === undefined ? <span>{name}</span> : <a href={addressOf(key)}>{name}</a>;
    return (
      <span key={`${how} ${name} ${key}`}>
        {index > 0 && ", "}
        {word ? `the ${kindWord(key)} ` : `${index === 0 ? capital(how) : how} `}
        {told}
      </span>
    );
  });
  return <p class="hint item-origins">{word && `${word} `}{parts}</p>;
}

/** Where something in the library is found. */
export function addressOf(key: string): string {
  return `#library/${encodeURIComponent(key)}`;
}

function becameWords({ kind }: Item): string {
  return kind === "run" ? "Kept as" : "Used by";
}

/** What came from something is in the library, and is often called like it. */
function kindWord(key: string | undefined): string {
  return KIND_WORDS[key!.split("/")[0] as Item["kind"]].one.toLowerCase();
}

function capital(words: string): string {
  return words.charAt(0).toUpperCase() + words.slice(1);
}

function dateWords(date: number): string {
  return new Date(date).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" });
}
