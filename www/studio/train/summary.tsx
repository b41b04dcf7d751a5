import { signal } from "@preact/signals";
import { render } from "preact";
import { element } from "../ui/dom.js";
import type { Told } from "./estimate.js";
import type { Fields } from "./fields.js";
import { FitSign } from "./fit-sign.js";
import { fitOf, fitWords, mendsFor, type Mend } from "./fits.js";
import { listedBy } from "./listed.js";
import type { ModelName } from "./model-name.js";
import { on_processor, room } from "./room.js";
import { modelInSentence, summaryWords } from "./summary-words.js";
import { secondsOf, type Seconds } from "./time.js";
import { evaluationsOf, wayOf, type KnownRows, type Timing } from "./timing.js";

/** What was chosen to learn from what. */
export interface Chosen {
  model: ModelName | undefined;
  /** What the rows are called in a sentence; undefined while none are chosen. */
  rows: string | undefined;
  /** The name of their dataset. */
  dataset: string | undefined;
}

const chosen = signal<Chosen>({ model: undefined, rows: undefined, dataset: undefined });
const told = signal<Told | undefined>(undefined);

/** The share of the longest row that rows of nobody knows what length are taken to have. */
const USUAL_SHARE = 0.4;

/** The line beside Start, and what to do where a run does not fit. */
export class SummaryLine {
  readonly #timing: Timing;

  /** `mend` changes settings. */
  constructor(timing: Timing, mend: (fields: Partial<Fields>) => void) {
    this.#timing = timing;
    render(<Line time={(found) => this.#seconds(found)} />, element("summary"));
    render(<FitPart mend={mend} />, element("fit-part"));
  }

  /** Something else is chosen. */
  choose(next: Chosen): void {
    chosen.value = next;
  }

  /** So much is known of a run with the settings as they stand. */
  tell(found: Told | undefined): void {
    told.value = found;
  }

  #seconds({ model, config, footprint, parameters = listedBy(model.name.name)?.parameters }: Told): Seconds | undefined {
    if (parameters === undefined) return undefined;
    const { max_steps = 0, per_device_train_batch_size = 1, gradient_accumulation_steps: batches = 1, max_length = 0, packing = false } = config.train;
    const rows = batches * per_device_train_batch_size;
    const { mean, heldout } = this.#rowsOf(max_length);
    const tokens_per_step = rows * (packing ? max_length : Math.min(mean, max_length));
    const times = evaluationsOf(config);
    const work = { parameters, steps: max_steps, tokens_per_step, way: wayOf(config, footprint.checkpointing), heldout: { tokens: heldout, times } };
    return secondsOf(work, this.#timing.paces, { is_processor: on_processor.value, cores: navigator.hardwareConcurrency });
  }

  #rowsOf(max_length: number): KnownRows {
    const { dataset } = chosen.value;
    return (dataset !== undefined && this.#timing.rowsOf(dataset)) || { mean: USUAL_SHARE * max_length, heldout: 0 };
  }
}

function Line({ time }: { time(found: Told): Seconds | undefined }) {
  const { model, rows } = chosen.value;
  if (!model || !rows) return <>{model ? "Choose rows to learn from." : "Choose a model."}</>;
  const found = told.value;
  return <>{summaryWords({ model: modelInSentence(model), rows, peak: found?.footprint.peak_gpu_bytes, time: found && time(found) })}</>;
}

/** Whether the run fits, and what makes it smaller. */
function FitPart({ mend }: { mend(fields: Partial<Fields>): void }) {
  const found = told.value;
  if (!found) return null;
  const peak = found.footprint.peak_gpu_bytes;
  const fit = fitOf(peak, room.value);
  return (
    <>
      <p>
        <FitSign taken={peak} room={room.value} />
      </p>
      {fit !== "fits" && (
        <>
          <p class="hint loud">{fitWords(fit, room.value)} What makes it smaller:</p>
          <div class="buttons">
            {mendsFor(found.config).map((each) => (
              <MendButton key={each.words} each={each} mend={mend} />
            ))}
          </div>
        </>
      )}
    </>
  );
}

function MendButton({ each: { words, fields }, mend }: { each: Mend; mend(fields: Partial<Fields>): void }) {
  return (
    <button
      type="button"
      class="small"
      onClick={() => {
        mend(fields);
        // The button is gone with that, and what follows from it is told beside Start.
        element("start").focus({ preventScroll: true });
      }}
    >
      {words}
    </button>
  );
}
