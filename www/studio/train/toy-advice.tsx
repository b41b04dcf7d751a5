import type { ReadonlySignal } from "@preact/signals";
import { FitSign } from "./fit-sign.js";
import { advised, languageWords, roundedBytes } from "./listed.js";
import { room } from "./room.js";

/** What to take in place of the toy, each with one click. */
export function ToyAdvice({ here, choose }: { here: ReadonlySignal<ReadonlySet<string>>; choose(id: string): void }) {
  return (
    <ul class="advice">
      {advised(room.value).map(({ model, why }) => (
        <li key={model.id}>
          <button type="button" class="quiet" onClick={() => choose(model.id)}>
            Take {model.name}
          </button>
          <span class="hint">
            {why} · {languageWords(model)} · {here.value.has(model.id) ? "already here" : `${roundedBytes(model.download_bytes)} download`} · {model.licence} ·{" "}
            <FitSign taken={model.run_gpu_bytes} room={room.value} />
          </span>
        </li>
      ))}
    </ul>
  );
}
