import { mannerIn, MOST_KINDS, MOST_TOKENS, USUAL, type Manner } from "./manner.js";
import { useRoom } from "./room.js";

/** How the answers are made: what is said before, how freely words are drawn, how long an answer may be. */
export function How() {
  const { talk, around } = useRoom();
  const { manner, system = around.value.system } = talk.chat.value;
  const set = (change: Partial<Manner>) => talk.set({ manner: mannerIn({ ...manner, ...change }) });
  const is_usual = JSON.stringify(manner) === JSON.stringify(USUAL);
  return (
    <details id="how">
      <summary>How it answers{is_usual ? "" : ` · ${mannerWords(manner)}`}</summary>
      <div class="stacked">
        <div class="field">
          <label>
            Instruction
            <textarea
              id="system"
              rows={2}
              aria-describedby="about-system"
              value={system ?? ""}
              onChange={({ currentTarget }) => talk.set({ system: currentTarget.value.trim() || null })}
            />
          </label>
          <p id="about-system" class="hint">
            Said to the model before this chat, as its system message: who it is and how it is to answer. At first it is that of the rows that were learnt.
          </p>
        </div>
        <div class="fields">
          <Numeric name="temperature" label="Temperature" low={0} high={2} step={0.1} value={manner.temperature} set={(temperature) => set({ temperature: temperature ?? 0 })}>
            How freely words are drawn: 0 takes the likeliest, 1 as often as the model finds them likely.
          </Numeric>
          <Numeric name="top_k" label="Top-k" low={0} high={MOST_KINDS} step={1} value={manner.top_k} set={(top_k) => set({ top_k: top_k ?? 0 })}>
            Only so many of the likeliest words are drawn from; 0 is all of them.
          </Numeric>
          <Numeric name="top_p" label="Top-p" low={0.01} high={1} step={0.01} value={manner.top_p} set={(top_p) => set({ top_p: top_p ?? 1 })}>
            Only the likeliest words whose shares make up so much are drawn from; 1 is all of them.
          </Numeric>
          <Numeric name="min_p" label="Min-p" low={0} high={1} step={0.01} value={manner.min_p} set={(min_p) => set({ min_p: min_p ?? 0 })}>
            Words are left out that are less likely than this share of the likeliest one; 0 leaves out none.
          </Numeric>
          <Numeric
            name="repetition_penalty"
            label="Repetition penalty"
            low={0.1}
            high={10}
            step={0.1}
            value={manner.repetition_penalty}
            set={(repetition_penalty) => set({ repetition_penalty: repetition_penalty ?? 1 })}
          >
            Above 1, words that were said already become less likely, yours too; 1 changes nothing.
          </Numeric>
          <Numeric name="longest" label="Longest answer" low={1} high={MOST_TOKENS} step={1} value={manner.longest} set={(longest) => set({ longest: longest ?? USUAL.longest })}>
            In tokens, which are words or parts of words.
          </Numeric>
          <Numeric name="answer_seed" label="Number to draw by" low={0} high={4294967295} step={1} value={manner.seed} set={(seed) => set({ seed })}>
            The seed: the same one draws the same words, and an empty field draws anew each time.
          </Numeric>
        </div>
        {!is_usual && (
          <div class="buttons">
            <button type="button" class="small" onClick={() => talk.set({ manner: USUAL })}>
              As usual
            </button>
          </div>
        )}
      </div>
    </details>
  );
}

function mannerWords({ temperature, top_k, top_p, min_p, repetition_penalty, longest, seed }: Manner): string {
  const words = [
    temperature !== USUAL.temperature && `temperature ${temperature}`,
    top_k !== USUAL.top_k && `top-k ${top_k}`,
    top_p !== USUAL.top_p && `top-p ${top_p}`,
    min_p !== USUAL.min_p && `min-p ${min_p}`,
    repetition_penalty !== USUAL.repetition_penalty && `repetition penalty ${repetition_penalty}`,
    longest !== USUAL.longest && `at most ${longest} tokens`,
    seed !== USUAL.seed && `seed ${seed}`,
  ];
  return words.filter(Boolean).join(", ");
}

interface NumericField {
  name: string;
  label: string;
  low: number;
  high: number;
  step: number;
  value: number | null;
  set(value: number | null): void;
  children: string;
}

function Numeric({ name, label, low, high, step, value, set, children }: NumericField) {
  const about = `about-answer-${name}`;
  return (
    <div class="field">
      <label>
        {label}
        <input
          type="number"
          id={`answer-${name}`}
          min={low}
          max={high}
          step={step}
          aria-describedby={about}
          value={value ?? ""}
          onChange={({ currentTarget }) => {
            set(currentTarget.value === "" ? null : currentTarget.valueAsNumber);
            // What was out of range is shown as it is taken.
            if (!currentTarget.checkValidity()) currentTarget.value = String(value ?? "");
          }}
        />
      </label>
      <p id={about} class="hint">
        {children}
      </p>
    </div>
  );
}
