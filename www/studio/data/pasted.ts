/** The name, and so the format, of rows that were pasted: tables come out of spreadsheets with tabs. */
export function pastedName(text: string): string {
  const [first = "", second] = text.trimStart().split(/\r?\n/);
  if (first.startsWith("{")) return "pasted.jsonl";
  if (first.startsWith("[")) return "pasted.json";
  if (first.includes("\t")) return "pasted.tsv";
  return second !== undefined && /[,;]/.test(first) && /[,;]/.test(second) ? "pasted.csv" : "pasted.txt";
}
