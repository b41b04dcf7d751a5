/** Someone's words in a row, and who says them. */
export interface Saying {
  who: string;
  /** How it is drawn: the one who asks, the one who answers, or neither. */
  side: "asking" | "answering" | "neither";
  text: string;
  /** Where in the row the words stand. */
  path: (string | number)[];
}

const ROLES: Record<string, string> = { user: "Question", assistant: "Answer", system: "Instruction" };

const PARTS: Record<string, string> = {
  prompt: "Question",
  completion: "Answer",
  text: "Text",
  chosen: "Better answer",
  rejected: "Worse answer",
};

/** What a row says, as a dataset keeps it, in the order in which it is read. */
export function sayingsOf(row: object): Saying[] {
  // That a question and its answer are a pair is for the engine to know.
  const said = Object.entries(row).filter(([part]) => part !== "pair" && part !== "prompt");
  // What is asked is read first, wherever it is written.
  if ("prompt" in row) said.unshift(["prompt", row.prompt]);
  return said.flatMap(([part, value]) => spoken(part, value));
}

/** A row in which other words stand at that place. */
export function withWords(row: object, path: (string | number)[], text: string): object {
  const changed = structuredClone(row) as Record<string | number, unknown>;
  let part = changed;
  for (const step of path.slice(0, -1)) part = part[step] as Record<string | number, unknown>;
  part[path.at(-1)!] = text;
  return changed;
}

/** One saying for a string, one for each message of a list. */
function spoken(part: string, value: unknown): Saying[] {
  if (part === "label" && typeof value === "boolean") return [{ who: "Rated", side: "neither", text: value ? "good" : "bad", path: [] }];
  if (!Array.isArray(value)) return [{ who: PARTS[part] ?? part, side: sideOf(part), text: String(value), path: typeof value === "string" ? [part] : [] }];
  return value.map(({ role, content }: { role: string; content: unknown }, index) => {
    const is_one_of_two = part === "rejected" || (part === "chosen" && role === "assistant");
    const who = (is_one_of_two ? PARTS[part] : undefined) ?? ROLES[role] ?? role;
    const is_text = typeof content === "string";
    return { who, side: sideOf(role), text: String(content), path: is_text ? [part, index, "content"] : [] };
  });
}

function sideOf(part: string): Saying["side"] {
  if (part === "user" || part === "prompt") return "asking";
  return part === "assistant" || part === "completion" || part === "chosen" || part === "rejected" ? "answering" : "neither";
}
