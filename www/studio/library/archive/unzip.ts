import { openZip, type ZipEntry, type ZipProblem } from "tabtune/exchange";
import { isZip } from "../adapter-files.js";
import { ArchiveProblem, plain, shown } from "./problem.js";

/** How much of an archive is taken. */
const MOST = {
  /** Bytes of the directory: some 40,000 files with the names that are written here. */
  directory: 4 << 20,
  /** Bytes that a file may become that is larger unpacked. Text is packed in pieces far below that; weights are stored as they are. */
  inflated: 64 << 20,
  /** How many times larger all files together may be than the archive, once they are larger than one such piece. */
  times: 100,
};

/** The files of an archive by their names. Throws for anything that is no whole zip file, or that would become very much. */
export async function entriesOf(zip: Blob): Promise<Map<string, ZipEntry>> {
  if (!isZip(new Uint8Array(await zip.slice(0, 4).arrayBuffer()))) {
    throw new ArchiveProblem("not-an-archive", "That is no library file: choose one that this page has made. Its name ends with .tabtune.");
  }
  const entries = await openZip(zip, { directory: MOST.directory, refuse: refused });
  for (const { name, packed, bytes } of entries) {
    if (bytes > packed && bytes > MOST.inflated) throw tooLarge(shown(name));
  }
  const total = entries.reduce((sum, { bytes }) => sum + bytes, 0);
  if (total > Math.max(MOST.inflated, MOST.times * zip.size)) throw tooLarge("what is packed in it");
  return new Map(entries.map((entry) => [entry.name, entry]));
}

function refused(problem: ZipProblem, found: string): ArchiveProblem {
  switch (problem) {
    case "cut-off":
      return new ArchiveProblem(problem, "The file ends too early: it was not copied or downloaded to its end.");
    case "too-large":
      return tooLarge("its list of files");
    case "damaged":
      return new ArchiveProblem(problem, `The file is damaged: ${plain(found)}. Nothing of it was taken.`);
  }
}

function tooLarge(what: string): ArchiveProblem {
  return new ArchiveProblem("too-large", `The file is refused: ${what} would become far too large.`);
}
