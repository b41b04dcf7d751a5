import { useSignal } from "@preact/signals";
import type { ComponentChildren } from "preact";
import { useEffect, useRef } from "preact/hooks";

/** Letters of a line, about. */
const LINE = 60;

interface Editing {
  text: string;
  /** What the field is called. */
  label: string;
  /** The button that ends it, and what it is called. */
  save: string;
  save_name: string;
  hint?: ComponentChildren;
  on_save(text: string): void;
  on_cancel(): void;
}

/** Whether a turn is being written anew, in its own place, and the button that begins it, which has the focus again once that is left. */
export function useEditing() {
  const is_edited = useSignal(false);
  const button = useRef<HTMLButtonElement>(null);
  const leave = () => {
    is_edited.value = false;
    // The button is there again once this is drawn.
    setTimeout(() => button.current?.focus());
  };
  return { is_edited, button, leave };
}

/** Lets a person write something anew. Escape leaves it as it was. */
export function TurnEdit({ text, label, save, save_name, hint, on_save, on_cancel }: Editing) {
  const field = useRef<HTMLTextAreaElement>(null);
  useEffect(() => {
    field.current!.focus();
    field.current!.setSelectionRange(text.length, text.length);
  }, []);
  const done = () => {
    const written = field.current!.value.trim();
    if (written && written !== text) on_save(written);
    else on_cancel();
  };
  const keyed = (event: KeyboardEvent) => {
    if (event.key !== "Escape") return;
    event.stopPropagation();
    on_cancel();
  };
  return (
    <div class="turn-edit">
      <textarea ref={field} aria-label={label} rows={Math.min(8, 2 + Math.ceil(text.length / LINE))} defaultValue={text} onKeyDown={keyed} />
      {hint && <p class="hint">{hint}</p>}
      <div class="buttons">
        <button type="button" class="small" aria-label={save_name} onClick={done}>
          {save}
        </button>
        <button type="button" class="small" onClick={on_cancel}>
          Cancel
        </button>
      </div>
    </div>
  );
}
