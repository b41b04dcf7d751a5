import { TabtuneError, webgpuProblem } from "tabtune";
import { Chart } from "./chart.js";
import { element, show, write } from "./dom.js";
import { downloadAdapter } from "./download.js";
import { clearError, showError } from "./errors.js";
import { InputForm } from "./inputs.js";
import { Job } from "./job.js";
import { SettingsForm } from "./settings.js";

const settings = new SettingsForm();
const inputs = new InputForm((bundled) => void settings.fill(bundled).catch(showError));
const job = new Job(new Chart());
const question = element<HTMLInputElement>("question");

/**
 * Does one thing at a time: buttons wait while it runs, and errors become readable text. Resolves to
 * whether it came to its end.
 */
async function exclusively(training: boolean, work: (signal: AbortSignal) => Promise<void>): Promise<boolean> {
  const controller = new AbortController();
  const stop = () => {
    write("status", "Stopping…");
    controller.abort();
  };
  const busy = (is_busy: boolean) => {
    show("start", !(training && is_busy));
    show("stop", training && is_busy);
    element<HTMLButtonElement>("start").disabled = is_busy;
    element("ask").querySelector("button")!.disabled = is_busy;
    element<HTMLButtonElement>("download").disabled = is_busy || !job.trained;
  };
  const warn = (event: BeforeUnloadEvent) => event.preventDefault();
  element("stop").addEventListener("click", stop);
  if (training) addEventListener("beforeunload", warn);
  clearError();
  busy(true);
  try {
    await work(controller.signal);
    return true;
  } catch (thrown) {
    const stopped = thrown instanceof TabtuneError && thrown.code === "cancelled";
    write("status", stopped ? "Stopped." : "Failed.");
    if (!stopped) showError(thrown);
    return false;
  } finally {
    element("stop").removeEventListener("click", stop);
    removeEventListener("beforeunload", warn);
    busy(false);
    document.title = "tabtune";
  }
}

element("setup").addEventListener("submit", (event) => {
  event.preventDefault();
  const config = settings.read();
  if (!config) return;
  void (async () => {
    const done = await exclusively(true, async (signal) => job.train(await inputs.read(), config, signal));
    // The difference is what people came for, so it is shown unasked.
    if (done) await exclusively(false, () => job.ask(question.value));
  })();
});

element("ask").addEventListener("submit", (event) => {
  event.preventDefault();
  const config = settings.read();
  if (!config) return;
  void exclusively(false, async (signal) => {
    if (!job.loaded) await job.load((await inputs.read()).model, config, undefined, signal);
    await job.ask(question.value);
  });
});

element("download").addEventListener("click", () => {
  void exclusively(false, async () => downloadAdapter(await job.save()));
});

// A file that misses its zone must not replace the page.
for (const kind of ["dragover", "drop"]) addEventListener(kind, (event) => event.preventDefault());

const problem = await webgpuProblem();
if (problem) {
  write("no-webgpu-reason", problem);
  write("status", "Not possible in this browser.");
  show("no-webgpu", true);
  element<HTMLButtonElement>("start").disabled = true;
  element("ask").querySelector("button")!.disabled = true;
}
await settings.fill(inputs.bundledModel).catch(showError);
