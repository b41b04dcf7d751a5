//! Cross-entropy over chunks of the vocabulary against its twin.

use tabtune::kernels::cross_entropy::{
    self, Chunk, ChunkParams, DEAD, Finish, FinishParams, LossesParams, SUMMARY_WORDS,
};
use tabtune::kernels::linear::{self, Tile, Weight};
use tabtune::reference;
use tabtune::reference::cross_entropy::Summary;

use crate::harness::{Harness, assert_close, assert_close_scaled, to_f32, to_f64};

/// H.
const WIDTH: usize = 24;
/// The vocabulary, and where chunks begin: one, unequal ones, one of a single column, long ones of which the last
/// holds one column more than a whole vector.
const VOCABULARIES: [(usize, &[usize]); 5] = [
    (7, &[0]),
    (30, &[0, 16]),
    (77, &[0, 16, 64, 76]),
    (2100, &[0, 1024, 1040]),
    (33_001, &[0, 16_384, 32_992]),
];

/// A block of rows before a head [vocab, WIDTH] with rows behind it for the lanes past a chunk, all of values within ±1.
struct Case {
    vocab: usize,
    starts: Vec<usize>,
    first: usize,
    /// Multiplies the logits.
    scale: f32,
    /// A logit that is not finite: row, column, value.
    bad: Option<(usize, usize, f32)>,
    x: Vec<f32>,
    head: Vec<f32>,
    targets: Vec<u32>,
    row_weight: Vec<f32>,
}

/// What a case gives: losses, gradients of its rows, and the summary of each row after the last chunk.
struct Outcome<F> {
    row_loss: Vec<F>,
    gradient: Vec<F>,
    summaries: Vec<Summary<F>>,
}

impl Case {
    /// Targets are the first and last columns of all chunks and some between; every fifth row is dead.
    fn new(h: &Harness, (vocab, starts): (usize, &[usize]), first: usize, scale: f32) -> Self {
        let starts = starts.to_vec();
        let edges = starts.iter().flat_map(|&start| [start.checked_sub(1), Some(start)]).flatten();
        let live: Vec<u32> = edges.chain([vocab - 1, vocab / 2, vocab / 3]).map(|id| id as u32).collect();
        let mut targets = vec![0; first];
        for chunk in live.chunks(4) {
            targets.extend(chunk.iter().chain([&DEAD]));
        }
        let rows = targets.len() - first;
        Case {
            vocab,
            starts,
            first,
            scale,
            bad: None,
            x: h.random(1, rows * WIDTH, -1.0, 1.0),
            head: h.random(2, (vocab + 8) * WIDTH, -1.0, 1.0),
            row_weight: h.random(3, targets.len(), 0.1, 2.0),
            targets,
        }
    }

    fn rows(&self) -> usize {
        self.targets.len() - self.first
    }

    fn chunks(&self) -> impl Iterator<Item = ChunkParams> {
        let ends = self.starts.iter().skip(1).copied().chain([self.vocab]);
        self.starts.iter().zip(ends).map(|(&start, end)| ChunkParams {
            rows: self.rows() as u32,
            vocab: (end - start) as u32,
            stride: (end - start).next_multiple_of(8) as u32,
            first: self.first as u32,
            first_id: start as u32,
            width: WIDTH as u32,
        })
    }

    /// The logits [rows, stride] of a chunk, as both sides get them, with NaN in the lanes past it.
    fn logits(&self, params: &ChunkParams) -> Vec<f32> {
        let mut logits = vec![f32::NAN; self.rows() * params.stride as usize];
        let of_rows = logits.chunks_exact_mut(params.stride as usize).zip(self.x.chunks_exact(WIDTH));
        for (row, (logits, x)) in of_rows.enumerate() {
            let head = self.head[params.first_id as usize * WIDTH..].chunks_exact(WIDTH);
            for (column, (logit, w)) in logits[..params.vocab as usize].iter_mut().zip(head).enumerate() {
                *logit = self.scale * x.iter().zip(w).map(|(x, w)| x * w).sum::<f32>();
                if let Some((_, _, bad)) =
                    self.bad.filter(|&(at, id, _)| (at, id) == (row, params.first_id as usize + column))
                {
                    *logit = bad;
                }
            }
        }
        logits
    }

