import { failure } from "../errors.js";
import type { LoraConfig, TrainConfig } from "../types.js";

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
  /** The local steps of a round: `max_steps`, or epochs over one's own rows. */
  train: TrainConfig;
  rounds: number;
  /** A round begins with at least so many. */
  min_clients: number;
  aggregation: Aggregation;
  delta_dtype: DeltaDtype;
  /** Whether those who hold rows out tell their loss on them. */
  evaluate: boolean;
  privacy: Privacy;
  /** How long the server waits for a reply. */
  round_seconds: number;
  /** The public keys of those who may join; null lets everybody. */
  enrolled: string[] | null;
}

const NO_PRIVACY: Privacy = { mask: false, clip: null, noise: "none", noise_multiplier: 0, delta: 1e-5 };

/** The most bytes of `federation.json`. */
export const MAX_TERMS_BYTES = 1 << 20;

/** Checks what a server tells, field by field, and puts the defaults in their places. */
export function termsOf(json: unknown): Terms {
  const given = fields(json, "all of it");
  const text = (name: string, most: number): string => {
    const value = given[name];
    if (typeof value !== "string" || value.length === 0 || value.length > most) {
      throw refuse(`federation.json: ${name} must be a text of 1 to ${most} characters`);
    }
    return value;
  };
  const among = <T>(name: string, of: Record<string, unknown>, choices: readonly T[], otherwise: T): T => {
    const value = (of[name] ?? otherwise) as T;
    if (!choices.includes(value)) throw refuse(`federation.json: ${name} must be one of ${choices.join(", ")}`);
    return value;
  };
  const number = (name: string, of: Record<string, unknown>, [low, high]: [number, number], otherwise?: number): number => {
    const value = of[name] ?? otherwise;
    if (typeof value !== "number" || !(value >= low && value <= high)) {
      throw refuse(`federation.json: ${name} must be a number from ${low} to ${high}`);
    }
    return value;
  };
  const count = (name: string, high: number, otherwise?: number): number => {
    const value = number(name, given, [1, high], otherwise);
    if (!Number.isInteger(value)) throw refuse(`federation.json: ${name} must be a whole number`);
    return value;
  };
  if (given.version !== 1) throw refuse(`federation.json is of version ${String(given.version)}, and this client knows 1: update it`);
  const unknown = Object.keys(given).find((name) => !FIELDS.includes(name));
  if (unknown !== undefined) throw refuse(`federation.json: ${unknown} is no field of version 1`);
  const lora = fields(given.lora, "lora") as LoraConfig;
  const train = fields(given.train, "train") as TrainConfig;
  if ((train.max_steps === undefined) === (train.num_train_epochs === undefined)) {
    throw refuse("federation.json: train needs either max_steps or num_train_epochs, those of a round");
  }
  const { privacy: told = {} } = given;
  const of_privacy = fields(told, "privacy");
  const noise = among("noise", of_privacy, ["none", "local", "central"] as const, NO_PRIVACY.noise);
  const clip = of_privacy.clip == null ? null : number("clip", of_privacy, [Number.MIN_VALUE, 1e6]);
  const privacy: Privacy = {
    mask: among("mask", of_privacy, [true, false], false),
    clip,
    noise,
    noise_multiplier: number("noise_multiplier", of_privacy, [0, 1e6], 0),
    delta: number("delta", of_privacy, [0, 1], NO_PRIVACY.delta),
  };
  if (noise !== "none" && (clip === null || privacy.noise_multiplier === 0)) {
    throw refuse("federation.json: noise needs a clip and a noise_multiplier above 0");
  }
  const delta_dtype = among("delta_dtype", given, ["f32", "f16", "nf4"] as const, "f32");
  if (privacy.mask && delta_dtype !== "f32") throw refuse(`federation.json: masks go with delta_dtype "f32" alone`);
  const aggregation = among("aggregation", given, ["fedavg", "fedadam", "flexlora"] as const, "fedavg");
  // Noise on A times noise on B would be more than what was accounted for.
  lora.freeze_a ??= noise !== "none" && aggregation !== "flexlora";
  return {
    version: 1,
    name: text("name", 80),
    operator: text("operator", 120),
    ...(given.purpose !== undefined && { purpose: text("purpose", 500) }),
    base_model_name_or_path: text("base_model_name_or_path", 500),
    lora,
    train,
    rounds: count("rounds", 100_000),
    min_clients: count("min_clients", 100_000, 2),
    aggregation,
    delta_dtype,
    evaluate: among("evaluate", given, [true, false], true),
    privacy,
    round_seconds: number("round_seconds", given, [1, 7 * 86_400], 600),
    enrolled: keysOf(given.enrolled ?? null),
  };
}

const FIELDS: readonly string[] = [
  "version",
  "name",
  "operator",
  "purpose",
  "base_model_name_or_path",
  "lora",
  "train",
  "rounds",
  "min_clients",
  "aggregation",
  "server_learning_rate",
  "delta_dtype",
  "evaluate",
  "privacy",
  "round_seconds",
  "enrolled",
];

/** An error of what a person or a server has set. */
export function refuse(message: string): Error {
  return failure("bad-option", message);
}

function fields(value: unknown, name: string): Record<string, unknown> {
  if (typeof value === "object" && value !== null && !Array.isArray(value)) return { ...value };
  throw refuse(`federation.json: ${name} must be an object`);
}

function keysOf(value: unknown): string[] | null {
  const are_keys = value === null || (Array.isArray(value) && value.every((key) => typeof key === "string"));
  if (are_keys) return value as string[] | null;
  throw refuse("federation.json: enrolled must be null or a list of public keys");
}

/** The bytes of a delta of so many values, as they are sent. */
export function deltaBytes(values: number, { delta_dtype, privacy }: Pick<Terms, "delta_dtype" | "privacy">): number {
  // The sum of the weights and of the losses are masked with the values.
  if (privacy.mask) return 4 * (values + 2);
  return { f32: 4 * values, f16: 2 * values, nf4: Math.ceil(values / 2) + 2 * Math.ceil(values / 128) }[delta_dtype];
}
