export { Dataset, type ImportRequest } from "./dataset.js";
export { TabtuneError, type ErrorCode } from "./errors.js";
export type { FolderSource, HubOptions } from "./files.js";
export { cachedModels, forgetModel, type CachedModel } from "./hub/models.js";
export { VERSION } from "./protocol.js";
export type { DataSource } from "./sources/types.js";
export { Trainer, type LoadOptions, type RunOptions } from "./trainer.js";
export { webgpuProblem } from "./webgpu.js";
export type * from "./types.js";
