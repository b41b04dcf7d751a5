import { instantiate } from "./cpu/kernels.js";
import { RING_LISTS, RING_WORDS, STOP, type Post, type Word } from "./cpu/team.js";
import { VERSION } from "./protocol.js";

const tell = (word: Word) => self.postMessage(word);

self.onmessage = ({ data }: MessageEvent<Post>) => {
  // A rejected promise would reach nobody.
  serve(data).catch((thrown: unknown) => tell({ failed: String(thrown) }));
};

/** Works through the lists as they come until the engine has the worker end. */
async function serve({ module, memory, worker, workers, control, ring, stack, scratch }: Post): Promise<void> {
  const kernels = await instantiate(module, memory);
  kernels.__stack_pointer.value = stack;
  const words = new Int32Array(memory.buffer, ring, RING_WORDS);
  const lock = `tabtune-kernels:${crypto.randomUUID()}`;
  await new Promise<void>((held) => {
    if (!navigator.locks) return held();
    void navigator.locks.request(lock, () => (held(), new Promise(() => {})));
  });
  tell({ version: VERSION, lock });
  for (let list = 0; ; list++) {
    while (Atomics.load(words, 0) === list) Atomics.wait(words, 0, list);
    if (Atomics.load(words, 0) === STOP) return self.close();
    const at = 1 + 2 * (list % RING_LISTS);
    kernels.work(words[at]!, words[at + 1]!, control, workers, scratch);
    if (worker === 0) tell({ finished: list + 1 });
  }
}
