import { Dataset, type ImportOptions, type Inspection, type RowShape } from "tabtune";
import { showBadRows } from "./bad-rows.js";
import { element, show, write } from "../ui/dom.js";
import { clearError, showError } from "../shell/errors.js";
import { count } from "../ui/format.js";
import { importRows, showReport } from "./importing.js";
import { columnsRead, Mapping } from "./mapping.js";
import { MissingInput } from "../ui/missing.js";
import { watchData, type Picked } from "./pick.js";
import type { RowKind } from "../chat/preference-rows.js";
import { Reading } from "./reading.js";
import { remembered } from "../ui/remembered.js";
import { rowCard } from "./rows.js";
import { reveal } from "../shell/places.js";

const FORMATS: Partial<Record<string, string>> = {
  jsonl: "JSON Lines",
  json: "JSON",
  csv: "CSV",
  tsv: "TSV",
  text: "text",
  markdown: "Markdown",
  rows: "Parquet",
  sheet: "Excel workbook",
};

const SHAPES: Record<RowShape, string> = {
  messages: "chats",
  sharegpt: "chats",
  prompt_completion: "questions and answers",
  alpaca: "instructions and answers",
  text: "plain text",
  preference: "preference pairs",
  unpaired_preference: "rated answers",
};

/** What rows of a shape say; all others are examples. */
const KINDS: Partial<Record<string, RowKind>> = { preference: "pairs", unpaired_preference: "ratings" };

/** How many cards are shown at first, and at most. */
const CARDS = { few: 3, all: 20 };

const LOOKING = "The file is being looked at.";
const UNREADABLE = "This file cannot be read. Choose another one.";
const WHICH_LETTERS = "Say whether the letters of the rows are right.";
const WHICH_COLUMNS = "Say which column is the question and which is the answer.";

/** Rows of one's own: what they are, how they are to be read, and bringing them into the browser. */
export class OwnRows {
  readonly #reading = new Reading(() => void this.#looking(() => this.#readAgain()));
  readonly #mapping = new Mapping(() => void this.#looking(() => this.#lookAgain()));
  readonly #name = element<HTMLInputElement>("keep-as");
  readonly #on_change: () => void;
  #picked: Picked | undefined;
  #inspection: Inspection | undefined;
  /** How the rows are to be read; undefined while the person has not said all. */
  #options: ImportOptions | undefined;
  /** The dataset that what was picked became. */
  #imported: Dataset | undefined;
  /** Rows of an import under this name that was interrupted. */
  #pending: number | null = null;
  /** Counts what was asked, so that a late answer does not replace a newer one. */
  #asked = 0;
  /** The look that is under way. */
  #look_now: (() => Promise<void>) | undefined;

