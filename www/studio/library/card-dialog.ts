import type { CheckedAdapter, ExchangedFiles, ShelvedAdapter } from "tabtune/exchange";
import type { Busy } from "../shell/busy.js";
import { cardView } from "./card-view.js";
import { Dialog } from "../ui/dialog.js";
import { element, show, write } from "../ui/dom.js";
import type { Giveable } from "./giving.js";
import { linesOf, type Base, type Line, type Told } from "./shelf-words.js";

/** An adapter that is kept, with all that its card tells. */
export type Shown = Told & Giveable;

/** An adapter that came from outside and is not kept yet. */
export interface Found {
  files: ExchangedFiles;
  /** What it may be called on the shelf. */
  name: string;
}

/** What lies somewhere, before anything of it is downloaded. */
export interface Offer {
  name: string;
  /** Where it lies and how it came to be offered. */
  about: string;
  /** What is said of it there. */
  lines: Line[];
  /** Downloads and checks it; `report` hears how far that has come, in percent. */
  fetch(signal: AbortSignal, report: (percent: number) => void): Promise<CheckedAdapter>;
}

/** What the dialog asks of the page. */
interface Page {
  base(): Base | undefined;
  /** Puts it on the shelf. */
  keep(found: Found): Promise<ShelvedAdapter>;
  /** Lets it answer. */
  try(entry: ShelvedAdapter): void;
  give(entry: Giveable): void;
}

/** The buttons of the dialog but for that which closes it; which of them there are depends on what is shown. */
const BUTTONS = ["card-fetch", "card-try", "card-keep", "card-give"] as const;

const CHECKED = "It was read and checked. Nothing of it is kept or used yet.";

/** The dialog that shows the card of an adapter: of one on the shelf, of one that was brought, or of one that would have to be downloaded. */
export class CardDialog {
  readonly #page: Page;
  readonly #dialog: Dialog;
  #offer: Offer | undefined;
  #found: Found | undefined;
  #entry: Shown | undefined;

  constructor(busy: Busy, page: Page) {
    this.#page = page;
    this.#dialog = new Dialog("card", busy);
    element("card-fetch").addEventListener("click", () => void this.fetch());
    element("card-try").addEventListener("click", () => void this.#keep(true));
    element("card-keep").addEventListener("click", () => void this.#keep(false));
    element("card-give").addEventListener("click", () => {
      this.#dialog.close();
      this.#page.give(this.#entry!);
    });
  }

  /** Shows the card of an adapter that is kept. */
  show(entry: Shown): void {
    this.#entry = entry;
    this.#fill(entry.name, "", linesOf(entry, this.#page.base()), ["card-give"], "Close");
  }

  /** Shows the card of an adapter that was checked. */
  look({ files, inspection, verified }: CheckedAdapter, name: string): void {
    const { card, signed, by, fingerprint } = verified;
    const signed_by = signed === "yes" ? { name: by ?? "", fingerprint: fingerprint ?? "" } : null;
    const title = card?.title ?? name;
    this.#found = { files, name: title };
    this.#fill(title, CHECKED, linesOf({ inspection, card, signed_by }, this.#page.base()), ["card-try", "card-keep"], "Not now");
  }

  /** Asks whether an adapter is to be downloaded. */
  ask(offer: Offer): void {
    this.#offer = offer;
    this.#fill(`Try “${offer.name}”?`, offer.about, offer.lines, ["card-fetch"], "Not now");
  }

  /** Downloads what was offered, and shows its card. */
  async fetch(): Promise<void> {
    const offer = this.#offer!;
    const bar = element<HTMLProgressElement>("card-progress");
    bar.removeAttribute("value");
    show("card-progress", true);
    await this.#dialog.run(async (signal) => this.look(await offer.fetch(signal, (percent) => (bar.value = percent)), offer.name));
    show("card-progress", false);
  }

  async #keep(tries: boolean): Promise<void> {
    let entry: ShelvedAdapter | undefined;
    await this.#dialog.run(async () => void (entry = await this.#page.keep(this.#found!)));
    if (!entry) return;
    this.#dialog.close();
    if (tries) this.#page.try(entry);
  }

  #fill(title: string, about: string, lines: Line[], buttons: readonly (typeof BUTTONS)[number][], close: string): void {
    write("card-title", title);
    write("card-about", about);
    element("card-lines").replaceChildren(cardView(lines));
    for (const id of BUTTONS) show(id, buttons.includes(id));
    write("card-close", close);
    const goes_on = this.#dialog.is_open;
    this.#dialog.open();
    // The button that had the keyboard is gone; opening gives it to the first one by itself.
    if (goes_on) element(buttons[0]!).focus();
  }
}
