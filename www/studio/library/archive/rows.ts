/**
 * A row as an import reads it back into just what it is now. Only a question and its answer are kept otherwise than they can be
 * written: as two chats, and a mark that says they are a pair. Everything else is read as it stands.
 */
export function importable(row: object): object {
  const { prompt, completion, pair, ...rest } = row as { prompt?: Turn[]; completion?: Turn[]; pair?: unknown };
  if (pair !== true || !Array.isArray(prompt) || !Array.isArray(completion)) return row;
  const has_system = prompt[0]?.role === "system";
  const history = prompt.slice(has_system ? 1 : 0, -1);
  return {
    ...rest,
    question: prompt.at(-1)?.content,
    answer: completion[0]?.content,
    ...(has_system && { system: prompt[0]!.content }),
    ...(history.length > 0 && { history }),
  };
}

interface Turn {
  role: string;
  content: string;
}

/** Bytes of text that are packed at a time. */
const PIECE = 4 << 20;

/** Rows as JSON lines, in pieces that are whole lines. */
export async function* linesOf(rows: AsyncIterable<object>): AsyncGenerator<string, void, undefined> {
  let lines: string[] = [];
  let length = 0;
  for await (const row of rows) {
    const line = `${JSON.stringify(row)}\n`;
    if (length + line.length > PIECE && length > 0) {
      yield lines.join("");
      [lines, length] = [[], 0];
    }
    lines.push(line);
    length += line.length;
  }
  if (length > 0) yield lines.join("");
}
