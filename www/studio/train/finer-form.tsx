import type { ReadonlySignal } from "@preact/signals";
import { render } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { usualIn, type Finer, type Refused } from "./finer.js";
import { ABOUT } from "./finer-about.js";
import { GROUPS, keyOf, type Option } from "./finer-list.js";
import { textOf, valueOf } from "./finer-text.js";

/** What the fields know of one another. */
interface Shown {
  finer: Finer;
  /** What the package refused of the settings as they stand. */
  refused: ReadonlySignal<Refused | undefined>;
}

/** Draws a field for each option that a run with the settings as they stand has. What happens in them bubbles up to the form. */
export function drawFiner(part: HTMLElement, shown: Shown): void {
  render(<Groups {...shown} />, part);
}

function Groups(shown: Shown) {
  const plain = shown.finer.plain.value;
  const groups = GROUPS.map(({ title, options }) => ({ title, options: options.filter((option) => option.isOf(plain)) }));
  return (
    <>
      {groups
        .filter(({ options }) => options.length > 0)
        .map(({ title, options }) => (
          <div key={title} class="finer-group" role="group" aria-label={title}>
            <h4>{title}</h4>
            <div class="fields">
              {options.map((option) => (
                <Field key={keyOf(option)} option={option} {...shown} />
              ))}
            </div>
          </div>
        ))}
    </>
  );
}

function Field({ option, finer, refused }: Shown & { option: Option }) {
  const key = keyOf(option);
  const value = finer.values.value[key];
  const kept = textOf(option.kind, value);
  const [typed, setTyped] = useState(kept);
  const field = useRef<HTMLInputElement & HTMLTextAreaElement & HTMLSelectElement>(null);
  const read = valueOf(option.kind, typed);
  const problem = "problem" in read ? read.problem : undefined;
  // What was set from elsewhere, as by a preset, takes the place of what was typed; the same written otherwise stays.
  useEffect(() => {
    if (problem || JSON.stringify("value" in read && read.value) !== JSON.stringify(value)) setTyped(kept);
  }, [value]);
  // The browser points at what it is told of when the run is to start.
  useEffect(() => field.current?.setCustomValidity(problem ?? ""), [problem]);
  const write = (text: string) => {
    setTyped(text);
    const next = valueOf(option.kind, text);
    // The form looks at its fields before this one is drawn again.
    field.current?.setCustomValidity("problem" in next ? next.problem : "");
    if ("value" in next) finer.put(option, next.value);
  };
  const said = problem ?? (refused.value?.key === key ? refused.value.message : undefined);
  const id = `finer-${key.replace(".", "-")}`;
  const common = {
    id,
    ref: field,
    value: typed,
    "aria-describedby": said ? `about-${id} wrong-${id}` : `about-${id}`,
    "aria-invalid": said ? (true as const) : undefined,
    onInput: ({ currentTarget }: { currentTarget: { value: string } }) => write(currentTarget.value),
  };
  return (
    <div class="field">
      <label for={id}>
        {option.words} <code>{option.name}</code>
      </label>
      <Input option={option} usual={textOf(option.kind, usualIn(option, finer.plain.value))} common={common} />
      <div class="below">
        <p id={`about-${id}`} class="hint">
          {ABOUT[option.name]}
        </p>
        {said && (
          <p id={`wrong-${id}`} class="hint loud" role="status">
            {said}
          </p>
        )}
      </div>
    </div>
  );
}

/** What all fields have, whatever their kind; the element that a field is of is known only where it is drawn. */
type Common = Record<string, unknown> & { id: string };

function Input({ option: { kind }, usual, common }: { option: Option; usual: string; common: Common }) {
  const placeholder = usual === "" ? "" : `as usual: ${usual}`;
  switch (kind.is) {
    case "number":
      return <input type="number" min={kind.min} max={kind.max} step={kind.is_whole ? 1 : "any"} placeholder={placeholder} {...common} />;
    case "choice":
      return (
        <select {...common}>
          <option value="">as usual{usualWords(kind, usual)}</option>
          {kind.of.map(([value, words]) => (
            <option key={String(value)} value={String(value)}>
              {words}
            </option>
          ))}
        </select>
      );
    case "pattern":
      return <textarea rows={2} spellcheck={false} autocapitalize="off" {...common} />;
    case "names":
      return (
        <>
          <input type="text" autocomplete="off" autocapitalize="off" spellcheck={false} placeholder={placeholder} list={`list-${common.id}`} {...common} />
          <datalist id={`list-${common.id}`}>
            {kind.suggested.map((names) => (
              <option key={names} value={names} />
            ))}
          </datalist>
        </>
      );
    default:
      return <input type="text" autocomplete="off" autocapitalize="off" spellcheck={false} placeholder={placeholder} {...common} />;
  }
}

function usualWords(kind: Extract<Option["kind"], { is: "choice" }>, usual: string): string {
  const found = kind.of.find(([value]) => String(value) === usual);
  return found ? `: ${found[1]}` : "";
}
