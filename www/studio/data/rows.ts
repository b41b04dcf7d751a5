import { make } from "../ui/dom.js";

const ROLES: Record<string, string> = { user: "Question", assistant: "Answer", system: "Instruction" };

const PARTS: Record<string, string> = {
  prompt: "Question",
  completion: "Answer",
  text: "Text",
  chosen: "Better answer",
  rejected: "Worse answer",
};

/** A row as a dataset keeps it, as a card that can be read. */
export function rowCard(row: object): HTMLElement {
  // That a question and its answer are a pair is for the engine to know.
  const said = Object.entries(row).filter(([part]) => part !== "pair" && part !== "prompt");
  // What is asked is read first, wherever it is written.
  if ("prompt" in row) said.unshift(["prompt", row.prompt]);
  const parts = said.flatMap(([part, value]) => spoken(part, value));
  const list = parts.map(([who, text]) => make("div", "said", make("dt", "", who), make("dd", "", text)));
  return make("dl", "row-card", ...list);
}

/** Who says what: one entry for a string, one for each message of a list. */
function spoken(part: string, value: unknown): [string, string][] {
  if (part === "label" && typeof value === "boolean") return [["Rated", value ? "good" : "bad"]];
  if (!Array.isArray(value)) return [[PARTS[part] ?? part, String(value)]];
  return value.map(({ role, content }: { role: string; content: string }) => {
    const is_one_of_two = part === "rejected" || (part === "chosen" && role === "assistant");
    return [(is_one_of_two ? PARTS[part] : undefined) ?? ROLES[role] ?? role, String(content)];
  });
}
