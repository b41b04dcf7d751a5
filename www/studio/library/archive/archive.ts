import type { ZipEntry } from "tabtune/exchange";
import { damaged, MANIFEST, MOST_MANIFEST, readManifest, type ArchivedItem, type Manifest } from "./manifest.js";
import { ArchiveProblem, shown } from "./problem.js";
import { sha256 } from "./sums.js";
import { entriesOf } from "./unzip.js";

/** An archive that was looked into: its list is whole and agrees with what is there. Each file is checked as it is read. */
export class Archive {
  readonly manifest: Manifest;
  readonly #entries: Map<string, ZipEntry>;

  private constructor(entries: Map<string, ZipEntry>, manifest: Manifest) {
    this.#entries = entries;
    this.manifest = manifest;
  }

  /** Looks into a file that a person chose. Throws an {@link ArchiveProblem} where it is not to be trusted. */
  static async open(zip: Blob): Promise<Archive> {
    const entries = await entriesOf(zip);
    const told = entries.get(MANIFEST);
    if (!told) throw new ArchiveProblem("not-an-archive", "That is a zip file, but no library that this page has made.");
    if (told.bytes > MOST_MANIFEST) throw new ArchiveProblem("too-large", "The file is refused: its list of what is in it is far too long.");
    const manifest = readManifest(await told.read());
    const files = manifest.items.flatMap((item) => item.files);
    for (const { path, bytes } of files) {
      if (entries.get(path)?.bytes !== bytes) throw damaged(`${shown(path)} is missing, or has another size than is told`);
    }
    if (entries.size !== files.length + 1) throw new ArchiveProblem("unlisted", "The file is refused: it holds files that its list does not tell of.");
    return new Archive(entries, manifest);
  }

  /** How the files of an item are called. */
  namesOf(item: ArchivedItem): string[] {
    return item.files.map(({ path }) => path.split("/").at(-1)!);
  }

  /** A file of an item, which is what it was when it was packed; undefined where the item has none of that name. */
  async read(item: ArchivedItem, name: string): Promise<Uint8Array<ArrayBuffer> | undefined> {
    const file = item.files.find(({ path }) => path.endsWith(`/${name}`));
    if (!file) return undefined;
    const content = await this.#entries.get(file.path)!.read();
    if ((await sha256(content)) !== file.sha256) throw damaged(`the sum of ${shown(file.path)} is not the one that is told`);
    return content;
  }

  /** The same of a file without which the item is nothing. */
  async needed(item: ArchivedItem, name: string): Promise<Uint8Array<ArrayBuffer>> {
    const content = await this.read(item, name);
    if (!content) throw damaged(`${shown(item.name)} has no ${name}`);
    return content;
  }
}
