//! The learning rate at each step, as `transformers.get_scheduler` has it.

use std::f64::consts::PI;

use crate::train::options::{LrSchedulerType, TrainOptions};

/// A learning-rate schedule for a run of known length.
#[derive(Clone, Debug, PartialEq)]
pub struct Schedule {
    kind: LrSchedulerType,
    learning_rate: f64,
    warmup_steps: u32,
    total_steps: u32,
}

impl Schedule {
    pub fn new(options: &TrainOptions, total_steps: u32) -> Self {
        Schedule {
            kind: options.lr_scheduler_type,
            learning_rate: options.learning_rate,
            warmup_steps: warmup_steps(options, total_steps),
            total_steps,
        }
    }

    /// The learning rate of the optimiser step at `position`, counted from zero: the first step of a run
    /// with warmup has 0, and linear and cosine would reach 0 one step after the last.
    pub fn learning_rate(&self, position: u32) -> f64 {
        self.learning_rate * self.factor(position)
    }

    fn factor(&self, position: u32) -> f64 {
        if self.kind == LrSchedulerType::Constant {
            return 1.0;
        }
        if position < self.warmup_steps {
            return f64::from(position) / f64::from(self.warmup_steps);
        }
        let decay_steps = f64::from(self.total_steps.saturating_sub(self.warmup_steps).max(1));
        match self.kind {
            LrSchedulerType::Constant | LrSchedulerType::ConstantWithWarmup => 1.0,
            LrSchedulerType::Linear => f64::from(self.total_steps.saturating_sub(position)) / decay_steps,
            LrSchedulerType::Cosine => {
                let progress = f64::from(position - self.warmup_steps) / decay_steps;
                (0.5 * (1.0 + (PI * progress).cos())).max(0.0)
            }
        }
    }
}

/// Warmup steps of a run: `warmup_steps` if it is set (a share of the run where it is below 1), else
/// `warmup_ratio` of the run. Shares are rounded up.
fn warmup_steps(options: &TrainOptions, total_steps: u32) -> u32 {
    let share = if options.warmup_steps >= 1.0 {
        return options.warmup_steps as u32;
    } else if options.warmup_steps > 0.0 {
        options.warmup_steps
    } else {
        options.warmup_ratio
    };
    (f64::from(total_steps) * share).ceil() as u32
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Values of transformers.get_scheduler (5.23) over torch.optim.AdamW at lr 1e-3, `get_last_lr()` before each
    /// step, with warmup steps from TrainingArguments.get_warmup_steps.
    #[test]
    fn learning_rates_are_those_of_transformers() {
        let cases: [(&str, f64, &[f64]); 10] = [
            ("linear", 0.0, &[0.001, 0.0008, 0.0006, 0.0004, 0.0002]),
            ("linear", 2.0, &[0.0, 0.0005, 0.001, 0.00075, 0.0005, 0.00025]),
            ("linear", 0.25, &[0.0, 0.0005, 0.001, 0.00075, 0.0005, 0.00025]),
            (
                "cosine",
                0.0,
                &[
                    0.001,
                    0.0009045084971874737,
                    0.0006545084971874737,
                    0.00034549150281252633,
                    9.549150281252633e-05,
                ],
            ),
            (
                "cosine",
                3.0,
                &[
                    0.0,
                    0.0003333333333333333,
                    0.0006666666666666666,
                    0.001,
                    0.0009045084971874737,
                    0.0006545084971874737,
                    0.00034549150281252633,
                    9.549150281252633e-05,
                ],
            ),
            (
                "cosine",
                0.1,
                &[
                    0.0,
                    0.001,
                    0.0009330127018922195,
                    0.00075,
                    0.0005,
                    0.0002500000000000001,
                    6.698729810778065e-05,
                ],
            ),
            ("constant", 3.0, &[0.001, 0.001, 0.001, 0.001]),
            ("constant_with_warmup", 3.0, &[0.0, 0.0003333333333333333, 0.0006666666666666666, 0.001, 0.001]),
            ("linear", 4.0, &[0.0, 0.00025, 0.0005]),
            ("cosine", 4.0, &[0.0, 0.00025, 0.0005]),
        ];
        for (kind, warmup_steps, expected) in cases {
            let options =
                json!({"lr_scheduler_type": kind, "warmup_steps": warmup_steps, "learning_rate": 1e-3});
            let total = expected.len() as u32;
            let schedule = Schedule::new(&TrainOptions::from_json(&options).unwrap(), total);
            for (position, expected) in (0..total).zip(expected) {
                let ours = schedule.learning_rate(position);
                assert!((ours - expected).abs() <= 1e-15 * expected, "{kind} {position}: {ours} {expected}");
            }
        }
        let ratio = TrainOptions { warmup_ratio: 0.25, ..Default::default() };
        let share = TrainOptions { warmup_steps: 0.25, ..Default::default() };
        assert_eq!(Schedule::new(&ratio, 6), Schedule::new(&share, 6));
    }
}
