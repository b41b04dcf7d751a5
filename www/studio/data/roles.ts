import type { ImportOptions, Inspection } from "tabtune";

/** What a column can be for the rows that are learnt. */
export type Role = "question" | "answer" | "more" | "instruction" | "better" | "worse" | "text" | "chat" | "rating" | "history";

/** What each is called, in the order in which they are offered. */
export const ROLES: Record<Role, string> = {
  question: "Question",
  answer: "Answer",
  more: "More of the question",
  instruction: "Instruction",
  better: "Better answer",
  worse: "Worse answer",
  text: "Text",
  chat: "Chat",
  rating: "Rating: good or bad",
  history: "Earlier turns",
};

/** Which of the columns is what; a column without a role is not used. */
export type Roles = Readonly<Partial<Record<string, Role>>>;

/** What the package calls the part, when it is told. */
const PART: Record<Role, string> = {
  question: "prompt",
  answer: "completion",
  more: "input",
  instruction: "system",
  better: "chosen",
  worse: "rejected",
  text: "text",
  chat: "messages",
  rating: "label",
  history: "history",
};

/** What the package calls parts, when it tells. */
const ROLE_OF: Partial<Record<string, Role>> = {
  ...Object.fromEntries(Object.entries(PART).map(([role, part]) => [part, role as Role])),
  instruction: "question",
  output: "answer",
  context: "more",
  conversations: "chat",
};

/** A column of this name is in no file: a part that is to be read from nowhere. */
const NOWHERE = "\u0000nowhere";

/** What rows can be made of; the last column that is missing of the nearest is asked for. */
const WHOLE: { needed: Role[]; possible: Role[] }[] = [
  { needed: ["question", "answer"], possible: ["more", "instruction", "rating", "history"] },
  { needed: ["better", "worse"], possible: ["question"] },
  { needed: ["text"], possible: [] },
  { needed: ["chat"], possible: ["instruction"] },
];

/** Which column is what, as the package found it. */
export function rolesFound({ mapping }: Inspection): Roles {
  const found = Object.entries(mapping?.columns ?? {}).map(([part, column]) => [column, ROLE_OF[part]] as const);
  return Object.fromEntries(found.filter(([, role]) => role !== undefined));
}

/** The roles after a column got another one, or none. A role is that of one column. */
export function withRole(roles: Roles, column: string, role: Role | undefined): Roles {
  const others = Object.entries(roles).filter(([name, of]) => name !== column && of !== role);
  return Object.fromEntries(role === undefined ? others : [...others, [column, role]]);
}

/** What a person still has to say of the columns; nothing where rows can be made of them. */
export function unsaidOf(roles: Roles): string | undefined {
  const said = new Set(Object.values(roles) as Role[]);
  if (said.size === 0) return "Say which column is the question and which is the answer.";
  const fitting = WHOLE.filter(({ needed, possible }) => [...said].every((role) => [...needed, ...possible].includes(role)));
  if (fitting.length === 0) return "These do not go together: take a question and its answer, a better and a worse answer, a text, or a chat.";
  if (fitting.some(({ needed }) => needed.every((role) => said.has(role)))) return undefined;
  const wanted = fitting.find(({ needed }) => needed.some((role) => said.has(role))) ?? fitting[0]!;
  const missing = wanted.needed.filter((role) => !said.has(role)).map((role) => `which column is the ${ROLES[role].toLowerCase()}`);
  return `Say ${missing.join(" and ")}.`;
}

/**
 * The columns as an import is told them. A chat is written in one of two ways, which are to be tried one after the other.
 * Columns that the package would use of itself, though the person wants them left alone, are in `unwanted`.
 */
export function columnsOf(roles: Roles, unwanted: Role[] = []): NonNullable<ImportOptions["columns"]>[] {
  const told = Object.fromEntries(Object.entries(roles).map(([column, role]) => [PART[role!], column]));
  for (const role of unwanted) told[PART[role]] = NOWHERE;
  const { messages, ...rest } = told;
  return messages === undefined ? [told] : [told, { ...rest, conversations: messages }];
}

/** What was used though nobody said so, and need not be. */
export function unwantedIn(wanted: Roles, found: Roles): Role[] {
  const used = Object.entries(found).filter(([column]) => wanted[column] === undefined).map(([, role]) => role!);
  return used.filter((role) => role === "more" || role === "instruction" || role === "history");
}

/** Columns without names are numbered from 0, and counted by people from 1. */
export function columnName(column: string): string {
  return /^\d+$/.test(column) ? `Column ${Number(column) + 1}` : column;
}
