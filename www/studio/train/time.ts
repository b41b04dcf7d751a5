/** What a run has to do, as far as it takes time. */
export interface Work {
  /** Values of the model. */
  parameters: number;
  steps: number;
  /** Tokens of a step, without what fills up short rows. */
  tokens_per_step: number;
  way: Way;
  /** Tokens of the rows that are held out, and how often they are measured. */
  heldout: { tokens: number; times: number };
}

/** What a token costs depends on. */
export interface Way {
  trains_all: boolean;
  is_mezo: boolean;
  /** How many directions a step of MeZO tries; left out: one. */
  directions?: number;
  /** Whether each layer is computed again on the way back. */
  checkpointing: boolean;
}

/** How fast a device was in a run. */
export interface Pace {
  /** What the device calls itself. */
  device: string;
  is_processor: boolean;
  parameters: number;
  /** Tokens a second times parameters, of a step that trains an adapter and keeps activations. */
  throughput: number;
  /** Seconds of its run beside its steps and measurements: answers on the way, and what is saved. */
  beside: number;
  /** Milliseconds since 1970. */
  date: number;
}

/** Seconds that a run takes, from and to. */
export interface Seconds {
  least: number;
  most: number;
  /** Whether it was measured on this device, and with a model of about that size. */
  is_measured: boolean;
}

/**
 * Two passes forward and one back are taken for three of the same length, as a step of the engine is. MeZO's share is
 * measured: 0.55 with a model of 7B, 0.61 with one of 135M.
 */
const SHARES = { pass: 1 / 3, mezo: 0.6 };

/** A run of which all is known still varies by what else the machine does. */
const VARIES = 1.2;

/** A smaller model keeps a device less busy than a larger one: by how much, for each time that it is ten times smaller. */
const BUSIER = 3;

/** Models whose sizes differ by less are taken to be alike. */
const LIKE = 1.3;

/** Tokens a second times parameters, before anything was measured: of one core, and of GPUs from a phone's to a desktop's. */
const GUESSED = { core: [1e9, 6e9], gpu: [2e10, 8e11] } as const;

/** What a token of a step costs against one that trains an adapter and keeps activations. */
export function tokenCost({ trains_all, is_mezo, directions = 1, checkpointing }: Way): number {
  if (is_mezo) return SHARES.mezo * directions;
  return 1 + (trains_all ? SHARES.pass : 0) + (checkpointing ? SHARES.pass : 0);
}

/** All that a run costs, in tokens times parameters. Measuring is a pass forward. */
export function costOf({ parameters, steps, tokens_per_step, way, heldout }: Work): number {
  return parameters * (steps * tokens_per_step * tokenCost(way) + heldout.times * heldout.tokens * SHARES.pass);
}

/** How long a run takes on a device, from what earlier runs took there; of a processor the cores count until one did. */
export function secondsOf(work: Work, paces: readonly Pace[], { is_processor, cores }: { is_processor: boolean; cores: number }): Seconds {
  const cost = costOf(work);
  const near = nearest(work.parameters, paces.filter((pace) => pace.is_processor === is_processor));
  if (!near) {
    const [slow, fast] = is_processor ? GUESSED.core.map((speed) => speed * cores) : GUESSED.gpu;
    return { least: cost / fast!, most: cost / slow!, is_measured: false };
  }
  const ratio = work.parameters / near.parameters;
  const seconds = cost / near.throughput + near.beside * ratio;
  if (Math.max(ratio, 1 / ratio) <= LIKE) return { least: seconds / VARIES, most: seconds * VARIES, is_measured: true };
  // A larger model may be faster for its size than what was measured, and a smaller one slower.
  const factor = BUSIER ** Math.abs(Math.log10(ratio)) * VARIES;
  const [least, most] = ratio > 1 ? [seconds / factor, seconds * VARIES] : [seconds / VARIES, seconds * factor];
  return { least, most, is_measured: false };
}

/** The pace of the model whose size is nearest, and of several the latest. */
function nearest(parameters: number, paces: readonly Pace[]): Pace | undefined {
  const distance = (pace: Pace) => Math.abs(Math.log(pace.parameters / parameters));
  return [...paces].sort((a, b) => distance(a) - distance(b) || b.date - a.date)[0];
}

/** For people: "about 9 minutes" where it was measured, and else "3–20 minutes, a first guess". */
export function timeWords({ least, most, is_measured }: Seconds): string {
  if (is_measured) return `about ${spanWords(Math.sqrt(least * most))}`;
  const [from, to] = [inUnit(least, unitOf(most)), inUnit(most, unitOf(most))];
  const span = from === to ? `about ${spanWords(most)}` : `${from}–${to} ${unitOf(most).words}s`;
  return `${span}, a first guess`;
}

interface Unit {
  seconds: number;
  words: string;
}

const UNITS: readonly Unit[] = [
  { seconds: 86_400, words: "day" },
  { seconds: 3600, words: "hour" },
  { seconds: 60, words: "minute" },
  { seconds: 1, words: "second" },
];

/** The unit in which that is a number that people say. */
function unitOf(seconds: number): Unit {
  return UNITS.find((unit) => seconds >= 1.5 * unit.seconds) ?? UNITS.at(-1)!;
}

function spanWords(seconds: number): string {
  const unit = unitOf(seconds);
  const number = inUnit(seconds, unit);
  return `${number} ${unit.words}${number === 1 ? "" : "s"}`;
}

/** Rounded as people say it: 1 to 10 as they are, then by fives. */
function inUnit(seconds: number, unit: Unit): number {
  const number = seconds / unit.seconds;
  return Math.max(1, number <= 10 ? Math.round(number) : 5 * Math.round(number / 5));
}
