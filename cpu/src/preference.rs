//! Objectives over whole answers; `shaders/preference_*.wgsl` have their equations.

use crate::args::Args;
use crate::lanes::{exp, ln, part, sum};
use crate::params::preference::{
    ACCURACIES, Batch, CpoParams, DpoParams, KL, KtoParams, LOG_ODDS_CHOSEN, LOG_ODDS_RATIO, LOGPS_CHOSEN,
    LOGPS_REJECTED, LOSS, MARGINS, MEASURES, NLL, NOBODY, OrpoParams, REWARDS_CHOSEN, REWARDS_REJECTED,
    Sequence, SpreadParams, SumsParams,
};
use crate::simd::Vector;
use crate::table::Kernel;

/// Words of a [`Sequence`].
const SEQUENCE: usize = 5;

fn sequence(words: &[u32], index: usize) -> Sequence {
    let [start, answer, end, tokens, is_good] = words.as_chunks::<SEQUENCE>().0[index];
    Sequence { start, answer, end, tokens, is_good }
}

fn batch(words: &[u32]) -> Batch {
    Batch { count: words[0], share: f32::from_bits(words[1]), tokens: f32::from_bits(words[2]) }
}

/// 1 / (1 + exp(−x)), of which neither end overflows.
#[inline(never)]
fn sigmoid(x: f32) -> f32 {
    let small = exp(-x.abs());
    (if x >= 0.0 { 1.0 } else { small }) / (1.0 + small)
}

/// −log σ(x).
#[inline(never)]
fn surprise(x: f32) -> f32 {
    (-x).max(0.0) + ln(1.0 + exp(-x.abs()))
}

/// Operands: sequences, losses, logps, nlls.
pub struct Sums;

impl Kernel for Sums {
    fn tasks(args: &Args) -> u32 {
        args.params::<SumsParams>().sequences
    }

    #[inline(always)]
    fn run<V: Vector>(args: &Args, task: u32, _: &mut [f32]) {
        let index = task as usize;
        let Sequence { start, answer, end, .. } = sequence(args.words(0), index);
        let of = |from: u32, to: u32| {
            sum([&args.input(1)[from as usize..to as usize]], |sum: V, [loss]| sum + loss)
        };
        let (of_answer, of_prompt) = (of(answer, end), of(start, answer));
        // SAFETY: Tasks have sequences of their own.
        let (logp, nll) =
            unsafe { (args.output(2).slice(index..index + 1), args.output(3).slice(index..index + 1)) };
        (logp[0], nll[0]) = (-of_answer, of_prompt + of_answer);
    }
}

/// What an objective of pairs works on, the first operands of each: sequences, batch, logps, nlls.
struct Pairs<'a> {
    sequences: &'a [u32],
    batch: Batch,
    logps: &'a [f32],
    nlls: &'a [f32],
}

/// A pair's loss, its slopes by the log-probabilities of both answers, and what is told of it.
struct Pair {
    loss: f32,
    slopes: [f32; 2],
    rewards: [f32; 2],
    told: [f32; 2],
}

impl<'a> Pairs<'a> {
    fn new(args: &Args<'a>) -> Self {
        Pairs {
            sequences: args.words(0),
            batch: batch(args.words(1)),
            logps: args.input(2),
            nlls: args.input(3),
        }
    }

    fn logps(&self, pair: usize) -> [f32; 2] {
        [self.logps[2 * pair], self.logps[2 * pair + 1]]
    }

    /// The pair's part of the mean over the scored tokens of chosen answers.
    fn nll(&self, pair: usize) -> f32 {
        self.nlls[2 * pair] * (self.batch.count as f32 / self.batch.tokens)
    }

    /// Tokens of both answers that something predicts.
    fn predicted(&self, pair: usize) -> [f32; 2] {
        let of = |index| {
            let own = sequence(self.sequences, index);
            (own.end - own.answer) as f32
        };
        [of(2 * pair), of(2 * pair + 1)]
    }

    /// Writes weights and adds to the tally, the last operands from `first` on, what `judge` makes of each pair and the
    /// measures that it adds to itself. Every scored token of chosen answers weighs `every`.
    #[inline(always)]
    fn judge(
        &self,
        args: &Args,
        first: usize,
        every: f32,
        mut judge: impl FnMut(usize, &mut [f32; MEASURES]) -> Pair,
    ) {
        let count = self.batch.count as usize;
        let share = self.batch.share / count as f32;
        // SAFETY: There is one task.
        let (weights, tally) = unsafe {
            let weights = args.output(first).slice(0..4 * count);
            (weights.as_chunks_mut::<4>().0, args.output(first + 1).slice(0..2 * MEASURES))
        };
        let mut measures = [0.0; MEASURES];
        for (pair, weights) in weights.iter_mut().enumerate() {
            let Pair { loss, slopes, rewards, told } = judge(pair, &mut measures);
            *weights = [-slopes[0] * share, every, -slopes[1] * share, 0.0];
            measures[LOSS] += loss;
            measures[REWARDS_CHOSEN] += rewards[0];
            measures[REWARDS_REJECTED] += rewards[1];
            measures[ACCURACIES] += f32::from(rewards[0] > rewards[1]);
            measures[MARGINS] += rewards[0] - rewards[1];
            measures[LOGPS_CHOSEN] += told[0];
            measures[LOGPS_REJECTED] += told[1];
        }
        for (tally, sum) in tally.as_chunks_mut::<2>().0.iter_mut().zip(measures) {
            tally[0] += sum / count as f32;
            tally[1] += 1.0;
        }
    }
}

