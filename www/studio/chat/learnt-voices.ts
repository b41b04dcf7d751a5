import type { Job, Loading, Shelved } from "../work/job.js";
import { LearntStore, type Learnt } from "../library/learnt.js";
import { MissingInput } from "../ui/missing.js";
import type { ModelName } from "../train/model-name.js";
import type { Question } from "../work/question.js";
import type { Choice } from "./voices.js";

/** What stands in a menu for what was learnt before and is not open. */
const LEARNT = "learnt:";

/** The parts of the page that opening has to do with. */
export interface OpeningPage {
  job(): Job;
  loading(name: ModelName | undefined): Promise<Loading>;
  /** Asks as the rows do that were learnt. */
  follow(question: Question | null): void;
}

/** What was learnt on earlier days, as those who can answer. */
export class LearntVoices {
  readonly #store = new LearntStore();
  readonly #page: OpeningPage;

  constructor(page: OpeningPage) {
    this.#page = page;
  }

  /** Those that are not open. A run of all weights is no adapter beside its model, and is opened in the library. */
  async choices(): Promise<(Choice & { model: ModelName })[]> {
    const open = this.#page.job().own?.id;
    const all = await this.#store.all();
    return all.filter(({ id, has_files }) => has_files && id !== open).map(({ id, name, model }) => ({ value: LEARNT + id, words: name, model }));
  }

  is(choice: string): boolean {
    return choice.startsWith(LEARNT);
  }

  /** Answers beside others, without taking the place of what is open. */
  voiceOf(choice: string): Shelved {
    const id = choice.slice(LEARNT.length);
    return { name: id, key: choice, files: () => this.#store.files(id) };
  }

  /** Opens it, so that it answers from now on. */
  async open(choice: string, signal: AbortSignal): Promise<Learnt> {
    const learnt = await this.#store.get(choice.slice(LEARNT.length));
    if (!learnt) throw new MissingInput("This is gone from this browser: another tab deleted it.");
    const loading = { ...(await this.#page.loading(learnt.model)), config: learnt.config };
    await this.#page.job().open(learnt, await this.#store.files(learnt.id), loading, signal);
    this.#page.follow(learnt.question);
    return learnt;
  }
}