    fn rows_of_targets(&self) -> Vec<f32> {
        let row = |&target: &u32| match self.head.chunks_exact(WIDTH).nth(target as usize) {
            Some(row) => row.to_vec(),
            None => vec![f32::NAN; WIDTH],
        };
        self.targets[self.first..].iter().flat_map(row).collect()
    }

    fn finish_params(&self) -> FinishParams {
        FinishParams {
            rows: self.rows() as u32,
            vocab: self.vocab as u32,
            width: WIDTH as u32,
            first: self.first as u32,
        }
    }

    fn run(&self, h: &mut Harness) -> Outcome<f32> {
        let (targets, row_weight) = (h.input_u32(&self.targets), h.input(&self.row_weight));
        let mut sums = [0; 2].map(|_| h.output(self.rows() * WIDTH));
        let mut summaries = [0; 2].map(|_| h.output(self.rows() * SUMMARY_WORDS));
        for params in self.chunks() {
            let logits = h.input(&self.logits(&params));
            let head = &self.head[params.first_id as usize * WIDTH..][..params.stride as usize * WIDTH];
            let head = h.input(head);
            let [before, after] = summaries;
            let residual = (params.first_id > 0).then_some(sums[0]);
            let product = linear::Params {
                add_residual: u32::from(residual.is_some()),
                ..linear::Params::plain(self.rows(), params.stride as usize, WIDTH)
            };
            h.run(|rec| {
                let of = Chunk { logits, before, after, sums: sums[0] };
                cross_entropy::chunk(rec, params, targets, of);
            });
            h.run_by(Tile::Direct, |rec| {
                linear::backward(rec, product, logits, Weight::f32(head), None, residual, sums[1]);
            });
            for row in h.read(logits).chunks_exact(params.stride as usize) {
                assert!(row[params.vocab as usize..].iter().all(|pad| pad.to_bits() == 0), "{params:?}");
            }
            summaries.swap(0, 1);
            sums.swap(0, 1);
        }
        let (rows, row_loss) = (h.input(&self.rows_of_targets()), h.output(self.targets.len() + 1));
        let of = Finish { row_weight, summaries: summaries[0], sums: sums[0], rows, row_loss };
        h.run(|rec| cross_entropy::finish(rec, self.finish_params(), targets, of));
        let (losses, words) = (h.read(row_loss), h.read_u32(summaries[0]));
        let outside = losses[..self.first].iter().chain(&losses[self.targets.len()..][..1]);
        assert!(outside.clone().all(|loss| loss.to_bits() == u32::MAX), "wrote the loss of another block");
        let summary = |words: &[u32]| Summary {
            peak: f32::from_bits(words[0]),
            total: f32::from_bits(words[1]),
            logit: f32::from_bits(words[2]),
            is_broken: words[3] != 0,
        };
        Outcome {
            row_loss: losses[self.first..self.targets.len()].to_vec(),
            gradient: h.read(rows)[..self.rows() * WIDTH].to_vec(),
            summaries: words.chunks_exact(SUMMARY_WORDS).take(self.rows()).map(summary).collect(),
        }
    }

