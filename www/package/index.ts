export { Dataset } from "./dataset.js";
export { TabtuneError, type ErrorCode } from "./errors.js";
export type { FolderSource } from "./files.js";
export { VERSION } from "./protocol.js";
export { Trainer, type LoadOptions, type RunOptions } from "./trainer.js";
export { webgpuProblem } from "./webgpu.js";
export type * from "./types.js";
