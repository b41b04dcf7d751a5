/** The splits of a dataset and the words for them in paths, as `datasets` knows them. */
const WORDS = { train: "train|training", validation: "validation|valid|dev|val", test: "test|testing|eval|evaluation" };

const SPLITS = Object.entries(WORDS).map(([split, words]) => {
  return { split, in_path: new RegExp(`(^|[-._ 0-9/])(${words})([-._ 0-9/]|$)`, "i"), alone: new RegExp(`^(${words})$`, "i") };
});

/**
 * Which files of a folder are no training rows, and why: what `load_dataset(folder, split="train")` passes over.
 * Files that were picked one by one are all meant.
 */
export function splitsOf(paths: string[]): Map<string, string> {
  const splits = new Map(paths.filter((path) => path.includes("/")).map((path) => [path, splitOf(path)]));
  const found = new Set(splits.values());
  // A folder of nothing but test rows was picked for these.
  if (!found.has("train") && !found.has(undefined)) return new Map();
  const wanted = found.has("train") ? "train" : undefined;
  const others = [...splits].filter(([, split]) => split !== wanted);
  const reason = (split: string | undefined) => {
    const is = split === undefined ? "belongs to no split" : `is of the split "${split}"`;
    return `${is}: of a folder with splits, only training rows are imported`;
  };
  return new Map(others.map(([path, split]) => [path, reason(split)]));
}

/** The split of a file by the folders that it lies in, else by its name; the picked folder's own name says nothing. */
function splitOf(path: string): string | undefined {
  const [folders, name] = /^[^/]*\/(.*\/)?([^/]*)$/.exec(path)!.slice(1) as [string | undefined, string];
  const among = (text: string) => SPLITS.find(({ in_path }) => in_path.test(text))?.split;
  const by_folder = folders && among(folders);
  if (by_folder) return by_folder;
  // In prose such words are about anything: only a text file that is called by one alone is of a split.
  if (/\.(md|markdown)(\.gz)?$/i.test(name)) return undefined;
  const text = /^(.*)\.txt(\.gz)?$/i.exec(name);
  if (text) return SPLITS.find(({ alone }) => alone.test(text[1]!))?.split;
  return among(name);
}
