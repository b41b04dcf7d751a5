/** What an evaluation told of the metric that models are chosen by. */
export interface Evaluated {
  step: number;
  value: number;
}

/** How models are chosen, and when a run ends for that; transformers' rules. */
export interface BestRules {
  /** As an evaluation has it, e.g. "eval_loss". */
  metric: string;
  greater_is_better: boolean;
  /** Evaluations without progress after which the run ends; without it none do. */
  patience: number | undefined;
  /** How much better than the best an evaluation has to be to count as progress. */
  threshold: number;
}

/** What is known after some evaluations. */
export interface Judgement {
  best: Evaluated | undefined;
  /** Evaluations since the last one that was progress. */
  failures: number;
  /** Whether the run ends. */
  stops: boolean;
}

/**
 * The best of evaluations in their order, and whether patience has run out. As in transformers (`EarlyStoppingCallback`, which is
 * asked before the best is chosen anew): every improvement makes a new best, but only one by more than the threshold is
 * progress; what is no number is neither, and the first evaluation always counts as progress.
 */
export function judged(evaluations: readonly Evaluated[], { greater_is_better, patience, threshold }: BestRules): Judgement {
  let best: Evaluated | undefined;
  let failures = 0;
  for (const [index, evaluation] of evaluations.entries()) {
    const { value } = evaluation;
    // Until a number has come, any is better.
    const so_far = best?.value ?? (greater_is_better ? -Infinity : Infinity);
    const is_better = greater_is_better ? value > so_far : value < so_far;
    if (index === 0 || (is_better && Math.abs(value - so_far) > threshold)) failures = 0;
    else failures += 1;
    if (is_better) best = evaluation;
  }
  const is_over = evaluations.length > 0 && patience !== undefined && failures >= patience;
  return { best, failures, stops: is_over };
}
