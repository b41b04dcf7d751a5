/** What a page loads only where it looks into the browser's cache of models, takes some out, or puts some in. */
export { exportModel } from "./hub/export.js";
export { importModel } from "./hub/import.js";
export { cachedModels, forgetModel } from "./hub/models.js";
export { VERSION } from "./protocol.js";
