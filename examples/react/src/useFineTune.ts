import { useCallback, useEffect, useRef, useState } from "react";
import { Dataset, TabtuneError, Trainer } from "tabtune";
import type { DataSource, ErrorCode, GenerateOptions, LoadOptions, Prompt, RunOptions } from "tabtune";

export interface FineTuneState {
  /** What is going on. "failed": the model could not be loaded. */
  phase: "loading" | "ready" | "training" | "answering" | "failed";
  /** Whether the model has learnt something. */
  trained: boolean;
  /** What the package is doing, e.g. "progress model.safetensors". */
  activity?: string | undefined;
  /** How much of it is done, from 0 to 1. */
  share?: number | undefined;
  remainingSeconds?: number | undefined;
  /** Of the last step. */
  loss?: number | undefined;
  /** What went wrong last. Stopping is no error, but where it ends the loading. */
  error?: { code: ErrorCode; message: string } | undefined;
}

/** A model as long as a component shows it. */
interface Session {
  trainer?: Trainer;
  /** Aborts what is going on. */
  work?: AbortController | undefined;
}

type Tell = (change: Partial<FineTuneState>) => void;

const NOTHING_GOING_ON = { activity: undefined, share: undefined, remainingSeconds: undefined };

/**
 * Loads a model when the component appears and frees it when it goes. Other `options` load it anew, so keep them
 * outside of the component. What the functions resolve to says whether it went through; one thing is done at a time.
 */
export function useFineTune(model: string, options: LoadOptions) {
  const [state, setState] = useState<FineTuneState>({ phase: "loading", trained: false });
  const session = useRef<Session>({});

  const perform = useCallback(
    async (phase: FineTuneState["phase"], task: (own: Session, signal: AbortSignal, tell: Tell) => Promise<void>) => {
      const own = session.current;
      if (own.work || (phase !== "loading" && !own.trainer)) return false;
      own.work = new AbortController();
      // A component that is gone, or shows another model by now, is told nothing.
      const tell: Tell = (change) => {
        if (session.current === own) setState((state) => ({ ...state, ...change }));
      };
      tell({ phase, error: undefined });
      try {
        await task(own, own.work.signal, tell);
        return true;
      } catch (error) {
        if (!(error instanceof TabtuneError)) throw error;
        const { code, message } = error;
        if (code !== "cancelled" || !own.trainer) tell({ error: { code, message } });
        return false;
      } finally {
        own.work = undefined;
        tell({ phase: own.trainer ? "ready" : "failed", ...NOTHING_GOING_ON });
      }
    },
    [],
  );

  useEffect(() => {
    const own: Session = {};
    session.current = own;
    void perform("loading", async (_, signal, tell) => {
      tell({ trained: false, loss: undefined });
      const trainer = await Trainer.load(model, {
        ...options,
        signal,
        progress_callback: ({ status, file, progress = 0, remaining_seconds }) =>
          tell({ activity: `${status} ${file}`, share: progress / 100, remainingSeconds: remaining_seconds }),
      });
      if (session.current === own) own.trainer = trainer;
      else await trainer.dispose();
    });
    // In development StrictMode mounts twice, and ends the first load here before its engine is started.
    return () => {
      session.current = {};
      own.work?.abort();
      void own.trainer?.dispose();
    };
  }, [model, options, perform]);

  const train = useCallback(
    (rows: DataSource, run: RunOptions) =>
      perform("training", async ({ trainer }, signal, tell) => {
        const dataset = await Dataset.open("use-fine-tune");
        await dataset.import(rows, { signal });
        for await (const log of trainer!.train(dataset, { ...run, signal })) {
          if (!("loss" in log)) continue;
          const { step, total_steps, loss, remaining_seconds } = log;
          const activity = `step ${step} of ${total_steps}`;
          tell({ trained: true, activity, share: step / total_steps, remainingSeconds: remaining_seconds, loss });
        }
      }),
    [perform],
  );

  /** `onText` hears the answer so far, with each piece that comes. */
  const generate = useCallback(
    (prompt: Prompt, onText: (text: string) => void, asked: GenerateOptions = {}) =>
      perform("answering", async ({ trainer }, signal) => {
        let text = "";
        onText(text);
        for await (const piece of trainer!.generate(prompt, { ...asked, signal })) onText((text += piece));
      }),
    [perform],
  );

  /** Ends what is going on. What was learnt by then stays, and so does what was said. */
  const cancel = useCallback(() => session.current.work?.abort(), []);

  return { ...state, train, generate, cancel };
}
