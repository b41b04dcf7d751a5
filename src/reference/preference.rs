//! Twin of [`crate::kernels::preference`].

use num_traits::Float;

use crate::kernels::preference::{
    ACCURACIES, Batch, CpoParams, DpoParams, KL, KtoParams, LOG_ODDS_CHOSEN, LOG_ODDS_RATIO, LOGPS_CHOSEN,
    LOGPS_REJECTED, LOSS, MARGINS, MEASURES, NLL, NOBODY, OrpoParams, REWARDS_CHOSEN, REWARDS_REJECTED,
    Sequence,
};

fn float<F: Float>(x: f32) -> F {
    F::from(x).expect("a float")
}

fn count<F: Float>(n: u32) -> F {
    F::from(n).expect("a float")
}

fn sigmoid<F: Float>(x: F) -> F {
    F::one() / (F::one() + (-x).exp())
}

/// −log σ(x).
fn surprise<F: Float>(x: F) -> F {
    (-x).max(F::zero()) + (-x.abs()).exp().ln_1p()
}

/// Returns `logps` and `nlls` [sequences].
pub fn sums<F: Float>(sequences: &[Sequence], losses: &[F]) -> (Vec<F>, Vec<F>) {
    let sum = |from: u32, to: u32| {
        losses[from as usize..to as usize].iter().fold(F::zero(), |sum, &loss| sum + loss)
    };
    let logps = sequences.iter().map(|of| -sum(of.answer, of.end)).collect();
    (logps, sequences.iter().map(|of| sum(of.start, of.end)).collect())
}

/// The sums that objectives of pairs are made of.
pub struct Sums<'a, F> {
    pub logps: &'a [F],
    pub nlls: &'a [F],
}

/// What an objective makes of a micro-batch.
pub struct Judged<F> {
    /// By sequence, as [`crate::kernels::preference::Pairs::weights`].
    pub weights: Vec<[F; 2]>,
    /// By measure, the value where there is one.
    pub measures: [Option<F>; MEASURES],
}

/// A pair's loss, its gradient by the log-probabilities of both answers, and what is told of it.
struct Pair<F> {
    loss: F,
    slopes: [F; 2],
    rewards: [F; 2],
    told: [F; 2],
    beside: Vec<(usize, F)>,
}

/// Means over pairs, of which `every` scored token of chosen answers weighs so much.
fn of_pairs<F: Float>(batch: &Batch, every: F, pair: impl Fn(usize) -> Pair<F>) -> Judged<F> {
    let pairs = count::<F>(batch.count);
    let share = float::<F>(batch.share);
    let mut judged = Judged { weights: Vec::new(), measures: [None; MEASURES] };
    for index in 0..batch.count as usize {
        let Pair { loss, slopes, rewards: [chosen, rejected], told, beside } = pair(index);
        judged.weights.push([-slopes[0] * share / pairs, every * share]);
        judged.weights.push([-slopes[1] * share / pairs, F::zero()]);
        let accuracy = if chosen > rejected { F::one() } else { F::zero() };
        let common = [
            (LOSS, loss),
            (REWARDS_CHOSEN, chosen),
            (REWARDS_REJECTED, rejected),
            (ACCURACIES, accuracy),
            (MARGINS, chosen - rejected),
            (LOGPS_CHOSEN, told[0]),
            (LOGPS_REJECTED, told[1]),
        ];
        for (measure, value) in common.into_iter().chain(beside) {
            let sum = judged.measures[measure].unwrap_or(F::zero());
            judged.measures[measure] = Some(sum + value / pairs);
        }
    }
    judged
}

