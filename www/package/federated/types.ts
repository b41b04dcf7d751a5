import type { RunEvent, RunPolicy, StepLog } from "../types.js";
import type { Dataset } from "../dataset.js";
import type { Trainer } from "../trainer.js";
import type { Terms } from "./terms.js";

/** What {@link Federation.join} takes. */
export interface FederationOptions {
  /** A trainer whose model was loaded with the `lora` of the terms. */
  trainer: Trainer;
  /** One's own rows, which never leave the browser. */
  dataset: Dataset;
  /** Rows to tell the loss on, which are not learnt from; `test_size` among the train options of the terms holds some out instead. */
  eval_dataset?: Dataset;
  /** What one lets a server ask for; more is refused before anything is sent, and again in every round. */
  bounds?: Bounds;
  /** Asked once with all that would be sent, before the server hears of this browser; false ends it as `cancelled`. */
  agree?: (offer: Offer) => boolean | Promise<boolean>;
  /** When rounds rest, as runs do; false never rests. */
  policy?: Partial<RunPolicy> | false;
  /** Hears what happens. */
  on_event?: (event: FederationEvent) => void;
  signal?: AbortSignal;
}

/** What one lets a server ask for. */
export interface Bounds {
  /** The most optimiser steps of a round. Default: 1,000. */
  max_steps?: number;
  /** The most rounds. Default: 1,000. */
  max_rounds?: number;
  /** The most bytes that leave in a round. Default: 256 MiB. */
  max_bytes?: number;
  /** Take part only where the server sees nothing but the sum. Default false. */
  masked?: boolean;
  /** Take part only where noise is added. Default false. */
  noised?: boolean;
}

/** What joining means, to be shown before it. */
export interface Offer {
  terms: Terms;
  /** Where everything is sent. */
  server: string;
  /** Values of a delta. */
  values: number;
  /** Bytes of a delta as it is sent; what comes with it is less than a twentieth of that, or some kilobytes. */
  bytes_up: number;
  /** Bytes of what comes from the server in a round. */
  bytes_down: number;
  /** Local steps of a round. */
  steps: number;
  /** The SHA-256 of this browser's public key, as the server's operator enrols it, in hexadecimal digits. */
  fingerprint: string;
  /** The public key, as PEM. */
  public_key: string;
}

/** A round that was taken part in. */
export interface Round {
  /** From 1. */
  number: number;
  rounds: number;
  /** The mean loss of the held-out rows with what came, or of the first step where there are none. */
  loss_before: number;
  /** The same with what was made of it, or of the last step. */
  loss_after: number;
  /** Whether the losses are of rows that were held out. */
  is_held_out: boolean;
  steps: number;
  /** Whether the server still waited for it; one that came too late is in no sum. */
  is_counted: boolean;
  /** Bytes of requests and of answers since the round came. */
  bytes_up: number;
  bytes_down: number;
  seconds: number;
  /** Who decides what is next: the server, until the last round is over. */
  next: "server" | "nobody";
}

/** Something that happened while taking part. */
export type FederationEvent =
  | { type: "joined"; detail: string; fingerprint: string }
  | { type: "waiting"; detail: string }
  | { type: "round"; detail: string; number: number; rounds: number; is_resumed: boolean }
  | { type: "step"; log: StepLog }
  | { type: "clipped"; detail: string }
  | { type: "sent"; detail: string; number: number; bytes: number }
  | { type: "evaluated"; detail: string; number: number; loss: number; rows: number }
  | { type: "refused"; detail: string; code: string }
  | { type: "unreachable"; detail: string; seconds: number }
  | { type: "left"; detail: string }
  | { type: "run"; event: RunEvent };