/// Operands: those of [`Pairs`], reference, weights, tally.
pub struct Dpo;

impl Kernel for Dpo {
    fn tasks(_: &Args) -> u32 {
        1
    }

    #[inline(always)]
    fn run<V: Vector>(args: &Args, _: u32, _: &mut [f32]) {
        let params: DpoParams = args.params();
        let (of, reference) = (Pairs::new(args), args.input(4));
        let (beta, e) = (params.beta, params.label_smoothing);
        let every = if params.sft == 0.0 { 0.0 } else { of.batch.share * params.sft / of.batch.tokens };
        of.judge(args, 5, every, |pair, _| {
            let told = of.logps(pair);
            let ratios = [told[0] - reference[2 * pair], told[1] - reference[2 * pair + 1]];
            let x = beta * (ratios[0] - ratios[1]);
            let (right, wrong) = (sigmoid(x), sigmoid(-x));

            // By a difference of ratios alone: the loss and its derivative by x.
            let mut loss = params.sigmoid * surprise(x) + params.hinge * (1.0 - x).max(0.0);
            let mut slope = -params.sigmoid * wrong - if x < 1.0 { params.hinge } else { 0.0 };
            if params.robust != 0.0 {
                let scale = params.robust / (1.0 - 2.0 * e);
                loss += scale * ((1.0 - e) * surprise(x) - e * surprise(-x));
                slope -= scale * ((1.0 - e) * wrong + e * right);
            }
            loss += params.apo_down * wrong;
            slope -= params.apo_down * right * wrong;
            let mut slopes = [beta * slope, -beta * slope];

            // By each ratio.
            if params.ipo != 0.0 {
                let lengths = [2 * pair, 2 * pair + 1].map(|s| sequence(of.sequences, s).tokens as f32);
                let distance = ratios[0] / lengths[0] - ratios[1] / lengths[1] - 0.5 / beta;
                loss += params.ipo * distance * distance;
                slopes[0] += params.ipo * 2.0 * distance / lengths[0];
                slopes[1] -= params.ipo * 2.0 * distance / lengths[1];
            }
            let of_chosen = [sigmoid(beta * ratios[0]), sigmoid(-beta * ratios[0])];
            let of_rejected = [sigmoid(beta * ratios[1]), sigmoid(-beta * ratios[1])];
            loss += params.apo_zero * (of_chosen[1] + of_rejected[0]) + params.apo_down * of_chosen[0];
            slopes[0] += (params.apo_down - params.apo_zero) * beta * of_chosen[0] * of_chosen[1];
            slopes[1] += params.apo_zero * beta * of_rejected[0] * of_rejected[1];

            // Means over tokens, of which a pair has its part.
            if params.sft != 0.0 {
                loss += params.sft * of.nll(pair);
            }
            Pair { loss, slopes, rewards: ratios.map(|ratio| beta * ratio), told }
        });
    }
}

/// 1 − exp(x) of x ≤ 0, by a series where exp(x) is near 1.
#[inline(never)]
fn complement(x: f32) -> f32 {
    if x <= -0.7 {
        return 1.0 - exp(x);
    }
    let mut series = 1.0;
    for n in (2..=10u8).rev() {
        series = 1.0 + series * x / f32::from(n);
    }
    -x * series
}

/// Operands: those of [`Pairs`], weights, tally.
pub struct Orpo;

impl Kernel for Orpo {
    fn tasks(_: &Args) -> u32 {
        1
    }

    #[inline(always)]
    fn run<V: Vector>(args: &Args, _: u32, _: &mut [f32]) {
        let OrpoParams { beta } = args.params();
        let of = Pairs::new(args);
        of.judge(args, 4, of.batch.share / of.batch.tokens, |pair, measures| {
            let (logps, lengths) = (of.logps(pair), of.predicted(pair));
            let means = [logps[0] / lengths[0], logps[1] / lengths[1]];
            let rest = means.map(complement);
            let odds = (means[0] - means[1]) - (ln(rest[0]) - ln(rest[1]));
            let (ratio, nll) = (surprise(odds), of.nll(pair));
            let slope = -beta * sigmoid(-odds);
            measures[NLL] += nll;
            measures[LOG_ODDS_RATIO] -= ratio;
            measures[LOG_ODDS_CHOSEN] += odds;
            Pair {
                loss: nll + beta * ratio,
                slopes: [slope / rest[0] / lengths[0], -slope / rest[1] / lengths[1]],
                rewards: means.map(|mean| beta * mean),
                told: means,
            }
        });
    }
}

