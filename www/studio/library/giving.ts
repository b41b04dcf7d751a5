import {
  adapterFile,
  adapterLink,
  cardFor,
  readCard,
  share,
  sign,
  signer,
  uploadAdapter,
  withCard,
  CARD_FILE,
  type CardDetails,
  type AdapterCard,
  type ExchangedFiles,
} from "tabtune/exchange";
import type { Busy } from "../shell/busy.js";
import { Dialog } from "../ui/dialog.js";
import { element, show, write } from "../ui/dom.js";
import { MissingInput } from "../ui/missing.js";
import { stored } from "../ui/stored.js";

/** Where the page remembers what was written of the giver last. */
const GIVER = "tabtune:giver";

/** What stays the same from one adapter to the next. */
interface Giver {
  license: string;
  author: string;
}

/** An adapter that can be given away. */
export interface Giveable {
  name: string;
  card: AdapterCard | null;
  signed_by: { name: string; fingerprint: string } | null;
  files(): Promise<ExchangedFiles>;
}

const SIGNED = "Somebody else signed it, so it is given as it is: what you would write would not be under their signature.";

/** The dialog in which an adapter is given away: as a file, to a hub, or by a link to where it lies. */
export class Giving {
  readonly #dialog: Dialog;
  readonly #license = element<HTMLInputElement>("give-license");
  readonly #author = element<HTMLInputElement>("give-author");
  readonly #words = element<HTMLTextAreaElement>("give-words");
  readonly #signs = element<HTMLInputElement>("give-sign");
  readonly #repo = element<HTMLInputElement>("give-repo");
  /** Read when it is used, and kept nowhere but in its field. */
  readonly #token = element<HTMLInputElement>("give-token");
  readonly #at = element<HTMLInputElement>("give-at");
  #entry: Giveable | undefined;
  #is_foreign = false;

  constructor(busy: Busy) {
    this.#dialog = new Dialog("give", busy);
    element("give-share").addEventListener("click", () => void this.#dialog.run(() => this.#share()));
    element("give-upload").addEventListener("click", () => void this.#dialog.run((signal) => this.#upload(signal)));
    element("give-copy").addEventListener("click", () => void this.#dialog.run(() => this.#copy()));
    this.#at.addEventListener("change", () => this.#link());
  }

  /** Asks how an adapter is to be given away. */
  open(entry: Giveable): void {
    this.#entry = entry;
    const { license, author } = stored.get<Giver>(GIVER) ?? { license: "", author: "" };
    this.#license.value = entry.card?.license ?? license;
    this.#author.value = entry.card?.author ?? author;
    this.#words.value = entry.card?.words ?? "";
    write("give-title", `Give “${entry.name}” away`);
    write("give-state", "");
    this.#at.value = "";
    this.#link();
    this.#dialog.open();
    this.#offerWords(entry.signed_by !== null);
    if (entry.signed_by) void this.#lookUpSigner(entry.signed_by.fingerprint);
  }

  /** What a card says that somebody else signed stays as it is. */
  #offerWords(is_foreign: boolean): void {
    this.#is_foreign = is_foreign;
    show("give-fields", !is_foreign);
    write("give-about", is_foreign ? SIGNED : "");
  }

  /** Whoever signs in this browser may write their own cards anew. A browser that signs nothing has signed none. */
  async #lookUpSigner(fingerprint: string): Promise<void> {
    const own = await signer().catch(() => undefined);
    if (own?.fingerprint === fingerprint && this.#entry?.signed_by?.fingerprint === fingerprint) this.#offerWords(false);
  }

  /** The files with the card as the person wants it. */
  async #files(): Promise<ExchangedFiles> {
    const { name } = this.#entry!;
    const files = await this.#entry!.files();
    if (this.#is_foreign) return files;
    const [license, author, words] = [this.#license, this.#author, this.#words].map(({ value }) => value.trim());
    if (!license) throw new MissingInput("Write a licence: what others may do with it. “cc0-1.0” lets them do everything.");
    stored.set(GIVER, { license, author });
    const before = files[CARD_FILE] ? readCard(files[CARD_FILE]) : undefined;
    const told: CardDetails = { ...detailsOf(before), title: before?.title ?? name, license, ...(author && { author }), ...(words && { words }) };
    const card = await cardFor(files, told);
    if (!this.#signs.checked) return withCard(files, card);
    const { name: signed_as, fingerprint, rename } = await signer();
    if (author && author !== signed_as) await rename(author.slice(0, 80));
    write("give-key", `Your key is ${fingerprint}: tell it to those who are to know it.`);
    return sign(files, card);
  }

  async #share(): Promise<void> {
    const how = await share(adapterFile(await this.#files(), this.#entry!.name));
    write("give-state", { shared: "It was shared.", downloaded: "It is among your downloads.", cancelled: "" }[how]);
  }

  async #upload(signal: AbortSignal): Promise<void> {
    const repo = this.#repo.value.trim();
    const token = this.#token.value.trim();
    if (!repo || !token) throw new MissingInput("Write the name of a repository, like you/your-adapter, and a token that may write.");
    const files = await this.#files();
    write("give-state", "Uploading…");
    const bar = element<HTMLProgressElement>("give-progress");
    bar.value = 0;
    show("give-progress", true);
    try {
      const on_progress = ({ progress = 0 }) => (bar.value = progress);
      const is_private = element<HTMLInputElement>("give-private").checked;
      const { address } = await uploadAdapter({ repo, token, files, private: is_private, signal, on_progress });
      write("give-state", `It lies at ${address}.`);
      this.#at.value = address;
      this.#link();
    } catch (thrown) {
      write("give-state", "");
      throw thrown;
    } finally {
      show("give-progress", false);
    }
  }

  /** Shows the link to this page that opens the adapter where it lies. */
  #link(): void {
    const field = element<HTMLInputElement>("give-link");
    this.#dialog.tell("");
    let link = "";
    try {
      if (this.#at.value.trim()) link = adapterLink(location.href, this.#at.value.trim());
    } catch (thrown) {
      this.#dialog.tell(thrown instanceof Error ? thrown.message : String(thrown));
    }
    field.value = link;
    show("give-link-part", link !== "");
  }

  async #copy(): Promise<void> {
    await navigator.clipboard.writeText(element<HTMLInputElement>("give-link").value);
    write("give-state", "The link is on the clipboard.");
  }
}

/** What a card tells of how the adapter came to be, without what is of its files and its signature alone. */
function detailsOf(card: ReturnType<typeof readCard> | undefined): CardDetails {
  if (!card) return {};
  const { version: _version, files: _files, signer: _signer, signature: _signature, ...details } = card;
  return details;
}
