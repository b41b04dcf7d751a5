// The kernels of the CPU engine by name.
import { readFileSync } from "node:fs";

const text = readFileSync(new URL("../../cpu/src/table.rs", import.meta.url), "utf8");
const names = [...text.slice(text.indexOf("\ntable! {")).matchAll(/^ {4}"([^"]+)":/gm)].map(([, name]) => name);

/** The index of each kernel in their table. */
export const KERNELS = Object.fromEntries(names.map((name, index) => [name, index]));