/// Operands: those of [`Pairs`], weights, tally.
pub struct Cpo;

impl Kernel for Cpo {
    fn tasks(_: &Args) -> u32 {
        1
    }

    #[inline(always)]
    fn run<V: Vector>(args: &Args, _: u32, _: &mut [f32]) {
        let CpoParams { beta, gamma, alpha, label_smoothing: e, by_token } = args.params();
        let of = Pairs::new(args);
        of.judge(args, 4, alpha * of.batch.share / of.batch.tokens, |pair, measures| {
            let lengths = if by_token == 1 { of.predicted(pair) } else { [1.0; 2] };
            let logps = of.logps(pair);
            let scores = [logps[0] / lengths[0], logps[1] / lengths[1]];
            let x = beta * (scores[0] - scores[1]) - gamma;
            let slope = beta * (e * sigmoid(x) - (1.0 - e) * sigmoid(-x));
            let nll = of.nll(pair);
            measures[NLL] += nll;
            Pair {
                loss: (1.0 - e) * surprise(x) + e * surprise(-x) + alpha * nll,
                slopes: [slope / lengths[0], -slope / lengths[1]],
                rewards: scores.map(|score| beta * score),
                told: scores,
            }
        });
    }
}

/// Operands: sequences, batch, logps, reference, kl_logps, kl_reference, weights, tally.
pub struct Kto;

impl Kernel for Kto {
    fn tasks(_: &Args) -> u32 {
        1
    }

    #[inline(always)]
    fn run<V: Vector>(args: &Args, _: u32, _: &mut [f32]) {
        let KtoParams { beta, desirable_weight, undesirable_weight } = args.params();
        let (sequences, batch) = (args.words(0), batch(args.words(1)));
        let [logps, reference, kl_logps, kl_reference] = [2, 3, 4, 5].map(|operand| args.input(operand));
        let (n, count) = (batch.count as usize, batch.count as f32);
        let differences = kl_logps[..n].iter().zip(kl_reference).map(|(logp, reference)| logp - reference);
        let kl = (differences.sum::<f32>() / count).max(0.0);
        // SAFETY: There is one task.
        let (weights, tally) = unsafe {
            let (weights, tally) = (args.output(6).slice(0..2 * n), args.output(7).slice(0..2 * MEASURES));
            (weights.as_chunks_mut::<2>().0, tally.as_chunks_mut::<2>().0)
        };
        let mut loss = 0.0;
        // Of answers to be wished for and of others: how many, their rewards, their log-probabilities.
        let mut kinds = [[0.0; 3]; 2];
        for (i, weights) in weights.iter_mut().enumerate() {
            let is_good = sequence(sequences, i).is_good == 1;
            let (sign, weight) = if is_good { (1.0, desirable_weight) } else { (-1.0, undesirable_weight) };
            let ratio = logps[i] - reference[i];
            let z = beta * sign * (ratio - kl);
            let (right, wrong) = (sigmoid(z), sigmoid(-z));
            *weights = [weight * right * wrong * beta * sign * (batch.share / count), 0.0];
            loss += weight * wrong;
            let kind = &mut kinds[usize::from(!is_good)];
            kind.iter_mut().zip([1.0, beta * ratio, logps[i]]).for_each(|(sum, value)| *sum += value);
        }
        let mut tell = |measure: usize, value: f32| {
            tally[measure][0] += value;
            tally[measure][1] += 1.0;
        };
        tell(LOSS, loss / count);
        tell(KL, kl);
        let measures = [[REWARDS_CHOSEN, LOGPS_CHOSEN], [REWARDS_REJECTED, LOGPS_REJECTED]];
        for ([many, rewards, logps], [of_rewards, of_logps]) in kinds.into_iter().zip(measures) {
            if many > 0.0 {
                tell(of_rewards, rewards / many);
                tell(of_logps, logps / many);
            }
        }
        let [[good, chosen, _], [bad, rejected, _]] = kinds;
        if good > 0.0 && bad > 0.0 {
            tell(MARGINS, chosen / good - rejected / bad);
        }
    }
}

/// Tokens that a task takes.
const TOKENS: u32 = 1 << 14;

/// Operands: owners, weights, out [n].
pub struct Spread;

impl Kernel for Spread {
    fn tasks(args: &Args) -> u32 {
        args.params::<SpreadParams>().n.div_ceil(TOKENS)
    }

    #[inline(always)]
    fn run<V: Vector>(args: &Args, task: u32, _: &mut [f32]) {
        let own = part(task, TOKENS, args.params::<SpreadParams>().n);
        let weights = args.input(1).as_chunks::<2>().0;
        // SAFETY: Parts of tasks are disjoint.
        let out = unsafe { args.output(2).slice(own.clone()) };
        for (out, &owner) in out.iter_mut().zip(&args.words(0)[own]) {
            *out = match owner {
                NOBODY => 0.0,
                owner => {
                    let [answer, every] = weights[owner as usize / 2];
                    if owner % 2 == 1 { every + answer } else { every }
                }
            };
        }
    }
}
