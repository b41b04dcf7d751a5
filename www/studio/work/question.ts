import type { GenerateOptions, Message } from "tabtune";

/** What a model is asked: a chat up to the next answer, or a text that it goes on with. */
export interface Question {
  text: string;
  /** What a system turn says before it; null where there is none. */
  system: string | null;
  /** Whether the text is bare: no chat template comes around it. */
  continues: boolean;
}

/** Words of a text without a question in it that a model is to go on with. */
const FEW_WORDS = 6;

/** The first thing that a row, as a dataset keeps it, would be asked by. */
export function questionOf(row: object): Question | undefined {
  const { messages, prompt, chosen, text } = row as Record<string, unknown>;
  // A pair without a prompt has it at the beginning of both answers.
  const turns = [messages, prompt, chosen].find(Array.isArray) as Message[] | undefined;
  if (turns) {
    const said = (role: string) => turns.find((turn) => turn.role === role)?.content;
    const [asked, system] = [said("user"), said("system")];
    return asked === undefined ? undefined : { text: asked, system: system ?? null, continues: false };
  }
  if (typeof prompt === "string") return { text: prompt, system: null, continues: true };
  if (typeof text !== "string") return undefined;
  const words = text.trim().split(/\s+/).slice(0, FEW_WORDS).join(" ");
  return { text: words, system: null, continues: true };
}

/** What a model takes. */
type Asked = Message[] | { prompt: string };

/** A question as a model takes it: one without a chat template goes on from text, as it has learnt pairs. */
export function promptOf({ text, system, continues }: Question, has_chat_template: boolean): Asked {
  if (continues) return { prompt: text };
  return promptOfTurns([...systemTurn(system), { role: "user", content: text }], has_chat_template);
}

/** The same of the turns of a chat up to the next answer. */
function promptOfTurns(turns: Message[], has_chat_template: boolean): Asked {
  return has_chat_template ? turns : { prompt: textOf(turns) };
}

/** How a model is asked to answer a chat, or to go on with what it says last. */
export function askedBy(turns: Message[], how: GenerateOptions, has_chat_template: boolean): [Asked, GenerateOptions] {
  if (has_chat_template || !how.continue_final_message) return [promptOfTurns(turns, has_chat_template), how];
  // A text goes on by itself, from where it ends.
  const { continue_final_message: _, ...rest } = how;
  return [{ prompt: textOf(turns.slice(0, -1)) + turns.at(-1)!.content }, rest];
}

/** Turns as a model without a chat template reads them: an answer stands on a line of its own. */
export function textOf(turns: Message[]): string {
  return turns.map(({ role, content }) => (role === "user" ? `${content}\n` : `${content}\n\n`)).join("");
}

/** What stands before a chat: the instruction, where there is one. */
export function systemTurn(system: string | null): Message[] {
  return system === null ? [] : [{ role: "system", content: system }];
}

/** Whether rows like this one are chats, of which the answers alone can be learnt. */
export function isChat(row: object): boolean {
  const { messages, prompt } = row as Record<string, unknown>;
  return Array.isArray(messages) || Array.isArray(prompt);
}
