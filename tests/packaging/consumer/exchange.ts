// Uses every name that tabtune/exchange exports, for the type checker alone.
import { TabtuneError, type AdapterFiles } from "tabtune";
import {
  adapterFile,
  adapterLink,
  CARD_FILE,
  cardFor,
  checkAdapter,
  fetchAdapter,
  fitOf,
  galleryIndex,
  inspectAdapter,
  linked,
  openGallery,
  openShelf,
  openZip,
  readAdapter,
  readCard,
  readGallery,
  share,
  Shelf,
  sign,
  signer,
  TabtuneError as SameError,
  uploadAdapter,
  verify,
  withCard,
  type AdapterBase,
  type AdapterCard,
  type AdapterFit,
  type AdapterInspection,
  type Asking,
  type CardDetails,
  type CardSummary,
  type CheckedAdapter,
  type ExchangedFiles,
  type ExchangeLimits,
  type Exhibit,
  type FetchOptions,
  type Gallery,
  type GalleryEntry,
  type PickedAdapter,
  type ShelvedAdapter,
  type Signer,
  type Uploaded,
  type UploadOptions,
  type Verified,
  type ZipEntry,
  type ZipLimits,
  type ZipProblem,
} from "tabtune/exchange";

/** One class of errors, whichever entry it comes from. */
export const same: typeof TabtuneError = SameError;

export async function passOn(saved: AdapterFiles, details: CardDetails, token: string): Promise<Uploaded> {
  const card: AdapterCard = await cardFor(saved, details);
  const me: Signer = await signer();
  const files: ExchangedFiles = me.name === "" ? withCard(saved, card) : await sign(saved, card);
  await share(adapterFile(files, card.title));
  const bytes = files[CARD_FILE];
  if (bytes) readCard(bytes);
  const options: UploadOptions = { repo: "somebody/recipes", token, files };
  return uploadAdapter(options);
}

export async function take(picked: PickedAdapter, base: AdapterBase, limits: ExchangeLimits): Promise<ShelvedAdapter> {
  const files = await readAdapter(picked, limits);
  const inspection: AdapterInspection = await inspectAdapter(files, limits);
  const verified: Verified = await verify(files);
  const fit: AdapterFit = fitOf(inspection, verified.card, base);
  const checked: CheckedAdapter = await checkAdapter(files, base);
  const shelf: Shelf = await openShelf();
  return shelf.put(fit.fits === "yes" ? "mine" : "theirs", checked.files);
}

export async function look(asking: Asking, limits: ExchangeLimits): Promise<CardSummary[]> {
  const address = linked(location) ?? adapterLink(location.href, "https://gallery.example/a.zip");
  const options: FetchOptions = { ...asking, limits };
  const adapter = await fetchAdapter(address, options);
  const exhibits: Exhibit[] = [{ name: "a", path: "a.zip", bytes: 1, adapter }];
  readGallery(new TextEncoder().encode(await galleryIndex(exhibits)), address);
  const gallery: Gallery = await openGallery("https://gallery.example/", asking);
  return gallery.search("recipes").map((entry: GalleryEntry) => entry.card);
}

export async function unpack(zip: Blob): Promise<Uint8Array[]> {
  const limits: ZipLimits = { directory: 1 << 16, refuse: (problem: ZipProblem, found) => new Error(`${problem}: ${found}`) };
  const entries: ZipEntry[] = await openZip(zip, limits);
  return Promise.all(entries.filter(({ name, bytes, packed }) => name !== "" && bytes <= 100 * packed).map((entry) => entry.read()));
}
