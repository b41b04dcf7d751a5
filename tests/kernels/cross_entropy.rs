//! Cross-entropy and its gradient against their twin.

use tabtune::kernels::cross_entropy::{self, DEAD, Params};
use tabtune::reference;

use crate::harness::{Harness, assert_close, assert_close_scaled, to_f32, to_f64};

/// Rows, vocabulary, first row.
const SIZES: [[u32; 3]; 9] = [
    [1, 1, 0],
    [3, 2, 1],
    [5, 7, 0],
    [4, 255, 3],
    [2, 1024, 0],
    [3, 1025, 64],
    [16, 4099, 0],
    [3, 49_152, 5],
    [1, 262_144, 0],
];

struct Case {
    params: Params,
    logits: Vec<f32>,
    targets: Vec<u32>,
    row_weight: Vec<f32>,
}

impl Case {
    /// Logits within ±`range`, NaN in the lanes past the vocabulary, every fifth row dead.
    fn new(h: &Harness, [rows, vocab, first]: [u32; 3], range: f32) -> Self {
        let params = Params { rows, vocab, stride: vocab.next_multiple_of(8), first };
        let mut logits = h.random(1, (rows * params.stride) as usize, -range, range);
        for row in logits.chunks_exact_mut(params.stride as usize) {
            row[vocab as usize..].fill(f32::NAN);
        }
        let targets =
            (0..first + rows).map(|at| if at % 5 == 4 { DEAD } else { at * 7919 % vocab }).collect();
        let row_weight = h.random(2, (first + rows) as usize, 0.1, 2.0);
        Case { params, logits, targets, row_weight }
    }

    /// The gradient, and the losses with those of the rows before `first`.
    fn run(&self, h: &mut Harness) -> (Vec<f32>, Vec<f32>) {
        let (targets, row_weight) = (h.input_u32(&self.targets), h.input(&self.row_weight));
        let (logits, row_loss) = (h.input(&self.logits), h.output(self.targets.len() + 1));
        h.run(|rec| cross_entropy::forward_backward(rec, self.params, targets, row_weight, logits, row_loss));
        let (logits, row_loss) = (h.read(logits), h.read(row_loss));
        let first = self.params.first as usize;
        let outside = row_loss[..first].iter().chain(&row_loss[self.targets.len()..self.targets.len() + 1]);
        assert!(outside.clone().all(|loss| loss.to_bits() == u32::MAX), "wrote the loss of another block");
        (logits, row_loss[first..self.targets.len()].to_vec())
    }

    fn twin(&self) -> (Vec<f64>, Vec<f64>) {
        let mut logits = to_f64(&self.logits);
        let mut row_loss = vec![0.0; self.targets.len()];
        let weight = to_f64(&self.row_weight);
        reference::cross_entropy::forward_backward(
            &self.params,
            &self.targets,
            &weight,
            &mut logits,
            &mut row_loss,
        );
        (logits, row_loss[self.params.first as usize..].to_vec())
    }

    /// An exponential of −x is off by (3 + 2x) ulp and the logits span up to 20 where probabilities
    /// count, so a probability holds five digits relative to itself, and 1e-7 of the weight absolutely.
    fn check(&self, h: &mut Harness) {
        let (gradient, row_loss) = self.run(h);
        let (want, want_loss) = self.twin();
        let name = format!("{:?}", self.params);
        assert_close(&format!("loss {name}"), &row_loss, &to_f32(&want_loss), 2e-6);
        let first = self.params.first as usize;
        let scales: Vec<f32> = (0..want.len())
            .map(|i| {
                let weight = self.row_weight[first + i / self.params.stride as usize];
                want[i].abs() as f32 + 0.02 * weight
            })
            .collect();
        assert_close_scaled(&format!("gradient {name}"), &gradient, &to_f32(&want), &scales, 5e-6);
    }
}

#[test]
fn loss_and_gradient_are_their_twins() {
    for mut h in Harness::all() {
        for size in SIZES {
            Case::new(&h, size, 10.0).check(&mut h);
        }
    }
}

#[test]
fn tiny_probabilities_keep_their_digits() {
    for mut h in Harness::all() {
        let case = Case::new(&h, [4, 513, 0], 10.0);
        let (gradient, _) = case.run(&mut h);
        let (want, _) = case.twin();
        let want = to_f32(&want);
        // Without an absolute part but for pad lanes and dead rows.
        let scales: Vec<f32> = want.iter().map(|x| x.abs() + 1e-30).collect();
        assert_close_scaled("gradient", &gradient, &want, &scales, 1e-5);
    }
}

#[test]
fn huge_and_equal_logits() {
    for mut h in Harness::all() {
        for size in [[3, 77, 0], [2, 5000, 1]] {
            let mut case = Case::new(&h, size, 1.0);
            for scale in [0.0, 1e4, 1e30] {
                let original = case.logits.clone();
                case.logits.iter_mut().for_each(|x| *x *= scale);
                case.check(&mut h);
                case.logits = original;
            }
            case.logits.iter_mut().for_each(|x| *x = *x * 1e-3 - 3e4);
            case.check(&mut h);
        }
    }
}

#[test]
fn a_certain_row_costs_nothing() {
    for mut h in Harness::all() {
        let mut case = Case::new(&h, [1, 300, 0], 1.0);
        case.logits[case.targets[0] as usize] = 200.0;
        let (gradient, row_loss) = case.run(&mut h);
        // WGSL lets log be off by 2^-21 around one.
        assert!(row_loss[0].abs() < 5e-7, "loss {}", row_loss[0]);
        assert!(gradient.iter().all(|x| x.abs() < 1e-6));
    }
}

#[test]
fn dead_rows_are_zero_whatever_they_hold() {
    for mut h in Harness::all() {
        let mut case = Case::new(&h, [6, 100, 2], 5.0);
        case.targets.fill(DEAD);
        case.logits.fill(f32::NAN);
        case.row_weight.fill(f32::NAN);
        let (gradient, row_loss) = case.run(&mut h);
        assert!(gradient.iter().chain(&row_loss).all(|x| x.to_bits() == 0));
    }
}

#[test]
fn what_is_not_finite_reaches_the_loss_and_nothing_else() {
    for mut h in Harness::all() {
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            for column in [0, 255, 256, 1023, 1029] {
                let mut case = Case::new(&h, [3, 1030, 0], 5.0);
                let stride = case.params.stride as usize;
                case.logits[stride + column] = bad;
                let (gradient, row_loss) = case.run(&mut h);
                assert!(row_loss[1].is_nan(), "{bad} in column {column} gives {}", row_loss[1]);
                let rows: Vec<&[f32]> = gradient.chunks_exact(stride).collect();
                assert!(rows[1][..1030].iter().all(|x| x.is_nan()));
                assert!(rows[1][1030..].iter().chain(rows[0]).chain(rows[2]).all(|x| x.is_finite()));
                assert!(row_loss[0].is_finite() && row_loss[2].is_finite());
            }
        }
    }
}

#[test]
fn a_target_outside_the_vocabulary_is_not_hidden() {
    for mut h in Harness::all() {
        for target in [30, 31, 1000] {
            let mut case = Case::new(&h, [2, 30, 0], 5.0);
            case.targets[0] = target;
            let (gradient, row_loss) = case.run(&mut h);
            assert!(row_loss[0].is_nan() && gradient[..30].iter().all(|x| x.is_nan()));
            assert!(row_loss[1].is_finite() && gradient[32..].iter().all(|x| x.is_finite()));
        }
    }
}