  /** `on_change` is told when the rows, or how they are read, are others. */
  constructor(on_change: () => void) {
    this.#on_change = on_change;
    watchData((picked) => void this.#looking(() => this.#take(picked)));
    this.#name.addEventListener("change", () => void this.#changed().catch(showError));
    for (const choice of document.querySelectorAll("#own [data-choice]")) {
      choice.addEventListener("change", () => void this.#changed().catch(showError));
    }
    element("more-rows").addEventListener("click", () => this.#showCards(CARDS.all));
  }

  /** What the rows say; undefined while they were not looked at. */
  get kind(): RowKind | undefined {
    const shape = this.#inspection?.mapping?.shape;
    return shape && (KINDS[shape] ?? "examples");
  }

  /** What the person has to say before the rows can be used. */
  get missing(): string | undefined {
    return this.#look_now ? LOOKING : this.#unsaid;
  }

  /** What the picked rows are called; undefined while there are none. */
  get name(): string | undefined {
    return this.#picked && (this.#name.value.trim() || this.#picked.name);
  }

  get #unsaid(): string | undefined {
    const found = this.#inspection;
    if (!found) return undefined;
    const is_known = this.#options !== undefined && found.mapping !== null;
    if (!is_known && found.columns.length > 0) return WHICH_COLUMNS;
    return found.notices.some(({ code }) => code === "encoding") ? WHICH_LETTERS : undefined;
  }

  /** The dataset of the rows, which are imported if that was not done yet. */
  async read(signal: AbortSignal): Promise<Dataset> {
    if (!this.#picked) throw new MissingInput("Choose a file with your rows first.");
    // It may have been deleted from the list of what is kept.
    if (this.#imported && (await this.#imported.info()).rows > 0) return this.#imported;
    return this.import(this.#pending !== null, signal);
  }

  /** Imports what was picked, from its start or going on with what is stored. */
  async import(resume: boolean, signal: AbortSignal): Promise<Dataset> {
    const picked = this.#picked;
    if (!picked) throw new MissingInput("Choose a file with your rows first.");
    const name = this.#name.value.trim() || picked.name;
    // An import goes on only as it was begun, whatever was chosen since.
    const options = (resume && remembered.get(name)) || this.#chosen();
    remembered.set(name, options);
    const dataset = await Dataset.open(name);
    show("import-report", false);
    try {
      showReport(await importRows(dataset, picked.source, options, resume, signal));
      // Other rows may have been picked meanwhile.
      if (this.#picked === picked) this.#imported = dataset;
      return dataset;
    } finally {
      await this.#lookUpName();
    }
  }

  /** Until what was picked was looked at, nothing can begin with it. One look takes the place of another. */
  async #looking(look: () => Promise<void>): Promise<void> {
    this.#look_now = look;
    this.#on_change();
    await look().catch(showError);
    if (this.#look_now !== look) return;
    this.#look_now = undefined;
    this.#on_change();
  }

  async #take(picked: Picked): Promise<void> {
    this.#picked = picked;
    this.#name.value = picked.name;
    this.#reading.reset();
    this.#mapping.resetPairs();
    this.#hide();
    await this.#look();
    reveal("own", "nearest");
    if (this.#unsaid === WHICH_COLUMNS) this.#mapping.focus();
  }

  /** Looks at what was picked, whose columns may be others than before. */
  async #look(): Promise<void> {
    const picked = this.#picked;
    if (!picked) return;
    const turn = ++this.#asked;
    clearError();
    this.#inspection = this.#options = undefined;
    const options = { ...this.#reading.options, pairs: this.#mapping.pairs };
    try {
      const inspection = await Dataset.inspect(picked.source, options);
      if (turn !== this.#asked) return;
      this.#mapping.reset(inspection);
      this.#options = options;
      element<HTMLDetailsElement>("mapping").open = !inspection.mapping;
      this.#show(inspection);
    } catch (thrown) {
      if (turn === this.#asked) this.#hide();
      throw thrown;
    } finally {
      if (turn === this.#asked) await this.#changed();
    }
  }

  /** Its letters or its first line are to be read in another way; what was said of its columns holds if they are the same. */
  async #readAgain(): Promise<void> {
    const before = this.#inspection?.columns;
    const has_said = this.#options !== undefined;
    const chosen = this.#mapping.chosen;
    await this.#look();
    if (!has_said || String(this.#inspection?.columns) !== String(before)) return;
    this.#mapping.chosen = chosen;
    await this.#lookAgain();
  }

  /** Looks at it once more, as the person said that its columns are to be read. */
  async #lookAgain(): Promise<void> {
    const turn = ++this.#asked;
    const found = this.#picked && (await this.#mapping.inspect(this.#picked, this.#reading.options));
    if (turn !== this.#asked) return;
    this.#options = found?.options;
    if (found) this.#show(found.inspection);
    await this.#changed();
  }

  /** What was imported no longer is what the form says. */
  async #changed(): Promise<void> {
    this.#imported = undefined;
    show("import-report", false);
    this.#on_change();
    await this.#lookUpName();
  }

  #chosen(): ImportOptions {
    if (!this.#options || this.missing) throw new MissingInput(this.missing ?? UNREADABLE);
    return {
      ...this.#options,
      on_bad_row: element<HTMLInputElement>("skip-bad").checked ? "skip" : "stop",
      deduplicate: element<HTMLInputElement>("no-twins").checked,
    };
  }

  #hide(): void {
    for (const id of ["own", "read"]) show(id, false);
  }

  #show(inspection: Inspection): void {
    this.#inspection = inspection;
    const { file, format, mapping, rows, bad_rows, columns, problem } = inspection;
    const is_unknown = mapping === null && columns.length > 0;
    const shape = mapping ? SHAPES[mapping.shape] : is_unknown ? "columns with other names" : "nothing that can be read";
    const many = Array.isArray(this.#picked?.source) || (this.#picked?.source as { kind?: string })?.kind === "directory";
    write("found", `${FORMATS[format] ?? format} · ${shape}`);
    const note = element("found-note");
    note.replaceChildren(...(many ? [`First of the files: ${file}. `] : []));
    if (is_unknown) note.append("Say below which column is the question and which is the answer.");
    else if (problem && rows.length === 0) note.append(problem);
    else if (format === "text" || format === "markdown") note.append("The text is cut into rows at blank lines.");
    else if (mapping) note.append(...columnsRead(inspection));
    else if (problem) note.append(problem);
    show("preference-note", this.kind !== undefined && this.kind !== "examples");
    show("mapping", true);
    this.#reading.show(inspection);
    this.#showCards(CARDS.few);
    // Where no column is known yet, the same is wrong with every row.
    showBadRows("bad-rows", is_unknown && rows.length === 0 ? [] : bad_rows);
    for (const id of ["own", "read"]) show(id, true);
  }

  #showCards(most: number): void {
    const rows = this.#inspection?.rows ?? [];
    element("first-rows").replaceChildren(...rows.slice(0, most).map(rowCard));
    show("more-rows", rows.length > most);
  }

  /** Says what is kept under the name already. */
  async #lookUpName(): Promise<void> {
    const name = this.#name.value.trim() || this.#picked?.name;
    if (!name) return;
    const { rows, pending_rows } = await (await Dataset.open(name)).info();
    const is_imported = this.#imported?.name === name;
    this.#pending = is_imported ? null : pending_rows;
    show("import-note", !is_imported);
    show("resume", this.#pending !== null);
    write("import", is_imported ? "Import again" : this.#pending === null ? "Import" : "Start over");
    if (this.#pending !== null) {
      const stored = `${count(this.#pending, "row")} of it are stored; resuming goes on from there.`;
      write("kept-note", `An import of these rows was interrupted. ${stored}`);
    } else {
      write("kept-note", rows > 0 && !is_imported ? `Takes the place of ${count(rows, "row")} kept under this name.` : "");
    }
  }
}
