import type { ImportOptions, Inspection } from "tabtune";
import { element, make, show } from "../ui/dom.js";

type Encoding = NonNullable<ImportOptions["encoding"]>;

/** Formats whose first line may hold names. */
const TABLES: readonly string[] = ["csv", "tsv", "sheet"];

/** What is worth knowing, in the words of the page, which has controls for it. */
const WORDS: Partial<Record<string, string>> = {
  encoding: "This file is not UTF-8. Its rows are shown as Windows-1252, which older programs write. Are their letters right?",
  "no-header": "The first line looks like a row, and not like the names of columns.",
};

/** How the bytes of a file become cells: how its letters are written, and whether its first line holds names. */
export class Reading {
  readonly #encoding = element<HTMLSelectElement>("encoding");
  readonly #header = element<HTMLInputElement>("header");

  /** `on_change` is told when the person chose something. */
  constructor(on_change: () => void) {
    for (const field of [this.#encoding, this.#header]) field.addEventListener("change", on_change);
    element("other-encoding").addEventListener("click", () => {
      this.#encoding.value = "windows-1252";
      on_change();
    });
  }

  /** Begins anew for another file. */
  reset(): void {
    this.#encoding.value = "";
    this.#header.checked = true;
  }

  /** What the person chose, which can be set again. */
  get chosen(): { encoding: string; header: boolean } {
    return { encoding: this.#encoding.value, header: this.#header.checked };
  }

  set chosen({ encoding, header }: { encoding: string; header: boolean }) {
    this.#encoding.value = encoding;
    this.#header.checked = header;
  }

  get options(): ImportOptions {
    const encoding = this.#encoding.value as Encoding | "";
    return { ...(encoding && { encoding }), ...(this.#header.checked ? {} : { header: false }) };
  }

  /** Offers what can be said of a file of that format, and tells what is worth knowing of how it was read. */
  show({ format, notices }: Inspection): void {
    const codes = notices.map(({ code }) => code);
    // How many cells are empty stands at the columns.
    const told = notices.filter(({ code }) => code !== "empty-cells");
    element("found-notices").replaceChildren(...told.map(({ code, message }) => make("li", "", WORDS[code] ?? message)));
    show("header-label", TABLES.includes(format) && (codes.includes("no-header") || !this.#header.checked));
    show("encoding-label", format !== "rows" && format !== "sheet");
    show("other-encoding", codes.includes("encoding"));
  }
}
