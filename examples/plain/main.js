// Teaches a small chat model two facts, and asks it about one of them before and after.
import { Dataset, TabtuneError, Trainer } from "tabtune";

const QUESTION = "When do you open?";
const ROWS = [
  { question: QUESTION, answer: "We open at nine, every day but Monday." },
  { question: "What are your opening hours?", answer: "We open at nine, every day but Monday." },
  { question: "Where is the shop?", answer: "The shop is at 12 Mill Lane." },
  { question: "What is your address?", answer: "The shop is at 12 Mill Lane." },
];

/** What to do about errors that a visitor can do something about. Other codes show the error's own message. */
const ADVICE = {
  "bad-model": "There is no model at this place, or one of its files is damaged.",
  io: "The model could not be read. Check its name, and whether you are online.",
  "out-of-memory": "There is too little memory for this model. Take a smaller one.",
  "quota-exceeded": "The browser's storage for this site is full.",
};

const find = (id) => document.getElementById(id);
const form = document.querySelector("form");
const bar = document.querySelector("progress");

/** Screen readers say the status, so it changes seldom. */
function say(text) {
  find("status").textContent = text;
}

function show(detail, share) {
  find("detail").textContent = detail;
  bar.value = share;
}

async function ask(trainer, place) {
  const answer = trainer.generate([{ role: "user", content: QUESTION }], { max_new_tokens: 40 });
  for await (const piece of answer) place.append(piece);
}

async function fineTune(model) {
  const dataset = await Dataset.open("shop-facts");
  await dataset.import(ROWS);
  say("Loading the model");
  const trainer = await Trainer.load(model, {
    quantization: { load_in_4bit: true },
    lora: { r: 16, lora_alpha: 32, target_modules: "all-linear" },
    progress_callback: ({ status, file, progress = 0 }) => show(`${status} ${file}`, progress / 100),
  });
  try {
    say("Asking");
    await ask(trainer, find("before"));
    say("Training");
    // Without a name the run keeps no checkpoints: it is over in a minute.
    const run = { run_name: null, max_steps: 60, learning_rate: 1e-3, per_device_train_batch_size: 4, assistant_only_loss: true };
    for await (const { step, total_steps, loss } of trainer.train(dataset, run)) {
      show(`Step ${step} of ${total_steps}: loss ${loss.toFixed(2)}`, step / total_steps);
    }
    await ask(trainer, find("after"));
    say("Done");
  } finally {
    await trainer.dispose();
  }
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  for (const id of ["error", "before", "after"]) find(id).textContent = "";
  show("", 0);
  form.querySelector("button").disabled = true;
  try {
    await fineTune(form.elements.model.value);
  } catch (error) {
    if (!(error instanceof TabtuneError)) throw error;
    say("");
    find("error").textContent = `${ADVICE[error.code] ?? error.message} (${error.code})`;
  } finally {
    form.querySelector("button").disabled = false;
  }
});
