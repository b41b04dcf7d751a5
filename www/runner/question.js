// What the model is asked before and after a run; train/src/question.rs has the same for the native engine.

/** Characters of a text that the model is given to go on from, and that are shown of a question. */
const SHOWN_CHARS = 200;

/**
 * What a row asks, in the form in which datasets keep it: what `generate` takes, a chat or a `{ prompt }` to go on
 * from, what it takes instead for a model without chat template, and the question for people. Undefined for a row
 * that asks nothing.
 */
export function questionOf(row) {
  // The answers that follow are what the model should come to by itself.
  const first = Array.isArray(row.messages) ? row.messages.findIndex(isUser) + 1 : 0;
  const chat = Array.isArray(row.messages) ? row.messages.slice(0, first) : Array.isArray(row.prompt) ? row.prompt : undefined;
  if (chat) {
    const asked = chat.findLast(isUser);
    if (!asked) return undefined;
    const without_template = row.pair === true ? { prompt: pairText(chat) } : undefined;
    return { prompt: chat, ...(without_template && { without_template }), text: onOneLine(String(asked.content ?? "")) };
  }
  const prompt = typeof row.prompt === "string" ? row.prompt : typeof row.text === "string" ? beginning(row.text) : undefined;
  return prompt === undefined ? undefined : { prompt: { prompt }, text: onOneLine(prompt) };
}

const isUser = ({ role }) => role === "user";

/** A pair's question as a model without chat template learns it. */
function pairText(prompt) {
  return prompt.map((message) => message.content + (isUser(message) ? "\n" : "\n\n")).join("");
}

/** The first half of a short text and the first words of a long one. */
function beginning(text) {
  const chars = [...text];
  const half = Math.min(Math.ceil(chars.length / 2), SHOWN_CHARS);
  const cut = chars.slice(0, half).join("");
  const words = /^(.+)\s/su.exec(cut)?.[1];
  return half < chars.length && words !== undefined ? words : cut;
}

function onOneLine(text) {
  const chars = [...text.split(/\s+/).filter(Boolean).join(" ")];
  return chars.length > SHOWN_CHARS ? `${chars.slice(0, SHOWN_CHARS).join("")}…` : chars.join("");
}
