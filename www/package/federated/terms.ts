import { failure } from "../errors.js";
import type { LoraConfig, TrainConfig } from "../types.js";
import { above, checked, count, flag, from, key, listOf, oneOf, option, optional, orNull, targets, text, type Check } from "./fields.js";

/** How the deltas of a round become one. */
export type Aggregation = "fedavg" | "fedadam" | "flexlora";

/** What a delta is sent in. */
export type DeltaDtype = "f32" | "f16" | "nf4";

/** What hides a person's part in the sum. */
export interface Privacy {
  /** Whether the server sees the sum of all deltas alone (secure aggregation, Bonawitz et al. 2017). */
  mask: boolean;
  /** The L2 norm that a whole delta is cut to before it leaves; null leaves it as it is. */
  clip: number | null;
  /** Who adds Gaussian noise: nobody, each client to its own delta, or the server to the sum. */
  noise: "none" | "local" | "central";
  /** The deviation of the noise as a multiple of `clip`. */
  noise_multiplier: number;
  /** The δ of (ε, δ)-differential privacy. */
  delta: number;
}

/** What a federation asks of those who join, as its server tells it at `federation.json`. */
export interface Terms {
  version: 1;
  name: string;
  /** Who runs it. */
  operator: string;
  purpose?: string;
  base_model_name_or_path: string;
  /** What the trainer's model has to be loaded with. */
  lora: LoraConfig;
  /** The options of a round, which has `max_steps` local steps or goes `num_train_epochs` times over one's rows. */
  train: TrainConfig & { learning_rate: number };
  rounds: number;
  /** A round begins with at least so many. */
  min_clients: number;
  aggregation: Aggregation;
  /** What the server multiplies the mean delta with, or FedAdam's rate. */
  server_learning_rate: number;
  delta_dtype: DeltaDtype;
  /** Whether those who hold rows out tell their loss on them. */
  evaluate: boolean;
  privacy: Privacy;
  /** How long the server waits for a reply. */
  round_seconds: number;
  /** The public keys of those who may join; null lets everybody. */
  enrolled: string[] | null;
}

/** The most bytes of `federation.json`. */
export const MAX_TERMS_BYTES = 1 << 20;
/** The most fields of `train`, and the most clients of a masked round, as the server has them. */
const MOST_OF_TRAIN = 40;
const MOST_MASKED = 255;

/**
 * Checks what a server tells, field by field, and puts the defaults in their places. The bounds are those of the server's app,
 * federated/server/tabtune_federated/terms.py; tests/federated/terms.test.mjs holds the two, and the proxy, to one another.
 */
export function termsOf(json: unknown): Terms {
  try {
    const terms = checked(json, "", FIELDS) as unknown as Terms & { purpose?: string | null };
    const noise = terms.privacy.noise !== "none";
    // Noise on A times noise on B would be more than what was accounted for.
    terms.lora.freeze_a ??= noise;
    terms.server_learning_rate ??= terms.aggregation === "fedadam" ? 0.01 : 1;
    if (terms.purpose === null) delete terms.purpose;
    const broken = rulesOf(terms, Object.keys((json as Terms).train).length).find(([is_broken]) => is_broken);
    if (broken) throw new Error(broken[1]);
    return terms as Terms;
  } catch (thrown) {
    throw refuse(`federation.json: ${(thrown as Error).message}`);
  }
}

const LORA: Record<string, Check> = { r: count(1, 512), lora_alpha: above(0, 1e6), target_modules: targets, freeze_a: optional(flag) };

const TRAIN: Record<string, Check> = {
  max_steps: optional(count(1, 100_000)),
  num_train_epochs: optional(count(1, 1000)),
  learning_rate: above(0, 10),
  per_device_train_batch_size: optional(count(1, 4096), 8),
  max_length: optional(count(1, 1 << 20), 1024),
};

