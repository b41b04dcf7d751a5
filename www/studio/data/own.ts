import { signal } from "@preact/signals";
import { Dataset, type ImportOptions, type Inspection } from "tabtune";
import { cellsOf, type Column } from "./cells.js";
import { element, show, write } from "../ui/dom.js";
import { clearError, showError } from "../shell/errors.js";
import { badRowIn, brokenRowIn, foundWords, isProse, isUnknown, kindFound } from "./found.js";
import { count } from "../ui/format.js";
import { importRows, showReport } from "./importing.js";
import { Mending, withoutEncoding } from "./mending.js";
import { MissingInput } from "../ui/missing.js";
import { watchData, type Picked } from "./pick.js";
import { PickedDrafts, type Said } from "./picked-draft.js";
import type { RowKind } from "../chat/preference-rows.js";
import { Reading } from "./reading.js";
import { remembered } from "../ui/remembered.js";
import { columnsOf, rolesFound, unsaidOf, unwantedIn, withRole, type Role, type Roles } from "./roles.js";
import { reveal, staying } from "../shell/places.js";

const LOOKING = "The file is being looked at.";
const UNREADABLE = "This file cannot be read. Choose another one.";
const WHICH_LETTERS = "Say whether the letters of the rows are right.";

/** What is known of picked rows. */
export interface Looked {
  inspection: Inspection;
  /** Which column is what, as the person or the package says. */
  roles: Roles;
  /** The first rows as the file has them. */
  columns: Column[];
  /** What is still to be said of the columns. */
  unsaid: string | undefined;
}

/** Rows of one's own: what they are, how they are to be read, and bringing them into the browser. */
export class OwnRows {
  /** What was picked, as far as it was looked at. */
  readonly looked = signal<Looked | undefined>(undefined);
  /** Counts the times when the person is to say first which column is what. */
  readonly asks = signal(0);
  readonly mending = new Mending();
  readonly #reading = new Reading(() => void this.#looking(() => this.#readAgain()));
  readonly #pairs = element<HTMLSelectElement>("pairs");
  readonly #name = element<HTMLInputElement>("keep-as");
  readonly #skip = element<HTMLInputElement>("skip-bad");
  readonly #no_twins = element<HTMLInputElement>("no-twins");
  readonly #drafts = new PickedDrafts();
  readonly #on_change: () => void;
  readonly #on_import: (name: string) => void;
  #picked: Picked | undefined;
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

  /** `on_change` is told when the rows, or how they are read, are others, and `on_import` of the name they are kept under. */
  constructor(on_change: () => void, on_import: (name: string) => void = () => undefined) {
    this.#on_change = on_change;
    this.#on_import = on_import;
    watchData((picked) => this.take(picked));
    this.#pairs.addEventListener("change", () => void this.#looking(() => this.#lookAgain()));
    this.#name.addEventListener("change", () => void this.#changed().catch(showError));
    for (const choice of document.querySelectorAll("#own [data-choice]")) {
      choice.addEventListener("change", () => void this.#changed().catch(showError));
    }
  }

  /** What the rows say; undefined while they were not looked at. */
  get kind(): RowKind | undefined {
    return kindFound(this.#inspection);
  }

  /** What the person has to say before the rows can be used. */
  get missing(): string | undefined {
    return this.#look_now ? LOOKING : this.#unsaid;
  }

  /** What the picked rows are called; undefined while there are none. */
  get name(): string | undefined {
    return this.#picked && (this.#name.value.trim() || this.#picked.name);
  }

  get #inspection(): Inspection | undefined {
    return this.looked.value?.inspection;
  }

  get #unsaid(): string | undefined {
    const looked = this.looked.value;
    if (!looked) return undefined;
    if (looked.unsaid !== undefined) return looked.unsaid;
    return looked.inspection.notices.some(({ code }) => code === "encoding") ? WHICH_LETTERS : undefined;
  }

