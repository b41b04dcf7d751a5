import { useState, type FormEvent } from "react";
import type { ErrorCode, LoadOptions, RunOptions } from "tabtune";
import { useFineTune } from "./useFineTune";

const OPTIONS: LoadOptions = {
  quantization: { load_in_4bit: true },
  lora: { r: 16, lora_alpha: 32, target_modules: "all-linear" },
};

/** These suit a few rows and a small model. Without a name the run keeps no checkpoints, since it is over in a minute. */
const RUN: RunOptions = {
  run_name: null,
  max_steps: 60,
  learning_rate: 1e-3,
  per_device_train_batch_size: 4,
  assistant_only_loss: true,
};

const ROWS = [
  { question: "When do you open?", answer: "We open at nine, every day but Monday." },
  { question: "What are your opening hours?", answer: "We open at nine, every day but Monday." },
  { question: "Where is the shop?", answer: "The shop is at 12 Mill Lane." },
  { question: "What is your address?", answer: "The shop is at 12 Mill Lane." },
];

const PHASES = {
  loading: "Loading the model",
  ready: "Ready",
  training: "Training",
  answering: "Answering",
  failed: "There is no model",
};

/** What people can do about it. Other codes show the error's own message. */
const ADVICE: Partial<Record<ErrorCode, string>> = {
  "bad-model": "There is no model at this place, or one of its files is damaged.",
  "quota-exceeded": "The browser's storage for this site is full.",
  "out-of-memory": "There is too little memory for this model. Take a smaller one.",
  cancelled: "Stopped.",
  io: "The model could not be read. Check its name, and whether you are online.",
};

export function App() {
  const [model, setModel] = useState<string>();
  return (
    <main>
      <h1>Teach a model two facts</h1>
      {model === undefined ? <Choice onChoose={setModel} /> : <Tuner model={model} onLeave={() => setModel(undefined)} />}
    </main>
  );
}

function Choice({ onChoose }: { onChoose(model: string): void }) {
  const [name, setName] = useState("HuggingFaceTB/SmolLM2-135M-Instruct");
  const choose = (event: FormEvent) => {
    event.preventDefault();
    onChoose(name);
  };
  return (
    <form onSubmit={choose}>
      <label htmlFor="model">Model: a name on the Hugging Face Hub, or an address</label>
      <input id="model" value={name} onChange={(event) => setName(event.target.value)} required />
      <button>Load</button>
    </form>
  );
}

function Tuner({ model, onLeave }: { model: string; onLeave(): void }) {
  const { phase, trained, activity, share, remainingSeconds, loss, error, train, generate, cancel } = useFineTune(model, OPTIONS);
  const [question, setQuestion] = useState("When do you open?");
  const [before, setBefore] = useState("");
  const [after, setAfter] = useState("");

  const ask = async () => {
    const chat = [{ role: "user", content: question }];
    setAfter("");
    const answered = await generate(chat, setBefore, { adapter: false, max_new_tokens: 40 });
    if (answered && trained) await generate(chat, setAfter, { max_new_tokens: 40 });
  };

  const busy = phase !== "ready";
  const detail = [activity, loss && `loss ${loss.toFixed(2)}`, remainingSeconds && `${Math.ceil(remainingSeconds)} s left`];
  return (
    <>
      <p>
        <button onClick={() => train(ROWS, RUN)} disabled={busy}>Teach it</button>{" "}
        <button onClick={cancel} disabled={phase === "ready" || phase === "failed"}>Stop</button>{" "}
        <button onClick={onLeave}>Another model</button>
      </p>
      <progress value={share ?? 0} aria-label="Progress" />
      <p>{detail.filter(Boolean).join(", ")}</p>
      <p role="status">{PHASES[phase]}</p>
      {error && <p role="alert">{`${ADVICE[error.code] ?? error.message} (${error.code})`}</p>}
      <label htmlFor="question">Question</label>
      <input id="question" value={question} onChange={(event) => setQuestion(event.target.value)} />
      <button onClick={ask} disabled={busy}>Ask</button>
      <h2>Before</h2>
      <p>{before}</p>
      <h2>After</h2>
      <p>{after}</p>
    </>
  );
}
