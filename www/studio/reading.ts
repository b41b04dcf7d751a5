import type { ImportOptions, Inspection } from "tabtune";
import { element, make, show } from "./dom.js";

type Encoding = NonNullable<ImportOptions["encoding"]>;

/** Formats whose first line may hold names. */
const TABLES: readonly string[] = ["csv", "tsv"];

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
    this.tell([], false);
  }

  get options(): ImportOptions {
    const encoding = this.#encoding.value as Encoding | "";
    return { ...(encoding && { encoding }), ...(this.#header.checked ? {} : { header: false }) };
  }

  /** Offers what can be said of a file of that format, and tells what is worth knowing of how it was read. */
  show({ format, notices }: Inspection): void {
    show("header-label", TABLES.includes(format));
    show("encoding-label", format !== "rows");
    this.tell(notices.map(({ message }) => message), notices.some(({ code }) => code === "encoding"));
  }

  /** The same of a file that could not be read: perhaps it can be in the other way of writing letters. */
  tell(notices: string[], offers_encoding: boolean): void {
    element("found-notices").replaceChildren(...notices.map((notice) => make("li", "", notice)));
    show("other-encoding", offers_encoding && this.#encoding.value === "");
  }
}
