import { checkAdapter, fetchAdapter, linked, openGallery, readAdapter, type Gallery, type GalleryEntry } from "tabtune/exchange";
import { smallButton } from "../ui/buttons.js";
import type { Busy } from "../shell/busy.js";
import type { CardDialog, Offer } from "./card-dialog.js";
import { cardView } from "./card-view.js";
import { element, make, show, write } from "../ui/dom.js";
import { showError } from "../shell/errors.js";
import { bytes, count } from "../ui/format.js";
import { MissingInput } from "../ui/missing.js";
import { hubIdIn } from "../train/model-name.js";
import { galleryLines } from "./shelf-words.js";
import { stored } from "../ui/stored.js";

/** Where the page remembers which gallery was opened last. */
const GALLERY = "tabtune:gallery";
/** Cards of a gallery that are shown at a time; whoever looks for others searches. */
const MOST_CARDS = 60;

const NOTHING_YET = "Nothing of it was downloaded yet. What comes is checked before it is used.";

/** Adapters from elsewhere: files, links, addresses, hubs and galleries. Each is shown before it is kept or used. */
export class Getting {
  readonly #busy: Busy;
  readonly #card: CardDialog;
  readonly #address = element<HTMLInputElement>("get-from");
  readonly #gallery_at = element<HTMLInputElement>("gallery-at");
  readonly #search = element<HTMLInputElement>("gallery-search");
  #gallery: Gallery | undefined;

  constructor(busy: Busy, card: CardDialog) {
    this.#busy = busy;
    this.#card = card;
    const picker = element<HTMLInputElement>("shelf-file");
    element("shelf-add").addEventListener("click", () => picker.click());
    picker.addEventListener("change", () => {
      const files = [...(picker.files ?? [])];
      picker.value = "";
      if (files.length > 0) void this.#read(files);
    });
    onSubmit("get", () => this.#look());
    onSubmit("gallery", () => void this.#openGallery());
    this.#search.addEventListener("input", () => this.#showCards());
    addEventListener("hashchange", () => this.#follow());
  }

  /** Follows the link that the page was opened by, if it was one to an adapter. */
  begin(): void {
    this.#gallery_at.value = stored.get<string>(GALLERY) ?? "";
    this.#follow();
  }

  #follow(): void {
    try {
      const address = linked(location);
      if (address === undefined) return;
      this.#card.ask(offerOf(address, `A link led here, to an adapter at ${new URL(address).host}. ${NOTHING_YET}`));
    } catch (thrown) {
      showError(thrown);
    }
    // Asked once; going back or loading the page anew does not ask again.
    history.replaceState(history.state, "", location.pathname + location.search);
  }

  async #read(picked: File[]): Promise<void> {
    await this.#busy.run(async () => {
      const [first] = picked;
      const zip = picked.length === 1 && /\.zip$/i.test(first!.name) ? first : undefined;
      const files = await readAdapter(zip ?? picked);
      this.#card.look(await checkAdapter(files), zip ? zip.name.replace(/\.zip$/i, "") : "adapter");
    });
  }

  /** Downloads what the person gave the address of, which is all that they would be asked. */
  #look(): void {
    const address = this.#address.value.trim();
    if (!address) return showError(new MissingInput("Write where the adapter lies: an address, or its name on Hugging Face."));
    this.#card.ask(offerOf(address, NOTHING_YET));
    void this.#card.fetch();
  }

  async #openGallery(): Promise<void> {
    const address = this.#gallery_at.value.trim();
    if (!address) return showError(new MissingInput("Write the address of a gallery."));
    await this.#busy.run(async (signal) => {
      const gallery = (this.#gallery = await openGallery(address, { signal }));
      stored.set(GALLERY, address);
      write("gallery-name", gallery.name ?? new URL(gallery.address).host);
      this.#search.value = "";
      this.#showCards();
    });
  }

  #showCards(): void {
    const found = this.#gallery?.search(this.#search.value) ?? [];
    element("gallery-cards").replaceChildren(...found.slice(0, MOST_CARDS).map((entry) => this.#cardOf(entry)));
    const shown = found.length > MOST_CARDS ? `, of which ${MOST_CARDS} are shown: search for others` : "";
    write("gallery-count", count(found.length, "adapter") + shown);
    show("gallery-found", true);
    this.#busy.update();
  }

  #cardOf(entry: GalleryEntry): HTMLElement {
    const name = entry.card.title ?? entry.name;
    const lines = galleryLines(entry.card);
    const about = `It lies at ${new URL(entry.address).host} and has ${bytes(entry.bytes)}. ${NOTHING_YET}`;
    const offer: Offer = { name, about, lines, fetch: fetching(entry) };
    const title = make("h4", "");
    title.textContent = name;
    return make("article", "row-card", title, cardView(lines), smallButton("Try it", name, () => this.#card.ask(offer)));
  }
}

function offerOf(address: string, about: string): Offer {
  const id = hubIdIn(address);
  const path = URL.canParse(address, location.href) ? new URL(address, location.href).pathname : "";
  const last = path.split("/").filter(Boolean).at(-1)?.replace(/\.zip$/i, "");
  return { name: id ?? (last || "adapter"), about, lines: [["Lies at", id ?? address]], fetch: fetching(address) };
}

function fetching(source: string | GalleryEntry): Offer["fetch"] {
  return (signal, report) => fetchAdapter(source, { signal, on_progress: ({ progress }) => progress !== undefined && report(progress) });
}

function onSubmit(id: string, act: () => void): void {
  element(id).addEventListener("submit", (event) => {
    event.preventDefault();
    act();
  });
}
