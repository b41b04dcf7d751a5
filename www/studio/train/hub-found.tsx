import { signal, type ReadonlySignal } from "@preact/signals";
import { isCancelled, messageOf } from "../shell/errors.js";
import { searchHub, type Found } from "./hub-search.js";
import { hubIdIn } from "./model-name.js";
import { parameterWords } from "./listed.js";

type Search = { state: "asking" } | { state: "found"; words: string; models: Found[] } | { state: "failed"; why: string };

const search = signal<Search | undefined>(undefined);
let asking: AbortController | undefined;

/** Asks the hub for models of that name, in place of what was asked before. An id is searched for by its last part. */
export async function askHub(text: string): Promise<void> {
  asking?.abort();
  const words = (hubIdIn(text)?.split("/").at(-1) ?? text).trim();
  if (words === "") {
    search.value = { state: "failed", why: "Write a part of a name first, such as “smol” or “german”." };
    return;
  }
  const { signal } = (asking = new AbortController());
  search.value = { state: "asking" };
  try {
    const models = await searchHub(words, signal);
    search.value = { state: "found", words, models };
  } catch (thrown) {
    if (signal.aborted || isCancelled(thrown)) return;
    const why = navigator.onLine ? `The hub gives no answer: ${messageOf(thrown)}` : "You are offline, and the hub cannot be asked.";
    search.value = { state: "failed", why };
  }
}

/** What the hub found, to pick from. */
export function HubFound({ chosen, choose }: { chosen: ReadonlySignal<string>; choose(id: string): void }) {
  const now = search.value;
  return (
    <>
      <p class="hint" role="status">
        {now && wordsOf(now)}
      </p>
      {now?.state === "found" && now.models.length > 0 && (
        <div id="found-models" class="cards" role="radiogroup" aria-label="Models that the hub found">
          {now.models.map((model) => (
            <Card key={model.id} model={model} is_chosen={model.id === chosen.value} choose={choose} />
          ))}
        </div>
      )}
    </>
  );
}

function Card({ model: { id, parameters, licence, gated, downloads }, is_chosen, choose }: { model: Found; is_chosen: boolean; choose(id: string): void }) {
  const size = parameters === undefined ? "size unknown" : `${parameterWords(parameters)} parameters`;
  const terms = [`${licence ?? "unknown"} licence`, ...(gated ? ["to be accepted first"] : []), `${downloads.toLocaleString("en")} downloads a month`];
  return (
    <div class="card-choice">
      <label>
        <input type="radio" name="found-model" value={id} checked={is_chosen} onChange={() => choose(id)} aria-describedby={`found-${id}`} /> {id}
      </label>
      <div id={`found-${id}`} class="hint">
        <p>{size}</p>
        <p>{terms.join(" · ")}</p>
      </div>
    </div>
  );
}

function wordsOf(now: Search): string {
  if (now.state === "asking") return "Asking the hub…";
  if (now.state === "failed") return now.why;
  const count = now.models.length;
  if (count === 0) return `Nothing that can be trained here is called “${now.words}”.`;
  return `${count === 1 ? "One model" : `${count} models`} that can be trained here. Pick one, and what it takes is told before anything is downloaded.`;
}
