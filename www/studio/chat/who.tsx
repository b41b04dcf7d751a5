import { useRoom } from "./room.js";
import type { Choice } from "./voices.js";

/** How many can answer side by side. */
const MOST_BESIDE = 2;

/** Who answers, and who does beside. */
export function Who() {
  const { talk, voices, is_busy, is_answering, two, choose } = useRoom();
  const all = voices.choices.value;
  const others = voices.others.value;
  const beside = talk.chat.value.beside.filter((choice) => others.some(({ value }) => value === choice));
  const free = others.filter(({ value }) => !beside.includes(value));
  const set = (changed: string[]) => talk.set({ beside: changed });
  if (all.length === 1) return null;
  return (
    <div class="who">
      <label id="voice-label">
        <span>Who answers</span>
        <select
          id="voice"
          disabled={is_busy.value}
          value={voices.now.value}
          onChange={({ currentTarget }) => {
            choose(currentTarget.value);
            // Until that one answers, and if it cannot, the menu says who does.
            currentTarget.value = voices.now.value;
          }}
        >
          <Options choices={voices.choices.value.filter(({ value }) => !voices.learnt.value.some((one) => one.value === value))} />
          {voices.learnt.value.length > 0 && (
            <optgroup label="Learnt before">
              <Options choices={voices.learnt.value} />
            </optgroup>
          )}
        </select>
      </label>
      {beside.map((choice, place) => (
        <div class="beside-choice" key={place}>
          <label>
            <span>{place === 0 ? "Beside it" : "And"}</span>
            <select
              disabled={is_answering.value}
              value={choice}
              onChange={({ currentTarget }) => set(beside.map((other, at) => (at === place ? currentTarget.value : other)))}
            >
              <Options choices={others.filter(({ value }) => value === choice || !beside.includes(value))} />
            </select>
          </label>
          <button type="button" class="small" disabled={is_answering.value} aria-label={`Leave out ${voices.nameOf(choice)}`} onClick={() => set(beside.filter((other) => other !== choice))}>
            Leave out
          </button>
        </div>
      ))}
      {beside.length < MOST_BESIDE && free.length > 0 && (
        <button
          type="button"
          id="add-beside"
          class="small"
          disabled={is_answering.value}
          onClick={() => {
            two.value = undefined;
            set([...beside, free[0]!.value]);
          }}
        >
          {beside.length === 0 ? "Answer side by side" : "One more beside"}
        </button>
      )}
    </div>
  );
}

function Options({ choices }: { choices: Choice[] }) {
  return (
    <>
      {choices.map(({ value, words }) => (
        <option key={value} value={value}>
          {words}
        </option>
      ))}
    </>
  );
}
