// The types that the package exports, by what they are about.
export type * from "./types/answer.js";
export type * from "./types/data.js";
export type * from "./types/files.js";
export type * from "./types/model.js";
export type * from "./types/options.js";
export type * from "./types/run.js";
