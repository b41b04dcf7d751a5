/** What a page loads only where it asks whether a model got better, or where a run has more to do than its steps. */
export { accompanied } from "./evaluation/companion.js";
export { evaluateRows } from "./evaluation/evaluate.js";
export { forgettingOf } from "./evaluation/forgetting.js";
export { gridOf } from "./evaluation/samples.js";
export { VERSION } from "./protocol.js";
