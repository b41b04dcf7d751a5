/** What a page loads only where it takes models out of the browser's cache, or puts some in. */
export { exportModel } from "./hub/export.js";
export { importModel } from "./hub/import.js";
export { VERSION } from "./protocol.js";
