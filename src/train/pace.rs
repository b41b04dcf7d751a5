//! How fast a run goes, told from when its steps were seen to end.

use std::collections::VecDeque;

/// Steps that speed and remaining time are averaged over.
const RECENT_STEPS: usize = 10;

/// What one step did, and the seconds between the end of the step before and its own, as they were seen.
pub struct Seen {
    pub seconds: f64,
    pub tokens: u64,
    pub flops: u64,
}

/// The last steps of a run.
#[derive(Default)]
pub struct Pace {
    recent: VecDeque<Seen>,
}

impl Pace {
    pub fn saw(&mut self, step: Seen) {
        self.recent.push_back(step);
        if self.recent.len() > RECENT_STEPS {
            self.recent.pop_front();
        }
    }

    pub fn clear(&mut self) {
        self.recent.clear();
    }

    /// Seconds and floating-point operations of a step, as the mean of the last `in_flight`. Firefox tells of two
    /// steps that were on their way together only when both are done, so that one of them seems to take the time of
    /// both, and the other none.
    pub fn step(&self, in_flight: usize) -> (f64, u64) {
        let steps = in_flight.clamp(1, self.recent.len().max(1));
        let last = self.recent.iter().rev().take(steps);
        let (seconds, flops) = last.fold((0.0, 0), |sum, step| (sum.0 + step.seconds, sum.1 + step.flops));
        ((seconds / steps as f64).max(1e-6), flops / steps as u64)
    }

    pub fn tokens_per_second(&self) -> f64 {
        let tokens: u64 = self.recent.iter().map(|step| step.tokens).sum();
        tokens as f64 / self.seconds()
    }

    pub fn seconds_per_step(&self) -> f64 {
        self.seconds() / self.recent.len().max(1) as f64
    }

    fn seconds(&self) -> f64 {
        self.recent.iter().map(|step| step.seconds).sum::<f64>().max(1e-6)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The seconds that are told of each step, where the steps were seen to end after these.
    fn told(seen: &[f64], in_flight: usize) -> Vec<f64> {
        let mut pace = Pace::default();
        let tell = |&seconds: &f64| {
            pace.saw(Seen { seconds, tokens: 8, flops: 100 });
            pace.step(in_flight).0
        };
        seen.iter().map(tell).collect()
    }

    #[test]
    fn steps_that_are_seen_to_end_together_share_their_time() {
        assert_eq!(told(&[4.0, 0.0, 4.0, 0.0, 4.0, 0.0], 2)[1..], [2.0; 5]);
        assert_eq!(told(&[2.0, 2.0, 5.0, 5.0], 2)[1..], [2.0, 3.5, 5.0]);
        assert_eq!(told(&[2.0, 1.0], 1), [2.0, 1.0], "a step that was alone has its own time");
    }

    #[test]
    fn speed_is_that_of_the_last_ten_steps() {
        let mut pace = Pace::default();
        for seconds in [60.0, 4.0, 0.0, 4.0, 0.0, 4.0, 0.0, 4.0, 0.0, 4.0, 0.0] {
            pace.saw(Seen { seconds, tokens: 8, flops: 100 });
        }
        assert_eq!((pace.seconds_per_step(), pace.tokens_per_second()), (2.0, 4.0));
        assert_eq!(pace.step(2), (2.0, 100));
    }
}
