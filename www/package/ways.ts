import { detailsOf, TabtuneError } from "./errors.js";
import type { ComparedWay, Footprint, LoraConfig, TrainConfig } from "./types.js";

type Way = Pick<ComparedWay, "way" | "options">;

const IN_4_BITS = { load_in_4bit: true, bnb_4bit_use_double_quant: true };

/** Asks for one way after another what it takes; which ones a model does not allow is told with them. */
export async function compare(
  estimate: (options: Way["options"]) => Promise<Footprint>,
  lora: LoraConfig,
  train: TrainConfig,
): Promise<ComparedWay[]> {
  const found: ComparedWay[] = [];
  for (const way of waysOf(lora, train)) {
    found.push(await estimate(way.options).then((footprint) => ({ ...way, footprint }), (thrown) => refused(way, thrown)));
  }
  const as_it_is = weightsOf(found.find(({ way }) => way === "lora"));
  return found.map((known) => {
    const { way, options } = known;
    // What is quantised in its files stays as it is, whatever is asked for.
    const is_same = (way === "lora_8bit" || way === "qlora") && as_it_is !== undefined && weightsOf(known) === as_it_is;
    const message = `the model is quantised in its files and stays as it is: "${way}" would be "lora"`;
    return is_same ? { way, options, error: { code: "bad-option", message } } : known;
  });
}

/** The ways to train with the options that make each, from the one that usually takes most. */
function waysOf(lora: LoraConfig, train: TrainConfig): Way[] {
  const { optim, ...rest } = train;
  const by_gradient = optim === "mezo" ? rest : train;
  const adapter = { lora, train: { ...by_gradient, finetuning_type: "lora" } } as const;
  return [
    { way: "full", options: { train: { ...by_gradient, finetuning_type: "full" } } },
    { way: "lora", options: adapter },
    { way: "lora_8bit", options: { ...adapter, quantization: { load_in_8bit: true } } },
    { way: "qlora", options: { ...adapter, quantization: IN_4_BITS } },
    { way: "mezo", options: { ...adapter, train: { ...adapter.train, optim: "mezo" }, quantization: IN_4_BITS } },
  ];
}

/** Why options make no run. What is wrong with the model's files, or with the way to them, is thrown again. */
function refused(way: Way, thrown: unknown): ComparedWay {
  const error = new TabtuneError(detailsOf(thrown));
  if (error.code !== "bad-option" && error.code !== "out-of-memory") throw thrown;
  return { ...way, error: { code: error.code, message: error.message } };
}

function weightsOf(compared: ComparedWay | undefined): number | undefined {
  return compared?.footprint?.gpu_bytes.weights;
}
