import type { ProgressEvent } from "tabtune";
import { bytes, duration } from "../ui/format.js";

/** Says in words how far the loading of a model has come, from the events of the package. */
export class LoadingWords {
  /** When the download of each file began to be told, and how much was there by then. */
  readonly #begun = new Map<string, { at: number; loaded: number }>();

  of({ status, file, loaded = 0, total, progress, remaining_seconds, rows, detail }: ProgressEvent): string {
    if (status === "waiting") return `Waiting to download: ${detail}. See “When to rest”.`;
    if (status === "measure") return "Finding the GPU's fastest kernels…";
    // The last of the rows has come, and what follows tells nothing of itself.
    const is_over = (status === "tokenize" || status === "reference") && progress !== undefined && progress >= 100;
    if (status === "compile" || is_over) return "Getting ready…";
    const done = `${(rows ?? 0).toLocaleString("en")}${left(remaining_seconds)}`;
    if (status === "tokenize") return `Turning the rows into tokens: ${done}`;
    if (status === "reference") return `Asking the model as it was how likely it finds each answer: ${done}`;
    if (status === "download") this.#begun.set(file, { at: performance.now(), loaded: -1 });
    if (status === "done") this.#begun.delete(file);
    const begun = this.#begun.get(file);
    const percent = progress === undefined ? "…" : ` ${progress.toFixed(0)} %`;
    if (!begun) return `Reading ${file}${percent}`;
    // A download that goes on where it broke off begins with what was there, which took no time.
    if (begun.loaded < 0) begun.loaded = loaded;
    const speed = (loaded - begun.loaded) / (performance.now() - begun.at);
    const seconds = total !== undefined && speed > 0 ? (total - loaded) / speed / 1000 : undefined;
    return `Downloading ${file}${percent}${total === undefined ? "" : ` of ${bytes(total)}`}${left(seconds)}`;
  }
}

function left(seconds: number | undefined): string {
  return seconds === undefined ? "" : `, ${duration(seconds)} left`;
}
