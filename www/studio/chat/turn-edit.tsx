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
