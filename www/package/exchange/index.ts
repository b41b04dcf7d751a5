/** Adapters as things that people exchange: cards and signatures, files, links, hubs, galleries and a shelf. No engine is needed. */
export { TabtuneError } from "../tabtune-error.js";
export type { Asking } from "./bounded.js";
export { cardFor, readCard, withCard, type AdapterCard, type CardDetails } from "./card.js";
export { fetchAdapter, type FetchOptions } from "./fetch.js";
export { galleryIndex, openGallery, readGallery, type CardSummary, type Exhibit, type Gallery, type GalleryEntry } from "./gallery.js";
export { checkAdapter, fitOf, inspectAdapter, type AdapterBase, type AdapterFit, type AdapterInspection, type CheckedAdapter } from "./inspect.js";
export { CARD_FILE, type ExchangedFiles, type ExchangeLimits } from "./limits.js";
export { adapterLink, linked } from "./link.js";
export { adapterFile, readAdapter, share, type PickedAdapter } from "./share.js";
export { openShelf, Shelf, type ShelvedAdapter } from "./shelf.js";
export { sign, signer, verify, type Signer, type Verified } from "./signature.js";
export { openZip, type ZipEntry, type ZipLimits, type ZipProblem } from "./unzip.js";
export { uploadAdapter, type Uploaded, type UploadOptions } from "./upload.js";
