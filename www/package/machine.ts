/** What a page loads only where the processor computes. */
export { hintOf } from "./cpu/hint.js";
export { Machine } from "./cpu/machine.js";
export { VERSION } from "./protocol.js";
