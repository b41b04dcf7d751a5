/** How files become rows. */
export interface ImportOptions {
  /**
   * The columns that stand for the usual ones, for files that name them differently, e.g.
   * `{ prompt: "Frage", completion: "Antwort" }`. Parts are `prompt`, `completion`, `messages`, `text` and the like,
   * and beside them `system` (what the system says) and `input` (what the question is about).
   */
  columns?: Record<string, string>;
  /**
   * What a question and its answer, two texts, become: a user's and an assistant's turn (`"chat"`), or bare text
   * (`"text"`). Default `"auto"`: columns called `prompt` and `completion` are bare text, as in TRL, and every other
   * pair is a chat. A model without chat template learns the chat as text.
   */
  pairs?: "auto" | "chat" | "text";
  /** Stop with an error at the first bad row (default), or leave bad rows out and count them. */
  on_bad_row?: "stop" | "skip";
  /** Add to the rows that are there instead of replacing them. Default false. */
  append?: boolean;
  /** Leave out rows that the import has met before. Default false. */
  deduplicate?: boolean;
  /** What stands between the fields of CSV and TSV files. Default: found out. */
  delimiter?: string;
  /**
   * Whether the first line of CSV and TSV files, or the first row of a workbook, names the columns (default). Else
   * they are called "0", "1" and so on.
   */
  header?: boolean;
  /** How text files store characters, where no byte order mark says so. Default: "utf-8". */
  encoding?: Encoding;
  /** The most characters of a row that is cut out of plain text or Markdown. Default 2000. */
  text_chars?: number;
}

/** How characters are stored. */
export type Encoding = "utf-8" | "utf-16le" | "utf-16be" | "windows-1252";

/** A row that was left out of an import. */
export interface BadRow {
  file: string;
  /** What `place` counts. */
  unit: "line" | "row";
  /** Counted from one. */
  place: number;
  reason: string;
}

/** The shapes that rows come in. */
export type RowShape = "messages" | "prompt_completion" | "text" | "alpaca" | "sharegpt" | "preference" | "unpaired_preference";

/** What an import found. */
export interface ImportReport {
  /** Rows that were kept. */
  rows: number;
  /** How many of them came in each shape. */
  shapes: Partial<Record<RowShape, number>>;
  /** Bad rows that were left out. */
  skipped: number;
  /** The first of these. */
  bad_rows: BadRow[];
  /** Rows that were left out because they had been met before. */
  duplicates: number;
  /** Columns that held something and were not used, such as `label`, with the number of rows in which they did. */
  ignored_columns: Record<string, number>;
  /** What is worth knowing of the rows that were kept, e.g. "empty-cells". */
  notices: Notice[];
  /**
   * The first hundred files of a folder or list, and sheets of workbooks, that were left out: hidden ones, such as
   * describe the data, splits other than "train", and what is no data.
   */
  ignored_files: IgnoredFile[];
}

/** A file that was not imported. */
export interface IgnoredFile {
  file: string;
  reason: string;
}

/** The first rows of a file and how they would be read. */
export interface Inspection {
  file: string;
  format: "jsonl" | "json" | "csv" | "tsv" | "text" | "markdown" | "rows" | "sheet";
  /** How these rows were read; what to pass on where the notice "encoding" asks for it and they look right. */
  encoding: Encoding;
  columns: string[];
  /** The shape of the first row and the column that each of its parts is read from; null if it is unknown. */
  mapping: { shape: RowShape; columns: Record<string, string> } | null;
  /** Why the first row, or the file from some place on, cannot be read. */
  problem: string | null;
  /** The rows as they would be kept. */
  rows: object[];
  bad_rows: BadRow[];
  /**
   * What may be meant otherwise: "encoding" (the file is not UTF-8 and was read as Windows-1252), "no-header" (the
   * first line looks like a row), "empty-cells", "ignored-files" (of a folder or workbook, not all is imported).
   */
  notices: Notice[];
}

/** A dataset without its rows. */
export interface DatasetInfo {
  name: string;
  rows: number;
  bytes: number;
  /** The same for the same rows in the same order; empty without rows. */
  fingerprint: string;
  files: string[];
  /** Rows that an interrupted import has stored; null where there is none. */
  pending_rows: number | null;
  /** Tokens and the like, for each model and options that the rows were tokenised for. */
  token_sets: DatasetReport[];
}

/** A row as a dataset keeps it, and where it came from. */
export interface StoredRow {
  row: object;
  file: string;
  unit: "line" | "row";
  place: number;
}

/** A row as the loaded model sees it. */
export interface SeenRow {
  /** E.g. "chats.jsonl line 17". */
  origin: string;
  tokens: SeenToken[];
  /** Tokens before the row was cut to `max_length`. */
  full_length: number;
  /** Whether the answer is rated good, where answers are rated. */
  label?: boolean;
  /** Of a pair, whose chosen answer is above, the prompt with the rejected one. */
  rejected?: { tokens: SeenToken[]; full_length: number };
}

/** A token of a row. */
export interface SeenToken {
  id: number;
  /** What it adds to the text; a character of several tokens comes with its last one. */
  text: string;
  /** Whether the loss counts it. */
  labelled: boolean;
  /** Whether it is a special token, such as the end of a turn. */
  special: boolean;
}

/** How long the rows of a dataset are, in tokens and before they are cut. */
export interface Lengths {
  longest: number;
  /** Rows of `i * width` to `(i + 1) * width - 1` tokens, by i. */
  rows: number[];
  width: number;
  /** Rows that are cut to `max_length`. */
  cut_rows: number;
  /** Tokens that are cut off. */
  cut_tokens: number;
}

/** Something that is no error and is worth telling a person. */
export interface Notice {
  /** A word to match on, e.g. "pairs-as-text". */
  code: string;
  /** The same for people: what was found, in how many rows, and what to do where it is not wanted. */
  message: string;
}

/** What became of the rows of a dataset when they were tokenised. */
export interface DatasetReport {
  rows: number;
  kept: number;
  /** Rows that are not trained on: those without a single labelled token, and those that were skipped. */
  dropped: number;
  /** Rows among these that the model's chat template or tokenizer refuses, left out as `on_bad_row` asked. */
  skipped: number;
  /** The first of these. */
  bad_rows: BadRow[];
  /** Rows cut to `max_length`. */
  truncated: number;
  tokens: number;
  labelled_tokens: number;
  /** The longest kept row, in tokens. */
  longest: number;
  /**
   * What is worth knowing of how the rows were read, e.g. "template-drops-text" where the chat template leaves out
   * thoughts, or "answers-cut" where `max_length` cuts rows before anything that is to be learnt.
   */
  notices: Notice[];
}
