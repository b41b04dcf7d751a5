// What the model is asked before and after a run; examples/train/question.rs has the same for the native engine.

/** Characters of a text that the model is given to go on from, and that are shown of a question. */
const SHOWN_CHARS = 200;

/**
 * What a row asks, in the form in which datasets keep it: what `generate` takes, a chat or a `{ prompt }` to go on
 * from, and the same for people. Undefined for a row that asks nothing.
 */
export function questionOf(row) {
  const messages = [row.messages, row.prompt].find(Array.isArray);
  if (messages) {
    const user = messages.findIndex(({ role }) => role === "user");
    if (user < 0) return undefined;
    return { prompt: messages.slice(0, user + 1), text: onOneLine(String(messages[user].content ?? "")) };
  }
  const prompt = typeof row.prompt === "string" ? row.prompt : typeof row.text === "string" ? beginning(row.text) : undefined;
  return prompt === undefined ? undefined : { prompt: { prompt }, text: onOneLine(prompt) };
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