  /** Takes up what was picked before the page was closed, unless something was picked since. */
  async restore(): Promise<void> {
    const draft = await this.#drafts.get().catch(() => undefined);
    if (!draft || this.#picked) return;
    const { files, name, said } = draft;
    write("rows-name", name);
    await this.#looking(() => this.#take({ source: files.length === 1 ? files[0]! : files, name }, said ?? "unsaid"));
  }

  /** Takes rows that were picked. */
  take(picked: Picked): void {
    write("rows-name", picked.name);
    void this.#looking(() => this.#take(picked));
  }

  /** Says what a column is, or that it is not used. */
  setRole(column: string, role: Role | undefined): void {
    const looked = this.looked.value;
    if (!looked) return;
    const roles = withRole(looked.roles, column, role);
    // The next click may come before the file was looked at again.
    this.looked.value = { ...looked, roles };
    void this.#looking(() => this.#lookAgain(roles));
  }

  /** The rows are others, since some of them were mended or left out. */
  mended(): void {
    void this.#looking(() => this.#lookAgain(this.looked.value?.roles, true));
  }

  /** Leaves out whatever cannot be used. */
  leaveOutAll(): void {
    this.#skip.checked = true;
    void this.#changed().catch(showError);
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
      const report = await importRows(dataset, (await this.mending.source()) ?? picked.source, options, resume, signal);
      showReport(report);
      // Other rows may have been picked meanwhile.
      if (this.#picked !== picked) return dataset;
      this.mending.add(report.bad_rows, report.skipped > report.bad_rows.length);
      this.#imported = dataset;
      this.#on_import(name);
      // What is kept as rows need not be kept as a file.
      if (report.skipped === 0) this.#drafts.forget();
      return dataset;
    } catch (thrown) {
      const bad = badRowIn(thrown);
      if (bad && this.#picked === picked) this.mending.add([bad], true);
      throw thrown;
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

  /** Takes what was picked now, or before the page was closed: then with what was said of it. */
  async #take(picked: Picked, said?: Said | "unsaid"): Promise<void> {
    // Looking takes a while; whoever has gone elsewhere meanwhile is not called back.
    const has_stayed = staying();
    this.#picked = picked;
    this.#name.value = picked.name;
    this.#reading.reset();
    this.#pairs.value = "chat";
    this.mending.reset(typeof said === "object" ? said.mends : []);
    this.#hide();
    if (said === undefined) this.#drafts.keep(picked.source, picked.name);
    if (typeof said === "object") {
      this.#reading.chosen = said;
      this.#pairs.value = said.pairs;
      this.#name.value = said.name;
      this.#skip.checked = said.skips_bad;
      this.#no_twins.checked = said.leaves_twins;
    }
    await this.#look();
    // What was said of these says nothing of others that were picked meanwhile.
    if (this.#picked !== picked) return;
    if (typeof said === "object" && Object.keys(said.roles).length > 0) await this.#lookAgain(said.roles);
    if (said !== undefined || !has_stayed()) return;
    reveal("own", "nearest");
    if (this.looked.value?.unsaid !== undefined) this.asks.value += 1;
  }

  /** Looks at what was picked, whose columns may be others than before. */
  async #look(): Promise<void> {
    const picked = this.#picked;
    if (!picked) return;
    const turn = ++this.#asked;
    clearError();
    this.looked.value = this.#options = undefined;
    this.mending.follow(undefined);
    const reading = { ...this.#reading.options, pairs: this.#pairing };
    try {
      const { source, inspection } = await this.#inspect(picked, reading);
      const columns = await this.#columnsOf({ ...picked, source }, inspection, reading);
      if (turn !== this.#asked) return;
      this.#options = reading;
      this.#show({ inspection, columns, roles: rolesFound(inspection), unsaid: this.#unsaidOf(inspection, rolesFound(inspection)) });
    } catch (thrown) {
      if (turn === this.#asked) this.#hide();
      throw thrown;
    } finally {
      if (turn === this.#asked) await this.#changed();
    }
  }

  /** Its letters or its first line are to be read in another way; what was said of its columns holds if they are the same. */
  async #readAgain(): Promise<void> {
    const before = this.looked.value;
    await this.#look();
    const has_said = before !== undefined && Object.keys(before.roles).length > 0;
    if (has_said && String(this.#inspection?.columns) === String(before.inspection.columns)) await this.#lookAgain(before.roles);
  }

  /** Looks at it once more, as the person said that its columns are to be read. */
  async #lookAgain(roles = this.looked.value?.roles, is_mended = false): Promise<void> {
    const [picked, looked] = [this.#picked, this.looked.value];
    if (!picked || !looked || !roles) return;
    const turn = ++this.#asked;
    const has_columns = looked.inspection.columns.length > 0 && !isProse(looked.inspection);
    const unsaid = has_columns ? unsaidOf(roles) : undefined;
    if (unsaid !== undefined) {
      this.#options = undefined;
      this.#show({ ...looked, roles, unsaid }, is_mended);
      return this.#changed();
    }
    const found = await this.#inspectAs(picked, roles);
    const columns = await this.#columnsOf({ ...picked, source: found.source }, found.inspection, found.options);
    if (turn !== this.#asked) return;
    this.#options = found.options;
    const is_known = found.inspection.mapping !== null;
    const found_roles = is_known ? rolesFound(found.inspection) : roles;
    this.#show({ columns, inspection: found.inspection, roles: found_roles, unsaid: this.#unsaidOf(found.inspection, roles) }, is_mended);
    await this.#changed();
  }

  /** Looks at it with these columns; a chat is written in one of two ways. */
  async #inspectAs(picked: Picked, roles: Roles): Promise<{ source: Picked["source"]; inspection: Inspection; options: ImportOptions }> {
    const reading = { ...this.#reading.options, pairs: this.#pairing };
    // Of prose there are no columns to tell.
    if (Object.keys(roles).length === 0) return { ...(await this.#inspect(picked, reading)), options: reading };
    let last;
    for (const unwanted of [[], undefined]) {
      const left_alone: Role[] = unwanted ?? unwantedIn(roles, rolesFound(last!.inspection));
      if (last && left_alone.length === 0) return last;
      for (const columns of columnsOf(roles, left_alone)) {
        const options = { ...reading, columns };
        last = { ...(await this.#inspect(picked, options)), options };
        if (last.inspection.mapping) break;
      }
    }
    return last!;
  }

  /** The first rows, with what was mended. */
  async #inspect({ source }: Picked, options: ImportOptions): Promise<{ source: Picked["source"]; inspection: Inspection }> {
    const mended = await this.mending.source();
    if (mended) {
      this.mending.readBy(options);
      return { source: mended, inspection: await Dataset.inspect(mended, withoutEncoding(options)) };
    }
    const inspection = await Dataset.inspect(source, options);
    this.mending.follow(source instanceof File ? { file: source, inspection, options } : undefined);
    // What was mended before the page was closed is known of a file only now.
    const again = await this.mending.source().catch(() => undefined);
    return again ? { source: again, inspection: await Dataset.inspect(again, withoutEncoding(options)) } : { source, inspection };
  }

  async #columnsOf(picked: Picked, inspection: Inspection, options: ImportOptions): Promise<Column[]> {
    if (isProse(inspection)) return [];
    const { columns: _, pairs: __, ...reading } = options;
    return cellsOf(picked, inspection, this.mending.mends.length > 0 ? withoutEncoding(reading) : reading);
  }

  #unsaidOf(inspection: Inspection, roles: Roles): string | undefined {
    return isUnknown(inspection) ? (unsaidOf(roles) ?? unsaidOf({})) : undefined;
  }

  /** What was imported no longer is what the form says. */
  async #changed(): Promise<void> {
    this.#imported = undefined;
    show("import-report", false);
    this.#on_change();
    this.#keepSaid();
    await this.#lookUpName();
  }

  #keepSaid(): void {
    const looked = this.looked.value;
    if (!looked) return;
    const { encoding, header } = this.#reading.chosen;
    this.#drafts.say({
      roles: looked.roles,
      encoding,
      header,
      pairs: this.#pairs.value,
      name: this.#name.value,
      mends: this.mending.mends,
      skips_bad: this.#skip.checked,
      leaves_twins: this.#no_twins.checked,
    });
  }

  /** A question and its answer are asked as a chat, unless the person wants them learnt as bare text. */
  get #pairing(): NonNullable<ImportOptions["pairs"]> {
    return this.#pairs.value === "text" ? "text" : "chat";
  }

  #chosen(): ImportOptions {
    if (!this.#options || this.missing) throw new MissingInput(this.missing ?? UNREADABLE);
    const options = this.mending.mends.length > 0 ? withoutEncoding(this.#options) : this.#options;
    return { ...options, on_bad_row: this.#skip.checked ? "skip" : "stop", deduplicate: this.#no_twins.checked };
  }

  #hide(): void {
    this.looked.value = undefined;
    for (const id of ["own", "read"]) show(id, false);
  }

  /** Shows what is known of the rows. Where some were only mended, those that were found to be bad still are. */
  #show(looked: Looked, is_mended = false): void {
    this.looked.value = looked;
    const { inspection, unsaid } = looked;
    const { file, mapping, rows, bad_rows, problem } = inspection;
    const is_unknown = isUnknown(inspection);
    const many = Array.isArray(this.#picked?.source) || (this.#picked?.source as { kind?: string })?.kind === "directory";
    write("found", foundWords(inspection));
    const notes = many ? [`First of the files: ${file}.`] : [];
    if (isProse(inspection) && !problem) notes.push("The text is cut into rows at blank lines.");
    else if (problem && rows.length === 0 && !is_unknown) notes.push(problem);
    write("found-note", notes.join(" "));
    write("columns-note", unsaid ?? "");
    show("preference-note", this.kind !== undefined && this.kind !== "examples");
    show("pairs-label", mapping?.shape === "prompt_completion" || mapping?.shape === "alpaca");
    this.#reading.show(inspection);
    // Where no column is known yet, the same is wrong with every row.
    const bad = is_unknown && rows.length === 0 ? [] : [...bad_rows, ...brokenRowIn(inspection)];
    if (is_mended) this.mending.add(bad);
    else this.mending.show(bad);
    for (const id of ["own", "read"]) show(id, true);
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
