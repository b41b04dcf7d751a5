import { useSignal } from "@preact/signals";
import { count } from "../ui/format.js";
import { titleOf, type Chat } from "./record.js";
import { useRoom } from "./room.js";

/** From so many chats on there is a search. */
const MANY = 6;

/** The chats that are kept. On a phone they fold away. */
export function ChatList() {
  const { chats } = useRoom();
  const is_open = useSignal(false);
  const all = chats.list.value.length;
  const found = chats.found;
  return (
    <nav class={is_open.value ? "chats is-open" : "chats"} aria-label="Your chats">
      <button type="button" class="small chats-fold" aria-expanded={is_open.value} aria-controls="chats-body" onClick={() => (is_open.value = !is_open.value)}>
        {all === 0 ? "Your chats" : `Your chats (${all})`}
      </button>
      <div id="chats-body" class="chats-body">
        <h3>Your chats</h3>
        {all >= MANY && (
          <input
            type="search"
            aria-label="Search your chats"
            placeholder="Search"
            autocomplete="off"
            value={chats.search.value}
            onInput={({ currentTarget }) => (chats.search.value = currentTarget.value)}
          />
        )}
        <p class="unseen" role="status">
          {chats.search.value.trim() ? `${count(found.length, "chat")} found` : ""}
        </p>
        {all === 0 && <p class="hint">They are kept in this browser, and listed here once you have said something.</p>}
        {all > 0 && found.length === 0 && <p class="hint">No chat has these words.</p>}
        <ul>
          {found.map((chat) => (
            <Item key={chat.id} chat={chat} on_open={() => (is_open.value = false)} />
          ))}
        </ul>
      </div>
      <p class="hint chats-said" role="status">
        {chats.said.value}
      </p>
    </nav>
  );
}

function Item({ chat, on_open }: { chat: Chat; on_open(): void }) {
  const { talk, is_answering, rename, delete: remove } = useRoom();
  const title = titleOf(chat);
  const is_here = talk.chat.value.id === chat.id;
  return (
    <li class={is_here ? "is-here" : ""}>
      <a
        href={`#chat/${chat.id}`}
        aria-current={is_here ? "true" : undefined}
        aria-disabled={is_answering.value && !is_here}
        onClick={(event) => {
          // An answer belongs to the chat that is at hand.
          if (is_answering.value) event.preventDefault();
          else on_open();
        }}
      >
        <b>{title}</b>
        <span class="hint">{dateWords(chat.date)}</span>
      </a>
      <span class="buttons">
        <button type="button" class="small" disabled={is_answering.value} aria-label={`Rename ${title}`} onClick={() => rename(chat)}>
          Rename
        </button>
        <button type="button" class="small" disabled={is_answering.value} aria-label={`Delete ${title}`} onClick={() => remove(chat)}>
          Delete
        </button>
      </span>
    </li>
  );
}

/** Of today the time, and of other days the date. */
function dateWords(date: number): string {
  const then = new Date(date);
  if (then.toDateString() === new Date().toDateString()) return then.toLocaleTimeString("en", { hour: "2-digit", minute: "2-digit" });
  return then.toLocaleDateString("en", { day: "numeric", month: "short", year: "numeric" });
}