pub fn dpo<F: Float>(
    params: &DpoParams,
    sequences: &[Sequence],
    batch: &Batch,
    of: Sums<'_, F>,
    reference: &[F],
) -> Judged<F> {
    let (beta, e, one) = (float::<F>(params.beta), float::<F>(params.label_smoothing), F::one());
    let two = one + one;
    let part = |weight: f32, value: F| if weight == 0.0 { F::zero() } else { float::<F>(weight) * value };
    let pair = |index: usize| {
        let of_answers = [2 * index, 2 * index + 1];
        let ratios = of_answers.map(|s| of.logps[s] - reference[s]);
        let lengths = of_answers.map(|s| count::<F>(sequences[s].tokens));
        let x = beta * (ratios[0] - ratios[1]);
        let bend = |x: F| sigmoid(x) * sigmoid(-x);
        let distance = ratios[0] / lengths[0] - ratios[1] / lengths[1] - one / (two * beta);
        let smooth = one - two * e;
        let parts = [
            (params.sigmoid, surprise(x), [-beta * sigmoid(-x), beta * sigmoid(-x)]),
            (params.hinge, (one - x).max(F::zero()), if x < one { [-beta, beta] } else { [F::zero(); 2] }),
            (params.ipo, distance * distance, [two * distance / lengths[0], -two * distance / lengths[1]]),
            (
                params.robust,
                ((one - e) * surprise(x) - e * surprise(-x)) / smooth,
                [-one, one].map(|sign| sign * beta * ((one - e) * sigmoid(-x) + e * sigmoid(x)) / smooth),
            ),
            (
                params.apo_zero,
                one - sigmoid(beta * ratios[0]) + sigmoid(beta * ratios[1]),
                [-beta * bend(beta * ratios[0]), beta * bend(beta * ratios[1])],
            ),
            (
                params.apo_down,
                sigmoid(beta * ratios[0]) + one - sigmoid(x),
                [beta * bend(beta * ratios[0]) - beta * bend(x), beta * bend(x)],
            ),
        ];
        let mut loss = part(params.sft, of.nlls[2 * index] * count(batch.count) / float(batch.tokens));
        let mut slopes = [F::zero(); 2];
        for (weight, value, of_part) in parts {
            loss = loss + part(weight, value);
            slopes = [0, 1].map(|side| slopes[side] + part(weight, of_part[side]));
        }
        Pair {
            loss,
            slopes,
            rewards: ratios.map(|ratio| beta * ratio),
            told: of_answers.map(|s| of.logps[s]),
            beside: Vec::new(),
        }
    };
    of_pairs(batch, part(params.sft, one / float(batch.tokens)), pair)
}

/// Tokens of the answer that something predicts.
fn predicted<F: Float>(sequence: &Sequence) -> F {
    count(sequence.end - sequence.answer)
}

pub fn orpo<F: Float>(
    params: &OrpoParams,
    sequences: &[Sequence],
    batch: &Batch,
    of: Sums<'_, F>,
) -> Judged<F> {
    let beta = float::<F>(params.beta);
    let pair = |index: usize| {
        let of_answers = [2 * index, 2 * index + 1];
        let lengths = of_answers.map(|s| predicted::<F>(&sequences[s]));
        let means = [0, 1].map(|side| of.logps[of_answers[side]] / lengths[side]);
        let rest = means.map(|mean| -mean.exp_m1());
        let odds = (means[0] - means[1]) - (rest[0].ln() - rest[1].ln());
        let nll = of.nlls[2 * index] * count(batch.count) / float(batch.tokens);
        let slope = -beta * sigmoid(-odds);
        Pair {
            loss: nll + beta * surprise(odds),
            slopes: [slope / rest[0] / lengths[0], -slope / rest[1] / lengths[1]],
            rewards: means.map(|mean| beta * mean),
            told: means,
            beside: vec![(NLL, nll), (LOG_ODDS_RATIO, -surprise(odds)), (LOG_ODDS_CHOSEN, odds)],
        }
    };
    of_pairs(batch, F::one() / float(batch.tokens), pair)
}

