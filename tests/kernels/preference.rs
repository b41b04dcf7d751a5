//! Objectives over whole answers against their twins.

use tabtune::kernels::preference::{
    self, Batch, CpoParams, DpoParams, KtoParams, MEASURES, NOBODY, OrpoParams, Pairs, Rated, Sequence,
    SpreadParams, SumsParams,
};
use tabtune::memory::Tensor;
use tabtune::reference::{self, preference::Judged};

use crate::harness::{Harness, assert_close, to_f32, to_f64};

/// Sequences of many lengths, some of whose prompts have scored tokens, one of a single token.
fn sequences(count: usize) -> Vec<Sequence> {
    let mut start = 5;
    let of = |index: usize| {
        let [prompt, answer] = [(index % 3 * 7) as u32, (1 + index * 37 % 200) as u32];
        let (is_good, tokens) = (u32::from(index % 3 != 1), answer + 1);
        let own = Sequence { start, answer: start + prompt, end: start + prompt + answer, tokens, is_good };
        start = own.end + 3;
        own
    };
    (0..count).map(of).collect()
}

#[test]
fn sums_do_not_depend_on_where_a_sequence_lies() {
    for mut h in Harness::each() {
        let mut sequences = sequences(7);
        // The same answer once more, elsewhere.
        let [moved, last] = [sequences[4], sequences[6]];
        let by = last.end + 1 - moved.start;
        let [start, answer, end] = [moved.start, moved.answer, moved.end].map(|at| at + by);
        sequences.push(Sequence { start, answer, end, ..moved });
        sequences.push(Sequence::default());
        let mut losses = h.random(1, end as usize + 9, 0.0, 8.0);
        losses.copy_within(moved.start as usize..moved.end as usize, start as usize);
        let count = sequences.len();
        let (table, of) = (h.input_u32(bytemuck::cast_slice(&sequences)), h.input(&losses));
        let [logps, nlls] = [0; 2].map(|_| h.output(count));
        let params = SumsParams { sequences: count as u32 };
        h.run(|rec| preference::sums(rec, params, table, of, logps, nlls));
        let (want_logps, want_nlls) = reference::preference::sums(&sequences, &to_f64(&losses));
        let (logps, nlls) = (h.read(logps), h.read(nlls));
        assert_close("logps", &logps, &to_f32(&want_logps), 1e-6);
        assert_close("nlls", &nlls, &to_f32(&want_nlls), 1e-6);
        assert_eq!((logps[7], nlls[7]), (logps[4], nlls[4]));
    }
}

/// What a micro-batch of `count` answers is judged by: sequences, log-probabilities and the reference's.
struct Played {
    sequences: Vec<Sequence>,
    batch: Batch,
    logps: Vec<f32>,
    nlls: Vec<f32>,
    reference: Vec<f32>,
}

impl Played {
    fn new(h: &Harness, answers: usize, count: u32, spread: f32) -> Self {
        let sequences = sequences(answers);
        let by_length = |seed: u64| -> Vec<f32> {
            let of_token = h.random(seed, answers, -1.5, -0.05);
            sequences.iter().zip(of_token).map(|(of, logp)| (of.end - of.answer) as f32 * logp).collect()
        };
        let logps = by_length(1);
        let reference = h.random(2, answers, -spread, spread);
        Played {
            batch: Batch { count, share: 0.25, tokens: 321.0 },
            nlls: by_length(3).iter().map(|logp| -logp).collect(),
            reference: logps.iter().zip(reference).map(|(logp, by)| logp + by).collect(),
            logps,
            sequences,
        }
    }
}

/// Runs an objective with a tally that holds something, and compares what it writes; `weights` has two rows too many.
fn assert_judged(
    h: &mut Harness,
    what: &str,
    answers: usize,
    want: &Judged<f64>,
    record: impl Fn(&mut tabtune::kernels::Recorder, Tensor, Tensor),
) {
    let before: Vec<f32> = (0..2 * MEASURES).map(|i| i as f32 / 8.0).collect();
    let (weights, tally) = (h.output(2 * answers + 4), h.input(&before));
    h.run(|rec| record(rec, weights, tally));
    let got = h.read_u32(weights);
    let flat: Vec<f32> = got[..2 * answers].iter().map(|&bits| f32::from_bits(bits)).collect();
    let want_weights: Vec<f64> = want.weights.iter().flatten().copied().collect();
    assert!(want_weights.iter().any(|weight| *weight != 0.0), "{what}: nothing weighs anything");
    // What the logistic function's own slope is of, beta times the share of a pair.
    let scale = 0.3 * 0.25 / answers as f64;
    for (i, (got, want)) in flat.iter().zip(&want_weights).enumerate() {
        let error = (f64::from(*got) - want).abs();
        assert!(error <= 1e-5 * want.abs().max(1e-2 * scale), "{what}: weight {i} is {got}, not {want}");
    }
    assert!(got[2 * answers..].iter().all(|&bits| bits == u32::MAX), "{what}: past the end");
    let tally = h.read(tally);
    for (measure, value) in want.measures.iter().enumerate() {
        let [sum, count] =
            [tally[2 * measure] - before[2 * measure], tally[2 * measure + 1] - before[2 * measure + 1]];
        if let Some(value) = value {
            assert_eq!(count, 1.0, "{what}: measure {measure}");
            let error = (f64::from(sum) - value).abs();
            assert!(error <= 2e-5 * value.abs().max(1.0), "{what}: measure {measure} is {sum}, not {value}");
        } else {
            assert_eq!(sum, 0.0, "{what}: measure {measure}");
        }
    }
}

