import { Dataset, type ImportOptions, type Inspection, type RowShape } from "tabtune";
import { element, make, show, write } from "../ui/dom.js";
import type { Picked } from "./pick.js";

/** The shapes that a person can choose, with the parts that need a column. */
const KINDS: Record<string, { parts: string[]; labels: string[] }> = {
  questions: { parts: ["prompt", "completion"], labels: ["Question column", "Answer column"] },
  text: { parts: ["text"], labels: ["Text column"] },
  chats: { parts: ["messages"], labels: ["Chat column"] },
};

/** What the parts of all shapes are called, in the order in which they are told. */
const PART_NAMES: Record<string, string> = {
  system: "Instruction",
  instruction: "Question",
  input: "More of the question",
  prompt: "Question",
  context: "More of the question",
  history: "Earlier turns",
  completion: "Answer",
  output: "Answer",
  chosen: "Better answer",
  rejected: "Worse answer",
  label: "Rating",
  messages: "Chat",
  conversations: "Chat",
  text: "Text",
};

const KIND_OF: Record<RowShape, string | undefined> = {
  messages: "chats",
  sharegpt: "chats",
  prompt_completion: "questions",
  text: "text",
  alpaca: undefined,
  preference: undefined,
  unpaired_preference: undefined,
};

/** Lets the person say which column is what, where that is not known or could be otherwise. */
export class Mapping {
  readonly #kind = element<HTMLSelectElement>("kind");
  readonly #pairs = element<HTMLSelectElement>("pairs");
  readonly #columns = ["column-0", "column-1"].map((id) => element<HTMLSelectElement>(id));

  /** `on_change` is told when the person chose something. */
  constructor(on_change: () => void) {
    this.#kind.addEventListener("change", () => {
      this.#showColumns();
      on_change();
    });
    for (const select of [...this.#columns, this.#pairs]) select.addEventListener("change", on_change);
  }

  /** A question and its answer are asked as a chat, unless the person wants them learnt as bare text. */
  get pairs(): NonNullable<ImportOptions["pairs"]> {
    return this.#pairs.value === "text" ? "text" : "chat";
  }

  /** What the person chose, which can be set again. */
  get chosen(): string[] {
    return [this.#kind, ...this.#columns].map(({ value }) => value);
  }

  set chosen(values: string[]) {
    [this.#kind, ...this.#columns].forEach((select, index) => (select.value = values[index]!));
    this.#showColumns();
  }

  /** Begins anew for other rows. */
  resetPairs(): void {
    this.#pairs.value = "chat";
  }

  /** Begins anew for what was found in a file. */
  reset({ columns, mapping }: Inspection): void {
    const kind = mapping ? (KIND_OF[mapping.shape] ?? "found") : "questions";
    element<HTMLOptionElement>("kind-found").hidden = kind !== "found";
    this.#kind.value = kind;
    for (const select of this.#columns) {
      const choose = new Option("choose…", "");
      select.replaceChildren(choose, ...columns.map((column) => new Option(columnName(column), column)));
    }
    show("kind-label", columns.length > 0);
    this.#showColumns();
    const used = mapping?.columns ?? {};
    const parts = KINDS[kind]?.parts ?? [];
    this.#columns.forEach((select, index) => {
      select.value = used[parts[index] ?? ""] ?? (kind === "chats" && index === 0 ? (used["conversations"] ?? "") : "");
    });
  }

  /** Puts the keyboard where the person has to choose. */
  focus(): void {
    element<HTMLDetailsElement>("mapping").open = true;
    this.#columns[0]!.focus();
  }

  /** Looks at the data as the person said it is to be read; undefined while they have not said all. */
  async inspect({ source }: Picked, reading: ImportOptions): Promise<{ inspection: Inspection; options: ImportOptions } | undefined> {
    let last;
    for (const columns of this.#meant()) {
      const options = { ...reading, columns, pairs: this.pairs };
      last = { inspection: await Dataset.inspect(source, options), options };
      if (last.inspection.mapping) break;
    }
    return last;
  }

  /** The columns by part. A chat is written in one of two ways, which are tried one after the other. */
  #meant(): Record<string, string>[] {
    const kind = this.#kind.value;
    const names = this.#columns.map(({ value }) => value);
    if (kind === "found") return [{}];
    const { parts } = KINDS[kind]!;
    if (parts.some((_, index) => !names[index])) return [];
    if (kind === "chats") return [{ messages: names[0]! }, { conversations: names[0]! }];
    return [Object.fromEntries(parts.map((part, index) => [part, names[index]!]))];
  }

  #showColumns(): void {
    const has_columns = this.#columns[0]!.options.length > 1;
    const labels = has_columns ? (KINDS[this.#kind.value]?.labels ?? []) : [];
    this.#columns.forEach((_, index) => {
      const label = labels[index];
      show(`column-${index}-label`, label !== undefined);
      if (label !== undefined) write(`column-${index}-name`, label);
    });
    show("pairs-label", has_columns && this.#kind.value === "questions");
  }
}

/** Columns without names are numbered from 0, and counted by people from 1. */
function columnName(column: string): string {
  return /^\d+$/.test(column) ? `Column ${Number(column) + 1}` : column;
}

/** What is read from which column, in words. */
export function columnsRead({ mapping }: Inspection): (Node | string)[] {
  if (!mapping) return [];
  const order = Object.keys(PART_NAMES);
  const place = (part: string) => (order.includes(part) ? order.indexOf(part) : order.length);
  const parts = Object.keys(mapping.columns).sort((a, b) => place(a) - place(b));
  return parts.flatMap((part, index) => {
    const name = PART_NAMES[part] ?? part;
    return [index === 0 ? `${name} from ` : `, ${name.toLowerCase()} from `, make("code", "", columnName(mapping.columns[part]!))];
  });
}
