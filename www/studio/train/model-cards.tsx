import { signal, type ReadonlySignal } from "@preact/signals";
import { FitSign } from "./fit-sign.js";
import { ANYTHING, isWanted, languagesListed, languageWords, LISTED, parameterWords, roundedBytes, type Listed, type Wanted } from "./listed.js";
import { room } from "./room.js";

/** As many as are looked through at a glance. */
const FEW = 6;

const wanted = signal<Wanted>(ANYTHING);
const shows_all = signal(false);

/** What the list needs to know. */
export interface CardsProps {
  /** The id of the model that is chosen; any other text where it is not listed. */
  chosen: ReadonlySignal<string>;
  /** The names of models that were downloaded. */
  here: ReadonlySignal<ReadonlySet<string>>;
  choose(id: string): void;
}

/** Models to pick from: cards, and what one looks for in them. */
export function ModelCards({ chosen, here, choose }: CardsProps) {
  const fitting = LISTED.filter((model) => isWanted(model, wanted.value, here.value.has(model.id)));
  const is_far = fitting.findIndex(({ id }) => id === chosen.value) >= FEW;
  const shown = shows_all.value || is_far ? fitting : fitting.slice(0, FEW);
  return (
    <>
      <Filters />
      <div id="listed" class="cards" role="radiogroup" aria-label="Models to pick from">
        {shown.map((model) => (
          <Card key={model.id} model={model} is_chosen={model.id === chosen.value} is_here={here.value.has(model.id)} choose={choose} />
        ))}
      </div>
      <p class="unseen" role="status">
        {wanted.value === ANYTHING ? "" : `${fitting.length} of ${LISTED.length} models`}
      </p>
      {fitting.length === 0 && <p class="hint">No listed model is like that. Look for fewer things, or search the hub below.</p>}
      {shown.length < fitting.length && (
        <button type="button" class="small" onClick={() => (shows_all.value = true)}>
          Show all {fitting.length}
        </button>
      )}
    </>
  );
}

function Filters() {
  const set = (part: Partial<Wanted>) => {
    const next = { ...wanted.value, ...part };
    wanted.value = Object.values(next).every((value) => value === "") ? ANYTHING : next;
  };
  const value = wanted.value;
  return (
    <div class="filters" role="group" aria-label="What you look for">
      <label>
        Size
        <select value={value.size} onChange={({ currentTarget }) => set({ size: currentTarget.value as Wanted["size"] })}>
          <option value="">any</option>
          <option value="small">small, below 800 MB</option>
          <option value="middle">middle</option>
          <option value="large">large, above 2.5 GB</option>
        </select>
      </label>
      <label>
        Speaks
        <select value={value.language} onChange={({ currentTarget }) => set({ language: currentTarget.value })}>
          <option value="">any language</option>
          {languagesListed().map(({ code, name }) => (
            <option key={code} value={code}>
              {name}
            </option>
          ))}
        </select>
      </label>
      <label>
        Kind
        <select value={value.kind} onChange={({ currentTarget }) => set({ kind: currentTarget.value as Wanted["kind"] })}>
          <option value="">any</option>
          <option value="answers">answers at once</option>
          <option value="thinks">can think first</option>
          <option value="free">without asking its makers</option>
          <option value="here">already downloaded</option>
        </select>
      </label>
    </div>
  );
}

function Card({ model, is_chosen, is_here, choose }: { model: Listed; is_chosen: boolean; is_here: boolean; choose(id: string): void }) {
  const { id, name, parameters, download_bytes, run_gpu_bytes, licence, gated, thinks } = model;
  return (
    <div class="card-choice">
      <label>
        <input type="radio" name="listed-model" value={id} checked={is_chosen} onChange={() => choose(id)} aria-describedby={`about-${id}`} /> {name}
      </label>
      <div id={`about-${id}`} class="hint">
        <p>
          {languageWords(model)}
          {thinks && " · can think first"}
        </p>
        <p>
          {parameterWords(parameters)} parameters · {is_here ? <b class="is-here">already here</b> : `${roundedBytes(download_bytes)} download`}
        </p>
        <p>
          <FitSign taken={run_gpu_bytes} room={room.value} />, {roundedBytes(run_gpu_bytes)} of memory
        </p>
        <p>
          {licence} licence{gated && " · to be accepted first"}
        </p>
      </div>
    </div>
  );
}