const PRIVACY: Record<string, Check> = {
  mask: optional(flag, false),
  clip: orNull(above(0, 1e6)),
  noise: optional(oneOf("none", "local", "central"), "none"),
  noise_multiplier: optional(from(0, 1e6), 0),
  delta: optional(above(0, 0.5), 1e-5),
};

const FIELDS: Record<string, Check> = {
  version: oneOf(1),
  name: text(80),
  operator: text(120),
  purpose: orNull(text(500)),
  base_model_name_or_path: text(300),
  lora: (value, at) => checked(value, at, LORA),
  train: (value, at) => checked(value, at, TRAIN, option),
  rounds: count(1, 100_000),
  min_clients: optional(count(1, 1000), 2),
  aggregation: optional(oneOf("fedavg", "fedadam", "flexlora"), "fedavg"),
  server_learning_rate: optional(above(0, 100)),
  delta_dtype: optional(oneOf("f32", "f16", "nf4"), "f32"),
  evaluate: optional(flag, true),
  privacy: (value = {}, at) => checked(value, at, PRIVACY),
  round_seconds: optional(above(0, 604_800), 600),
  enrolled: orNull(listOf(key, 10_000)),
};

/** What one field says of another, each with whether it is broken. */
function rulesOf({ lora, train, min_clients, aggregation, server_learning_rate, delta_dtype, privacy, enrolled }: Terms, options: number): [boolean, string][] {
  const { mask, clip, noise, noise_multiplier } = privacy;
  const is_flexible = aggregation === "flexlora";
  return [
    [options > MOST_OF_TRAIN, `train has more than ${MOST_OF_TRAIN} fields`],
    [!train.max_steps && !train.num_train_epochs, "train.max_steps or train.num_train_epochs is missing: how far a round goes"],
    [!!train.max_steps && !!train.num_train_epochs, "train.num_train_epochs says nothing beside train.max_steps, which are a round's"],
    [mask && !train.max_steps, "train.max_steps is missing: with privacy.mask it bounds what a value moves"],
    [noise !== "none" && clip === null, "privacy.clip is missing: noise hides a client only where its delta is bounded"],
    [noise !== "none" && noise_multiplier === 0, "privacy.noise_multiplier must be above 0 where there is noise"],
    [noise === "none" && noise_multiplier > 0, 'privacy.noise_multiplier says nothing with privacy.noise "none"'],
    [mask && delta_dtype !== "f32", 'delta_dtype must be "f32" with privacy.mask'],
    [mask && min_clients < 2, "min_clients must be at least 2 with privacy.mask: the sum of one client is its delta"],
    [mask && min_clients > MOST_MASKED, `min_clients must be at most ${MOST_MASKED} with privacy.mask: no more are summed in a round`],
    [is_flexible && lora.freeze_a === true, 'lora.freeze_a must be false with aggregation "flexlora", which takes A and B apart anew'],
    [is_flexible && mask, 'privacy.mask needs one sum, which aggregation "flexlora" has not'],
    [is_flexible && noise === "central", 'privacy.noise "central" needs one sum, which aggregation "flexlora" has not'],
    [is_flexible && server_learning_rate !== 1, 'server_learning_rate must be 1 with aggregation "flexlora", which replaces what was there'],
    [new Set(enrolled).size < (enrolled?.length ?? 0), "enrolled names a key twice"],
  ];
}

/** An error of what a person or a server has set. */
export function refuse(message: string): Error {
  return failure("bad-option", message);
}

/** The bytes of a delta of so many values, as they are sent. */
export function deltaBytes(values: number, { delta_dtype, privacy }: Pick<Terms, "delta_dtype" | "privacy">): number {
  // The sum of the weights and of the losses are masked with the values.
  if (privacy.mask) return 4 * (values + 2);
  return { f32: 4 * values, f16: 2 * values, nf4: Math.ceil(values / 2) + 2 * Math.ceil(values / 128) }[delta_dtype];
}
