/** What rows that came from no file are said to be read from, where the package wants the name of a file. */
export const TYPED = "typed on this page";

/** What the package calls rows of a program, such as those that were picked in a chat, or came out of an exported library. */
const OF_A_PROGRAM = "rows.jsonl";

/** The files that rows kept under a name were read from, as far as they say more than the name does. */
export function filesOf(name: string, files: readonly string[]): string[] {
  return files.filter((file) => ![name, `${name}.jsonl`, TYPED, OF_A_PROGRAM].includes(file));
}
