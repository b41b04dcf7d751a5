import { useSignalEffect } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { onSize } from "../ui/sized.js";
import type { Difference } from "./manner.js";
import { useRoom } from "./room.js";

/** Where messages are written. */
export function Composer() {
  const { talk, is_answering, send, stop } = useRoom();
  const field = useRef<HTMLTextAreaElement>(null);
  // It is as high as what is in it, which in a place that is hidden has no height.
  const fit = () => {
    const { current } = field;
    if (!current) return;
    current.style.height = "auto";
    if (current.scrollHeight > 0) current.style.height = `${current.scrollHeight + 2}px`;
  };
  useSignalEffect(() => {
    void talk.draft.value;
    requestAnimationFrame(fit);
  });
  useEffect(() => onSize(field.current!, fit), []);
  const keyed = (event: KeyboardEvent) => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
      event.preventDefault();
      send();
    }
    if (event.key === "Escape" && is_answering.value) stop();
  };
  return (
    <form
      id="chat-form"
      class="ask"
      onSubmit={(event) => {
        event.preventDefault();
        send();
      }}
    >
      <textarea
        id="message"
        ref={field}
        rows={1}
        aria-label="Message"
        aria-keyshortcuts="Enter"
        placeholder="Say something"
        autocomplete="off"
        enterkeyhint="send"
        value={talk.draft.value}
        onInput={({ currentTarget }) => (talk.draft.value = currentTarget.value)}
        onKeyDown={keyed}
      />
      <button type="submit" id="send" class="primary" data-idle>
        Send
      </button>
      <button type="button" id="send-stop" class="danger" hidden>
        Stop
      </button>
    </form>
  );
}

/** Says why a message has to wait, while the page does something else. */
export function Waiting() {
  const { is_busy, is_answering } = useRoom();
  const is_waiting = is_busy.value && !is_answering.value;
  return (
    <p class="hint waiting" role="status">
      {is_waiting && "It answers when what goes on now is done, or stopped."}
    </p>
  );
}

/** Lets a message be answered twice, to be picked from. */
export function TwoAnswers() {
  const { talk, voices, around, two } = useRoom();
  const others = voices.others.value;
  const is_beside = talk.chat.value.beside.some((choice) => others.some(({ value }) => value === choice));
  if (is_beside) return null;
  return (
    <div class="two">
      <label class="check">
        <input
          type="checkbox"
          id="two-answers"
          aria-describedby="about-two"
          checked={two.value !== undefined}
          onChange={({ currentTarget }) => (two.value = currentTarget.checked ? "temperature" : undefined)}
        />{" "}
        Two answers
      </label>
      {two.value !== undefined && around.value.has_learnt && (
        <select id="two-by" aria-label="How they differ" value={two.value} onChange={({ currentTarget }) => (two.value = currentTarget.value as Difference)}>
          <option value="temperature">one cautious, one free</option>
          <option value="learnt">one before, one after learning</option>
        </select>
      )}
    </div>
  );
}
