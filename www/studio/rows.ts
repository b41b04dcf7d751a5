import { make } from "./dom.js";

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
  const said = Object.entries(row).filter(([part]) => part !== "pair");
  const parts = said.flatMap(([part, value]) => spoken(part, value));
  const list = parts.map(([who, text]) => make("div", "said", make("dt", "", who), make("dd", "", text)));
  return make("dl", "row-card", ...list);
}

/** Who says what: one entry for a string, one for each message of a list. */
function spoken(part: string, value: unknown): [string, string][] {
  if (!Array.isArray(value)) return [[PARTS[part] ?? part, String(value)]];
  return value.map(({ role, content }: { role: string; content: string }) => {
    const who = part === "rejected" ? PARTS[part] : undefined;
    return [who ?? ROLES[role] ?? role, String(content)];
  });
}