pub fn cpo<F: Float>(
    params: &CpoParams,
    sequences: &[Sequence],
    batch: &Batch,
    of: Sums<'_, F>,
) -> Judged<F> {
    let (beta, e, one) = (float::<F>(params.beta), float::<F>(params.label_smoothing), F::one());
    let alpha = float::<F>(params.alpha);
    let pair = |index: usize| {
        let of_answers = [2 * index, 2 * index + 1];
        let lengths =
            of_answers.map(|s| if params.by_token == 1 { predicted::<F>(&sequences[s]) } else { one });
        let scores = [0, 1].map(|side| of.logps[of_answers[side]] / lengths[side]);
        let x = beta * (scores[0] - scores[1]) - float(params.gamma);
        let nll = of.nlls[2 * index] * count(batch.count) / float(batch.tokens);
        let slope = beta * (e * sigmoid(x) - (one - e) * sigmoid(-x));
        Pair {
            loss: (one - e) * surprise(x) + e * surprise(-x) + alpha * nll,
            slopes: [slope / lengths[0], -slope / lengths[1]],
            rewards: scores.map(|score| beta * score),
            told: scores,
            beside: vec![(NLL, nll)],
        }
    };
    of_pairs(batch, alpha / float(batch.tokens), pair)
}

/// What rated answers are judged by.
pub struct Ratios<'a, F> {
    pub logps: &'a [F],
    pub reference: &'a [F],
    pub kl_logps: &'a [F],
    pub kl_reference: &'a [F],
}

pub fn kto<F: Float>(
    params: &KtoParams,
    sequences: &[Sequence],
    batch: &Batch,
    of: Ratios<'_, F>,
) -> Judged<F> {
    let n = batch.count as usize;
    let (beta, share, answers) = (float::<F>(params.beta), float::<F>(batch.share), count::<F>(batch.count));
    let sum = |values: &mut dyn Iterator<Item = F>| values.fold(F::zero(), |sum, value| sum + value);
    let kl = sum(&mut (0..n).map(|i| of.kl_logps[i] - of.kl_reference[i])) / answers;
    let kl = kl.max(F::zero());
    let ratio = |i: usize| of.logps[i] - of.reference[i];
    let is_good = |i: &usize| sequences[*i].is_good == 1;
    let sign = |i: usize| if is_good(&i) { F::one() } else { -F::one() };
    let weight =
        |i: usize| float::<F>(if is_good(&i) { params.desirable_weight } else { params.undesirable_weight });
    let z = |i: usize| beta * sign(i) * (ratio(i) - kl);
    let slope = |i: usize| -weight(i) * sigmoid(z(i)) * sigmoid(-z(i)) * beta * sign(i);
    let mut measures = [None; MEASURES];
    measures[LOSS] = Some(sum(&mut (0..n).map(|i| weight(i) * sigmoid(-z(i)))) / answers);
    measures[KL] = Some(kl);
    for (wanted, rewards, logps) in
        [(true, REWARDS_CHOSEN, LOGPS_CHOSEN), (false, REWARDS_REJECTED, LOGPS_REJECTED)]
    {
        let own: Vec<usize> = (0..n).filter(|i| is_good(i) == wanted).collect();
        if !own.is_empty() {
            let many = count::<F>(own.len() as u32);
            measures[rewards] = Some(sum(&mut own.iter().map(|&i| beta * ratio(i))) / many);
            measures[logps] = Some(sum(&mut own.iter().map(|&i| of.logps[i])) / many);
        }
    }
    if let (Some(chosen), Some(rejected)) = (measures[REWARDS_CHOSEN], measures[REWARDS_REJECTED]) {
        measures[MARGINS] = Some(chosen - rejected);
    }
    let weights = (0..n).map(|i| [-slope(i) * share / answers, F::zero()]).collect();
    Judged { weights, measures }
}