    fn twin(&self) -> Outcome<f64> {
        let mut sums = vec![f64::NAN; self.rows() * WIDTH];
        let mut summaries = vec![Summary::new(); self.rows()];
        let head = to_f64(&self.head);
        for params in self.chunks() {
            let mut logits = to_f64(&self.logits(&params));
            reference::cross_entropy::chunk(&params, &self.targets, &mut logits, &mut sums, &mut summaries);
            let of_rows = sums.chunks_exact_mut(WIDTH).zip(logits.chunks_exact(params.stride as usize));
            for (sums, grown) in of_rows {
                if params.first_id == 0 {
                    sums.fill(0.0);
                }
                for (w, grown) in head[params.first_id as usize * WIDTH..].chunks_exact(WIDTH).zip(grown) {
                    sums.iter_mut().zip(w).for_each(|(sum, w)| *sum += grown * w);
                }
            }
        }
        let (mut gradient, mut row_loss) = (to_f64(&self.rows_of_targets()), vec![0.0; self.targets.len()]);
        let weight = to_f64(&self.row_weight);
        reference::cross_entropy::finish(
            &self.finish_params(),
            &self.targets,
            &weight,
            &summaries,
            &sums,
            &mut gradient,
            &mut row_loss,
        );
        Outcome { row_loss: row_loss[self.first..].to_vec(), gradient, summaries }
    }

    /// The weights are within ±1, so a gradient is off by what its probabilities are, which hold five digits.
    fn check(&self, h: &mut Harness) {
        let (got, want) = (self.run(h), self.twin());
        let name = format!("V {} × {} chunks from {:?}", self.vocab, self.scale, self.starts);
        assert_close(&format!("loss {name}"), &got.row_loss, &to_f32(&want.row_loss), 2e-6);
        let scales: Vec<f32> =
            (0..want.gradient.len()).map(|i| self.row_weight[self.first + i / WIDTH]).collect();
        assert_close_scaled(
            &format!("gradient {name}"),
            &got.gradient,
            &to_f32(&want.gradient),
            &scales,
            5e-6,
        );
        for (row, (got, want)) in got.summaries.iter().zip(&want.summaries).enumerate() {
            assert_eq!((f64::from(got.peak), got.is_broken), (want.peak, want.is_broken), "{name} row {row}");
            let total = (f64::from(got.total) / want.total - 1.0).abs();
            assert!(total < 5e-6, "{name} row {row}: sums {} and {}", got.total, want.total);
            if self.targets[self.first + row] != DEAD {
                assert_eq!(f64::from(got.logit), want.logit, "{name} row {row}");
            }
        }
    }
}

#[test]
fn chunks_are_their_twins() {
    for mut h in Harness::all() {
        for vocabulary in VOCABULARIES {
            for (first, scale) in [(0, 1.0), (3, 6.0)] {
                Case::new(&h, vocabulary, first, scale).check(&mut h);
            }
        }
    }
}

/// Without a gradient: no width, and what would have been its sums is left alone.
#[test]
fn losses_alone_are_those_of_the_twin() {
    for mut h in Harness::all() {
        for (vocabulary, first, scale) in VOCABULARIES.iter().flat_map(|&of| [(of, 0, 1.0), (of, 3, 6.0)]) {
            let mut case = Case::new(&h, vocabulary, first, scale);
            case.targets[first] = vocabulary.0 as u32;
            // The second row's answer is the greedy one.
            let of_row = case.chunks().flat_map(|params| {
                let stride = params.stride as usize;
                case.logits(&params)[stride..][..params.vocab as usize].to_vec()
            });
            let greatest = of_row.enumerate().max_by(|(_, a), (_, b)| a.total_cmp(b)).expect("a vocabulary");
            case.targets[first + 1] = greatest.0 as u32;
            let targets = h.input_u32(&case.targets);
            let sums = h.input(&[7.0; 4]);
            let mut summaries = [0; 2].map(|_| h.output(case.rows() * SUMMARY_WORDS));
            let mut of_twin = vec![Summary::new(); case.rows()];
            for params in case.chunks() {
                let params = ChunkParams { width: 0, ..params };
                let mut logits = to_f64(&case.logits(&params));
                reference::cross_entropy::chunk(&params, &case.targets, &mut logits, &mut [], &mut of_twin);
                let logits = h.input(&case.logits(&params));
                let [before, after] = summaries;
                let of = Chunk { logits, before, after, sums };
                h.run(|rec| cross_entropy::chunk(rec, params, targets, of));
                summaries.swap(0, 1);
            }
            let params =
                LossesParams { rows: case.rows() as u32, vocab: case.vocab as u32, first: first as u32 };
            let [row_loss, row_miss] = [0; 2].map(|_| h.output(case.targets.len() + 1));
            h.run(|rec| cross_entropy::losses(rec, params, targets, summaries[0], row_loss, row_miss));
            let mut want = [0; 2].map(|_| vec![f64::NAN; case.targets.len()]);
            let [loss, miss] = &mut want;
            reference::cross_entropy::losses(&params, &case.targets, &of_twin, loss, miss);
            for (got, want) in [row_loss, row_miss].into_iter().zip(want) {
                let (bits, got) = (h.read_u32(got), h.read(got));
                let outside = bits[..first].iter().chain(&bits[case.targets.len()..][..1]);
                assert!(outside.clone().all(|&bits| bits == u32::MAX), "wrote the loss of another block");
                assert!(got[first].is_nan() && want[first].is_nan());
                let own = first + 1..case.targets.len();
                assert_close("losses", &got[own.clone()], &to_f32(&want[own]), 2e-6);
            }
            assert_eq!(h.read(row_miss)[first + 1], 0.0);
            assert_eq!(h.read(sums), [7.0; 4]);
        }
    }
}

