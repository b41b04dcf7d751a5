import { useSignal } from "@preact/signals";
import { count } from "../ui/format.js";
import { Thumb } from "./icon.js";
import type { ModelTurn, Spoken } from "./record.js";
import { useRoom } from "./room.js";
import { TurnEdit, useEditing } from "./turn-edit.js";

/** How long a button says that it has copied. */
const COPIED_MILLIS = 2000;

/** What an answer says, while it is written and after. Of one that is to be judged blindly nothing else is told: how fast it was may be a hint. */
export function Said({ one, is_blind = false }: { one: Spoken; is_blind?: boolean }) {
  const { talk, status } = useRoom();
  const is_going = one.end === "going" || one.end === "waiting";
  const live = one.end === "going" ? talk.live.value : "";
  const text = live.length > one.text.length ? live : one.text;
  return (
    <>
      <p class="answer" aria-busy={is_going}>
        {text}
      </p>
      {is_going && text === "" && <p class="hint waits">{one.end === "going" ? "…" : waitWords(status.value)}</p>}
      {!is_going && <p class="hint told">{endWords(is_blind ? { ...one, told: null } : one)}</p>}
    </>
  );
}

/** What keeps an answer waiting, where the page says so. A whole sentence tells of what is over, as of the run before. */
function waitWords(status: string): string {
  return /…|%|:/.test(status) && !status.endsWith(".") ? status : "…";
}

function endWords({ text, end, told, how }: Spoken): string {
  const length = count(told?.tokens ?? how.max_new_tokens ?? 0, told?.went_on ? "more token" : "token");
  const speed = told && `${length}${Number.isFinite(told.a_second) ? ` · ${told.a_second.toFixed(told.a_second < 10 ? 1 : 0)} a second` : ""}`;
  const ends = {
    cut: `Cut off after ${length}${isFull({ told, how }) ? ": the model can hold no more" : ""}`,
    stopped: "Stopped here",
    whole: text === "" ? "It said nothing" : undefined,
    going: undefined,
    waiting: undefined,
  };
  return [ends[end], end === "cut" ? undefined : speed].filter(Boolean).join(" · ");
}

/** Whether an answer was cut off because the model can hold no more, however long it may be. */
function isFull({ told, how }: Pick<Spoken, "told" | "how">): boolean {
  return told !== null && told.tokens < (how.max_new_tokens ?? 0);
}

/** The two thumbs under an answer. */
export function Thumbs({ turn, place }: { turn: ModelTurn; place: number }) {
  const { talk, is_busy } = useRoom();
  const label = turn.spoken[place]!.rating?.label;
  return (
    <>
      {([["Good answer", true], ["Bad answer", false]] as const).map(([word, is_good]) => (
        <button
          key={word}
          type="button"
          class="small icon"
          title={word}
          aria-label={turn.spoken.length > 1 && turn.picked === null ? `${word} (${turn.spoken[place]!.by})` : word}
          aria-pressed={label === is_good}
          disabled={is_busy.value}
          onClick={() => void talk.rate(turn.id, place, is_good)}
        >
          <Thumb is_up={is_good} />
        </button>
      ))}
    </>
  );
}

/** Copies an answer, and says so. */
export function CopyButton({ text }: { text: string }) {
  const is_copied = useSignal(false);
  const copy = async () => {
    await navigator.clipboard.writeText(text).catch(() => undefined);
    is_copied.value = true;
    setTimeout(() => (is_copied.value = false), COPIED_MILLIS);
  };
  return (
    <button type="button" class="small" onClick={() => void copy()}>
      <span role="status">{is_copied.value ? "Copied" : "Copy"}</span>
    </button>
  );
}

/** The one answer that the chat goes on with, and what can be done with it. */
export function TheAnswer({ turn, is_last }: { turn: ModelTurn; is_last: boolean }) {
  const { talk, voices, is_busy, focus } = useRoom();
  const { is_edited, button, leave } = useEditing();
  const place = turn.picked ?? 0;
  const one = turn.spoken[place]!;
  const others = turn.spoken.filter((_, at) => at !== place);
  const is_over = one.end !== "going" && one.end !== "waiting";
  const again = (work: Promise<void>) => {
    focus();
    void work;
  };
  const can_go_on = ((one.end === "cut" && !isFull(one)) || one.end === "stopped") && others.length === 0 && one.by === voices.nameOf() && turn.origins.length === 0;
  return (
    <article class="turn assistant" aria-label={`Answer of ${one.by}`}>
      {(voices.choices.value.length > 1 || others.length > 0) && <p class="by">{one.by}</p>}
      {is_edited.value ? (
        <TurnEdit
          text={one.text}
          label="The answer as you would have it"
          save="Save"
          save_name="Save the answer"
          on_save={(text) => {
            is_edited.value = false;
            void talk.correct(turn.id, text).then(focus);
          }}
          on_cancel={leave}
        />
      ) : (
        <Said one={one} />
      )}
      {turn.origins.some(({ text }) => text !== null) && !is_edited.value && <p class="hint told">In your words</p>}
      {is_over && !is_edited.value && (
        <div class="buttons">
          {turn.origins.length === 0 && <Thumbs turn={turn} place={place} />}
          <CopyButton text={one.text} />
          {is_last && (
            <>
              <button type="button" class="small" ref={button} disabled={is_busy.value} onClick={() => (is_edited.value = true)}>
                Edit
              </button>
              <button type="button" class="small" disabled={is_busy.value} onClick={() => again(talk.again())}>
                Answer again
              </button>
              {can_go_on && (
                <button type="button" class="small" disabled={is_busy.value} onClick={() => again(talk.goOn())}>
                  Go on
                </button>
              )}
            </>
          )}
        </div>
      )}
      {others.length > 0 && (
        <details class="others">
          <summary>{others.length === 1 ? "The other answer" : "The other answers"}</summary>
          {others.map(({ by, text }, at) => (
            <div key={at}>
              <p class="by">{by}</p>
              <p class="other">{text}</p>
            </div>
          ))}
        </details>
      )}
    </article>
  );
}
