import type { AdapterFiles } from "tabtune";
import { fineTune, textOf } from "./fine-tune";

const ROWS = [
  { question: "When do you open?", answer: "We open at nine, every day but Monday." },
  { question: "What are your opening hours?", answer: "We open at nine, every day but Monday." },
  { question: "Where is the shop?", answer: "The shop is at 12 Mill Lane." },
  { question: "What is your address?", answer: "The shop is at 12 Mill Lane." },
];

const find = <T extends HTMLElement = HTMLElement>(id: string) => document.getElementById(id) as T;
const start = find<HTMLButtonElement>("start");
const stop = find<HTMLButtonElement>("stop");

let controller = new AbortController();
stop.addEventListener("click", () => controller.abort());

document.querySelector("form")!.addEventListener("submit", async (event) => {
  event.preventDefault();
  clear();
  controller = new AbortController();
  start.disabled = true;
  stop.disabled = false;
  try {
    const adapter = await fineTune({
      model: find<HTMLInputElement>("model").value,
      rows: find<HTMLInputElement>("rows").files?.[0] ?? ROWS,
      question: find<HTMLInputElement>("question").value,
      signal: controller.signal,
      onPhase: say,
      onProgress: show,
      onPiece: (when, piece) => find(when).append(piece),
    });
    offer(adapter);
    say(controller.signal.aborted ? "Stopped. What was learnt by then is below." : "Done");
  } catch (error) {
    say("");
    find("error").textContent = textOf(error);
  } finally {
    start.disabled = false;
    stop.disabled = true;
  }
});

/** Screen readers say the status, so it changes seldom. */
function say(text: string) {
  find("status").textContent = text;
}

function show(detail: string, share: number) {
  find("detail").textContent = detail;
  find<HTMLProgressElement>("bar").value = share;
}

function clear() {
  for (const link of find("files").querySelectorAll("a")) URL.revokeObjectURL(link.href);
  for (const id of ["error", "before", "after", "files"]) find(id).textContent = "";
  show("", 0);
}

/** The adapter as links: two files in the format of Hugging Face PEFT. */
function offer(adapter: AdapterFiles) {
  for (const [name, bytes] of Object.entries(adapter)) {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([bytes]));
    link.download = name;
    link.textContent = name;
    find("files").append(link, " ");
  }
}