#[test]
fn huge_and_equal_logits() {
    for mut h in Harness::all() {
        for scale in [0.0, 1e4, 1e30] {
            Case::new(&h, VOCABULARIES[2], 1, scale).check(&mut h);
        }
    }
}

/// Every chunk raises the maximum, or none but the first does.
#[test]
fn rising_and_falling_maxima() {
    for mut h in Harness::all() {
        for sign in [1.0, -1.0] {
            let mut case = Case::new(&h, VOCABULARIES[2], 0, sign);
            case.x.fill(1.0);
            for (id, w) in case.head.chunks_exact_mut(WIDTH).enumerate() {
                w.iter_mut().for_each(|w| *w = 0.01 * *w + id as f32 / 77.0);
            }
            case.check(&mut h);
        }
    }
}

#[test]
fn what_is_not_finite_reaches_its_row_and_nothing_else() {
    for mut h in Harness::all() {
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            for column in [0, 15, 16, 76] {
                let mut case = Case::new(&h, VOCABULARIES[2], 0, 1.0);
                case.bad = Some((1, column, bad));
                let Outcome { row_loss, gradient, .. } = case.run(&mut h);
                let is_broken = |row: usize| {
                    row_loss[row].is_nan() && gradient[row * WIDTH..][..WIDTH].iter().all(|x| x.is_nan())
                };
                assert!(is_broken(1), "{bad} in column {column} gives {}", row_loss[1]);
                let others = (0..case.rows()).filter(|&row| row != 1);
                let is_finite = |row: usize| {
                    row_loss[row].is_finite()
                        && gradient[row * WIDTH..][..WIDTH].iter().all(|x| x.is_finite())
                };
                assert!(others.clone().all(is_finite));
            }
        }
    }
}

#[test]
fn dead_rows_are_zero_and_targets_outside_the_vocabulary_are_not_hidden() {
    for mut h in Harness::all() {
        let mut case = Case::new(&h, VOCABULARIES[1], 2, 1.0);
        case.targets[2] = DEAD;
        case.targets[3] = 30;
        case.targets[4] = 1000;
        case.bad = Some((0, 20, f32::NAN));
        case.row_weight[2] = f32::NAN;
        let Outcome { row_loss, gradient, .. } = case.run(&mut h);
        let of_row = |row: usize| gradient[row * WIDTH..][..WIDTH].iter().chain(&row_loss[row..=row]);
        assert!(of_row(0).all(|x| x.to_bits() == 0));
        assert!(of_row(1).chain(of_row(2)).all(|x| x.is_nan()));
        assert!((3..case.rows()).flat_map(of_row).all(|x| x.is_finite()));
    }
}
