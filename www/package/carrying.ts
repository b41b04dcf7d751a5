import { library } from "./datasets.js";
import { cancelled, failure } from "./errors.js";
import type { Calls } from "./protocol.js";
import type { ProgressCallback } from "./types.js";

/** Bytes that are taken in at once. */
const PIECE_BYTES = 4 << 20;

/** Takes the last checkpoint of a run out of the browser's storage. */
export async function takeOut(
  { run_name }: Calls["export_run"]["args"],
  report: ProgressCallback,
  signal: AbortSignal,
): Promise<Calls["export_run"]["result"]> {
  const run = await (await library()).export_run(run_name);
  try {
    const total = run.total();
    const pieces: Blob[] = [];
    let loaded = 0;
    for (let piece = await run.next(); piece; piece = await run.next()) {
      if (signal.aborted) throw cancelled();
      loaded += piece.length;
      // A browser may put blobs on its disk, so that no memory holds all of them.
      pieces.push(new Blob([piece as Uint8Array<ArrayBuffer>]));
      tell(report, run_name, Math.min(loaded, total), total);
    }
    return new Blob(pieces, { type: "application/octet-stream" });
  } finally {
    run.free();
  }
}

/** Takes one in that was taken out, here or elsewhere. */
export async function takeIn(
  { run_name, bytes, overwrite }: Calls["import_run"]["args"],
  report: ProgressCallback,
  signal: AbortSignal,
): Promise<Calls["import_run"]["result"]> {
  const run = await (await library()).import_run(run_name, overwrite);
  try {
    for (let start = 0; start < bytes.size; start += PIECE_BYTES) {
      const piece = await bytesOf(bytes.slice(start, start + PIECE_BYTES), run_name);
      if (signal.aborted) throw cancelled();
      await run.push(piece);
      tell(report, run_name, start + piece.length, bytes.size);
    }
    return await run.finish();
  } catch (thrown) {
    // What the engine refused is gone already.
    await run.give_up().catch(() => {});
    throw thrown;
  } finally {
    run.free();
  }
}

async function bytesOf(piece: Blob, run_name: string): Promise<Uint8Array> {
  try {
    return new Uint8Array(await piece.arrayBuffer());
  } catch (thrown) {
    throw failure("io", `the bytes of run "${run_name}" cannot be read: ${String(thrown)}`);
  }
}

function tell(report: ProgressCallback, name: string, loaded: number, total: number): void {
  report({ status: "progress", name, file: "", loaded, total, progress: total === 0 ? 100 : (100 * loaded) / total });
}