/// Returns `out` [n].
pub fn spread<F: Float>(owners: &[u32], weights: &[[F; 2]]) -> Vec<F> {
    let of = |&owner: &u32| {
        let [answer, every] = weights[owner as usize / 2];
        if owner % 2 == 1 { every + answer } else { every }
    };
    owners.iter().map(|owner| if *owner == NOBODY { F::zero() } else { of(owner) }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::finite_difference::check_gradient;

    /// Three pairs, of which the chosen sequences have scored tokens in their prompts.
    fn sequences() -> Vec<Sequence> {
        let mut start = 0;
        let of = |(index, [prompt, answer]): (usize, [u32; 2])| {
            let own = Sequence {
                start,
                answer: start + prompt,
                end: start + prompt + answer,
                tokens: answer + 1,
                is_good: u32::from(index % 2 == 0),
            };
            start = own.end;
            own
        };
        [[2, 3], [0, 4], [1, 1], [0, 5], [3, 2], [0, 2]].into_iter().enumerate().map(of).collect()
    }

    fn losses(n: usize) -> Vec<f64> {
        (0..n).map(|i| 0.3 + 1.7 * ((i * 7 % 11) as f64) / 11.0).collect()
    }

    /// The weights of tokens are the derivative of the micro-batch's share of the loss by their losses.
    fn assert_weights(judge: impl Fn(&[f64], &[f64]) -> Judged<f64>) {
        let sequences = sequences();
        let scored = sequences[5].end as usize;
        let share = 0.25;
        let mut owners = vec![0; scored];
        for (index, of) in sequences.iter().enumerate() {
            (of.start..of.end)
                .for_each(|i| owners[i as usize] = 2 * index as u32 + u32::from(i >= of.answer));
        }
        let losses = losses(scored);
        let judged = |losses: &[f64]| {
            let (logps, nlls) = sums(&sequences, losses);
            judge(&logps, &nlls)
        };
        let weights = spread(&owners, &judged(&losses).weights);
        let of = |losses: &[f64]| share * judged(losses).measures[LOSS].expect("a loss");
        check_gradient(of, &losses, &weights, 1e-8);
    }

    fn batch(count: u32, tokens: f32) -> Batch {
        Batch { count, share: 0.25, tokens }
    }

    #[test]
    fn weights_of_tokens_are_the_gradient_of_the_loss() {
        let sequences = sequences();
        let reference = [-2.5, -3.5, -0.9, -5.0, -2.0, -1.5f64];
        let none = DpoParams {
            beta: 0.4,
            label_smoothing: 0.1,
            sigmoid: 0.0,
            hinge: 0.0,
            ipo: 0.0,
            robust: 0.0,
            apo_zero: 0.0,
            apo_down: 0.0,
            sft: 0.0,
        };
        for params in [
            DpoParams { sigmoid: 1.0, ..none },
            DpoParams { hinge: 1.0, ..none },
            DpoParams { ipo: 1.0, ..none },
            DpoParams { robust: 1.0, ..none },
            DpoParams { apo_zero: 1.0, ..none },
            DpoParams { apo_down: 1.0, ..none },
            DpoParams { sft: 1.0, ..none },
            DpoParams { sigmoid: 0.7, apo_down: 0.4, sft: 0.3, ..none },
        ] {
            assert_weights(|logps, nlls| {
                dpo(&params, &sequences, &batch(3, 12.0), Sums { logps, nlls }, &reference)
            });
        }
        let params = OrpoParams { beta: 0.4 };
        assert_weights(|logps, nlls| orpo(&params, &sequences, &batch(3, 12.0), Sums { logps, nlls }));
        for (gamma, alpha, by_token) in [(0.5, 0.0, 1), (0.0, 1.5, 0)] {
            let params = CpoParams { beta: 0.4, gamma, alpha, label_smoothing: 0.1, by_token };
            assert_weights(|logps, nlls| cpo(&params, &sequences, &batch(3, 12.0), Sums { logps, nlls }));
        }
        let params = KtoParams { beta: 0.4, desirable_weight: 1.2, undesirable_weight: 0.7 };
        let kl_logps = reference.map(|logp| logp + 0.4);
        assert_weights(|logps, _| {
            let of = Ratios { logps, reference: &reference, kl_logps: &kl_logps, kl_reference: &reference };
            kto(&params, &sequences, &batch(6, 0.0), of)
        });
    }
}