#[test]
fn pairs_are_judged_as_by_the_twin() {
    let none = DpoParams {
        beta: 0.3,
        label_smoothing: 0.2,
        sigmoid: 0.0,
        hinge: 0.0,
        ipo: 0.0,
        robust: 0.0,
        apo_zero: 0.0,
        apo_down: 0.0,
        sft: 0.0,
    };
    let kinds = [
        ("sigmoid", DpoParams { sigmoid: 1.0, ..none }),
        ("hinge", DpoParams { hinge: 1.0, ..none }),
        ("ipo", DpoParams { ipo: 1.0, ..none }),
        ("robust", DpoParams { robust: 1.0, ..none }),
        ("apo_zero", DpoParams { apo_zero: 1.0, ..none }),
        ("apo_down", DpoParams { apo_down: 1.0, ..none }),
        ("a list", DpoParams { sigmoid: 0.8, sft: 0.5, apo_zero: 0.25, ..none }),
    ];
    for mut h in Harness::each() {
        for (count, spread) in [(1u32, 2.0), (5, 40.0), (130, 8.0)] {
            let answers = 2 * count as usize;
            let played = Played::new(&h, answers, count, spread);
            let (sequences, batch) = (&played.sequences, &played.batch);
            let [logps, nlls, reference] =
                [&played.logps, &played.nlls, &played.reference].map(|values| to_f64(values));
            let sums = || reference::preference::Sums { logps: &logps, nlls: &nlls };
            let table = h.input_u32(bytemuck::cast_slice(sequences));
            let batch_in = h.input_u32(bytemuck::cast_slice(&[*batch]));
            let [logps_in, nlls_in, reference_in] =
                [&played.logps, &played.nlls, &played.reference].map(|values| h.input(values));
            let of = |weights, tally| Pairs {
                sequences: table,
                batch: batch_in,
                logps: logps_in,
                nlls: nlls_in,
                weights,
                tally,
            };
            for (what, params) in kinds {
                let want = reference::preference::dpo(&params, sequences, batch, sums(), &reference);
                assert_judged(&mut h, what, answers, &want, |rec, weights, tally| {
                    preference::dpo(rec, params, reference_in, of(weights, tally));
                });
            }
            let params = OrpoParams { beta: 0.3 };
            let want = reference::preference::orpo(&params, sequences, batch, sums());
            assert_judged(&mut h, "orpo", answers, &want, |rec, weights, tally| {
                preference::orpo(rec, params, of(weights, tally));
            });
            for (gamma, alpha, by_token) in [(0.5, 0.0, 1), (0.0, 1.5, 0)] {
                let params = CpoParams { beta: 0.3, gamma, alpha, label_smoothing: 0.1, by_token };
                let want = reference::preference::cpo(&params, sequences, batch, sums());
                assert_judged(&mut h, "cpo", answers, &want, |rec, weights, tally| {
                    preference::cpo(rec, params, of(weights, tally));
                });
            }
        }
    }
}

#[test]
fn rated_answers_are_judged_as_by_the_twin() {
    let params = KtoParams { beta: 0.3, desirable_weight: 1.5, undesirable_weight: 0.5 };
    for mut h in Harness::each() {
        // Both kinds and one alone; a divergence above nothing and below it.
        for (count, kinds, kl) in [(1u32, None, 1.0), (7, None, 1.0), (130, None, -1.0), (9, Some(0), 0.1)] {
            let answers = count as usize;
            let mut played = Played::new(&h, answers, count, 5.0);
            if let Some(kind) = kinds {
                played.sequences.iter_mut().for_each(|of| of.is_good = kind);
            }
            let kl_logps: Vec<f32> = played.reference.iter().map(|logp| logp + kl).collect();
            let [logps, reference, kl_logps64] =
                [&played.logps, &played.reference, &kl_logps].map(|values| to_f64(values));
            let of = reference::preference::Ratios {
                logps: &logps,
                reference: &reference,
                kl_logps: &kl_logps64,
                kl_reference: &reference,
            };
            let want = reference::preference::kto(&params, &played.sequences, &played.batch, of);
            let sequences = h.input_u32(bytemuck::cast_slice(&played.sequences));
            let batch = h.input_u32(bytemuck::cast_slice(&[played.batch]));
            let [logps, reference, kl_logps] =
                [&played.logps, &played.reference, &kl_logps].map(|values| h.input(values));
            assert_judged(&mut h, "kto", answers, &want, |rec, weights, tally| {
                let of = Rated {
                    sequences,
                    batch,
                    logps,
                    reference,
                    kl_logps,
                    kl_reference: reference,
                    weights,
                    tally,
                };
                preference::kto(rec, params, of);
            });
        }
    }
}

#[test]
fn tokens_weigh_what_their_sequences_say() {
    for mut h in Harness::each() {
        let owners: Vec<u32> = (0..20_001u32).map(|i| if i % 7 == 3 { NOBODY } else { i % 12 }).collect();
        let weights = h.random(1, 12, -1.0, 1.0);
        let want = reference::preference::spread(&owners, weights.as_chunks::<2>().0);
        let (owners_in, weights_in, out) = (h.input_u32(&owners), h.input(&weights), h.output(owners.len()));
        let params = SpreadParams { n: owners.len() as u32 };
        h.run(|rec| preference::spread(rec, params, owners_in, weights_in, out));
        assert_eq!(h.read(out), want);
    }
}
