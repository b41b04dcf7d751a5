import type { RefObject } from "preact";
import { useEffect, useRef } from "preact/hooks";
import { Said, TheAnswer, Thumbs } from "./answer.js";
import type { ModelTurn, UserTurn } from "./record.js";
import { useRoom } from "./room.js";
import { TurnEdit, useEditing } from "./turn-edit.js";

/** How near to its end the log is to follow what is written. */
const NEAR = 120;

const BLIND_NAMES = ["Answer A", "Answer B"];

/** What was said so far. */
export function Log() {
  const { talk } = useRoom();
  const log = useRef<HTMLDivElement>(null);
  const { id, turns } = talk.chat.value;
  useFollowing(log, `${id} ${turns.length}`);
  return (
    <div id="chat-log" role="log" aria-label="Chat" tabIndex={0} ref={log} hidden={turns.length === 0}>
      {turns.map((turn, place) => {
        const key = `${id} ${turn.id}`;
        const is_last = place === turns.length - 1;
        if (turn.role === "user") return <Asked key={key} turn={turn} is_answered_last={place === turns.length - 2} />;
        return turn.picked === null ? <Several key={key} turn={turn} is_last={is_last} /> : <TheAnswer key={key} turn={turn} is_last={is_last} />;
      })}
      {talk.note.value && <p class="hint">{talk.note.value}</p>}
    </div>
  );
}

/** Keeps in sight what is said last, unless the person went back to read something. A new turn is always shown. */
function useFollowing(log: RefObject<HTMLElement | null>, turns: string): void {
  const is_following = useRef(true);
  useEffect(() => {
    const place = log.current!;
    let was_at = place.scrollTop + scrollY;
    const scrolled = () => {
      const at = place.scrollTop + scrollY;
      // What has just grown is no sign that somebody went back.
      if (below(place) < NEAR) is_following.current = true;
      else if (at < was_at) is_following.current = false;
      was_at = at;
    };
    const grown = new ResizeObserver(() => is_following.current && follow(place));
    // What stands before the log moves it too.
    for (const part of [place.parentElement!, ...place.children]) grown.observe(part);
    const added = new MutationObserver(() => {
      for (const part of place.children) grown.observe(part);
    });
    added.observe(place, { childList: true });
    place.addEventListener("scroll", scrolled);
    addEventListener("scroll", scrolled);
    return () => {
      grown.disconnect();
      added.disconnect();
      place.removeEventListener("scroll", scrolled);
      removeEventListener("scroll", scrolled);
    };
  }, []);
  useEffect(() => {
    is_following.current = true;
    follow(log.current!);
  }, [turns]);
}

/** How much of the log is below what is in sight. */
function below(log: HTMLElement): number {
  return log.scrollHeight - log.scrollTop - log.clientHeight + behind(log);
}

/** How much of the log the field for messages covers, which on a phone stays in sight while the page scrolls. */
function behind(log: HTMLElement): number {
  const { bottom } = log.getBoundingClientRect();
  const field = log.parentElement?.querySelector("form")?.getBoundingClientRect();
  return field && bottom > field.top ? bottom - field.top : 0;
}

/** Brings the end of the log into sight. */
function follow(log: HTMLElement): void {
  log.scrollTop = log.scrollHeight;
  const covered = behind(log);
  if (covered > 0) scrollBy({ top: covered + 8, behavior: "instant" });
}

function Asked({ turn, is_answered_last }: { turn: UserTurn; is_answered_last: boolean }) {
  const { talk, is_busy, focus } = useRoom();
  const { is_edited, button, leave } = useEditing();
  return (
    <article class="turn user" aria-label="You">
      {is_edited.value ? (
        <TurnEdit
          text={turn.text}
          label="What you would rather have said"
          save="Send this"
          save_name="Send this instead"
          hint={is_answered_last ? "It is answered anew, and the answer below is dropped." : "It is answered anew, and all that follows below is dropped."}
          on_save={(text) => {
            is_edited.value = false;
            focus();
            void talk.sayInstead(turn.id, text);
          }}
          on_cancel={leave}
        />
      ) : (
        <>
          <p class="answer">{turn.text}</p>
          <div class="buttons">
            <button type="button" class="small" ref={button} disabled={is_busy.value} aria-label="Edit what you said" onClick={() => (is_edited.value = true)}>
              Edit
            </button>
          </div>
        </>
      )}
    </article>
  );
}

/** Answers side by side, of which none is picked yet. */
function Several({ turn, is_last }: { turn: ModelTurn; is_last: boolean }) {
  const { talk, is_busy, focus } = useRoom();
  const { is_blind, spoken } = turn;
  const nameOf = (place: number) => (is_blind ? BLIND_NAMES[place]! : spoken[place]!.by);
  const is_over = spoken.every(({ end }) => end !== "going" && end !== "waiting");
  const is_same = new Set(spoken.map(({ text }) => text)).size === 1;
  const pick = (place: number) => void talk.pick(turn.id, place).then(focus);
  return (
    <section class={is_blind ? "answer-pair" : "answer-pair beside"} aria-label="Answers side by side">
      <div class="answers">
        {spoken.map((one, place) => (
          <article key={place} aria-label={nameOf(place)}>
            <h4>{nameOf(place)}</h4>
            <Said one={one} is_blind={is_blind} />
            {is_over && (
              <div class="buttons">
                {is_last && !is_same && (
                  <button type="button" class="small" disabled={is_busy.value} aria-label={`This one (${nameOf(place)})`} onClick={() => pick(place)}>
                    This one
                  </button>
                )}
                {!is_blind && <Thumbs turn={turn} place={place} />}
              </div>
            )}
          </article>
        ))}
      </div>
      {is_over && is_last && (
        <div class="row centred">
          {is_blind ? (
            <button
              type="button"
              class="small"
              disabled={is_busy.value}
              onClick={() => {
                talk.pickNeither();
                focus();
              }}
            >
              Neither
            </button>
          ) : (
            <p class="hint">
              {is_same ? "All of them say the same, so there is nothing to pick." : "Pick the better one, and the chat goes on with it. Or write on: each then goes on from its own answer."}
            </p>
          )}
        </div>
      )}
    </section>
  );
}
