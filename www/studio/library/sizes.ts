import { bytes } from "../ui/format.js";

/** What something takes; of little things every byte is told, as nothing that is there takes nothing. */
export function sizeWords(count: number): string {
  return count < 1000 ? `${count} ${count === 1 ? "byte" : "bytes"}` : bytes(count);
}
