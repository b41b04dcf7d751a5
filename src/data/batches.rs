//! Which rows each optimiser step takes.
//!
//! As transformers' `Trainer` counts: an epoch is all rows once, in micro-batches of the batch size, a step
//! is as many micro-batches as are accumulated, and at the end of an epoch the last micro-batch and the
//! last step may be short.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

use super::pack::best_fit_decreasing;
use crate::bail;
use crate::error::Result;

/// The options that decide which rows a step takes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BatchOptions {
    /// Rows that are trained on together: those of each unit follow one another. What is said of rows below is said of
    /// these units.
    pub rows_per_unit: u32,
    /// Rows of a micro-batch.
    pub batch_size: u32,
    /// Micro-batches of a step.
    pub accumulation: u32,
    /// Steps of the run; where `None`, `num_train_epochs` decides.
    pub max_steps: Option<u32>,
    /// Epochs of the run, which may end within one.
    pub num_train_epochs: f64,
    /// Shuffle the rows anew in each epoch, by this seed; file order where `None`.
    pub shuffle_seed: Option<u64>,
    /// Put rows of like lengths into the same step.
    pub group_by_length: bool,
    /// Pack rows into sequences of at most so many tokens; each then counts as one row.
    pub packing: Option<u32>,
    /// Leave neighbours together: `batch_size` of them are the same micro-batch in every epoch, and a shuffle moves these
    /// as wholes. The last one may be short. Goes with neither `group_by_length` nor `packing`.
    pub grouped: bool,
}

/// The rows of every step of a run, as a function of the step's number alone, so that a run can be taken
/// up anywhere.
#[derive(Clone, Debug)]
pub struct BatchPlan {
    sequences: Sequences,
    options: BatchOptions,
    /// The order of the sequences in the epoch asked for last.
    order: Option<(u32, Vec<u32>)>,
}

/// What counts as a row: one row or unit, or several that were packed or are left together.
#[derive(Clone, Debug)]
struct Sequences {
    /// Row numbers, sequence by sequence.
    rows: Vec<u32>,
    per_unit: usize,
    /// Where each sequence ends in `rows`; `None` where each unit is one.
    ends: Option<Vec<u32>>,
    /// Tokens of each sequence.
    lengths: Vec<u32>,
}

impl Sequences {
    fn new(rows: &[u32], lengths: &[u32], options: &BatchOptions) -> Self {
        let per_unit = options.rows_per_unit as usize;
        let length = |unit: &[u32]| unit.iter().map(|&row| lengths[row as usize]).sum();
        let unit_lengths: Vec<u32> = rows.chunks(per_unit).map(length).collect();
        let units: Vec<u32> = (0..unit_lengths.len() as u32).collect();
        let joined: Vec<Vec<u32>> = match options.packing {
            _ if options.grouped => units.chunks(options.batch_size as usize).map(<[u32]>::to_vec).collect(),
            Some(capacity) => best_fit_decreasing(&units, &unit_lengths, capacity),
            None => return Sequences { rows: rows.to_vec(), per_unit, ends: None, lengths: unit_lengths },
        };
        let count = |end: &mut u32, sequence: &Vec<u32>| {
            *end += sequence.len() as u32 * options.rows_per_unit;
            Some(*end)
        };
        let length = |sequence: &Vec<u32>| sequence.iter().map(|&unit| unit_lengths[unit as usize]).sum();
        let rows_of = |&unit: &u32| &rows[unit as usize * per_unit..][..per_unit];
        Sequences {
            ends: Some(joined.iter().scan(0, count).collect()),
            lengths: joined.iter().map(length).collect(),
            rows: joined.iter().flatten().flat_map(rows_of).copied().collect(),
            per_unit,
        }
    }

    fn len(&self) -> u32 {
        self.lengths.len() as u32
    }

    fn get(&self, sequence: u32) -> &[u32] {
        let sequence = sequence as usize;
        match &self.ends {
            None => &self.rows[sequence * self.per_unit..][..self.per_unit],
            Some(ends) => {
                let first = if sequence == 0 { 0 } else { ends[sequence - 1] };
                &self.rows[first as usize..ends[sequence] as usize]
            }
        }
    }
}

/// The rows of one step.
#[derive(Clone, Debug, PartialEq)]
pub struct StepRows {
    /// Epochs done after this step.
    pub epoch: f64,
    /// Row numbers, one list for each micro-batch, none of them empty.
    pub micro_batches: Vec<Vec<u32>>,
}

impl BatchPlan {
    /// A plan over `rows`, whole units of them, numbers into `lengths`, which has the tokens of every row of the dataset.
    /// No rows are an error of code `bad-data`, more micro-batches than can be numbered one of `bad-option`.
    pub fn new(rows: &[u32], lengths: &[u32], options: BatchOptions) -> Result<Self> {
        if rows.is_empty() {
            bail!(BadData, "the dataset has no rows to train on");
        }
        let sequences = Sequences::new(rows, lengths, &options);
        let plan = BatchPlan { sequences, options, order: None };
        let (steps, accumulation) = (plan.total_steps(), options.accumulation);
        if steps.checked_mul(accumulation).is_none() {
            bail!(
                BadOption,
                "train.gradient_accumulation_steps is {accumulation}, and with {steps} steps (train.max_steps or \
                 train.num_train_epochs) that is more than {} micro-batches; lower either: an epoch has {}",
                u32::MAX,
                plan.micro_batches_per_epoch()
            );
        }
        Ok(plan)
    }

    /// The most that a micro-batch can have of something that each row has some of.
    pub fn most(&self, of_row: impl Fn(u32) -> usize) -> usize {
        let of_sequence = |sequence| self.sequences.get(sequence).iter().map(|&row| of_row(row)).sum();
        let mut sums: Vec<usize> = (0..self.sequences.len()).map(of_sequence).collect();
        sums.sort_unstable_by(|a, b| b.cmp(a));
        sums.iter().take(self.sequences_per_batch() as usize).sum()
    }

    /// Optimiser steps of the whole run.
    pub fn total_steps(&self) -> u32 {
        let by_epochs = || (self.options.num_train_epochs * f64::from(self.steps_per_epoch())).ceil() as u32;
        self.options.max_steps.unwrap_or_else(by_epochs)
    }

    pub fn steps_per_epoch(&self) -> u32 {
        self.micro_batches_per_epoch().div_ceil(self.options.accumulation)
    }

    fn micro_batches_per_epoch(&self) -> u32 {
        self.sequences.len().div_ceil(self.sequences_per_batch())
    }

    /// Sequences of a micro-batch: of neighbours that are left together each is one.
    fn sequences_per_batch(&self) -> u32 {
        if self.options.grouped { 1 } else { self.options.batch_size }
    }

    /// The rows of step `step`, counted from zero.
    pub fn step(&mut self, step: u32) -> StepRows {
        let epoch = step / self.steps_per_epoch();
        let per_epoch = self.micro_batches_per_epoch();
        let first = step % self.steps_per_epoch() * self.options.accumulation;
        let last = first.saturating_add(self.options.accumulation).min(per_epoch);
        let batch_size = self.sequences_per_batch() as usize;
        self.find_order(epoch);
        let order = self.order.as_ref().map_or(&[][..], |(_, order)| order);
        let batches = order.chunks(batch_size).take(last as usize).skip(first as usize);
        let rows = |batch: &[u32]| {
            batch.iter().flat_map(|&sequence| self.sequences.get(sequence)).copied().collect()
        };
        StepRows {
            epoch: f64::from(epoch) + f64::from(last) / f64::from(per_epoch),
            micro_batches: batches.map(rows).collect(),
        }
    }

    fn find_order(&mut self, epoch: u32) {
        if self.order.as_ref().is_some_and(|(known, _)| *known == epoch) {
            return;
        }
        let count = self.sequences.len();
        let in_file = || (0..count).collect();
        let mut order = self.options.shuffle_seed.map_or_else(in_file, |seed| shuffled(count, seed, epoch));
        if self.options.group_by_length {
            let step =
                (self.sequences_per_batch() as usize).saturating_mul(self.options.accumulation as usize);
            group_by_length(&mut order, &self.sequences.lengths, step);
        }
        self.order = Some((epoch, order));
    }
}

/// Sorts spans of the order by length, as transformers' `LengthGroupedSampler` does: each spans 50 steps,
/// or a quarter of the epoch where that is less, so that the order stays random as a whole.
fn group_by_length(order: &mut [u32], lengths: &[u32], step: usize) {
    let steps = (order.len() / 4 / step).clamp(1, 50);
    for span in order.chunks_mut(step.saturating_mul(steps)) {
        span.sort_by_key(|&sequence| std::cmp::Reverse(lengths[sequence as usize]));
    }
}

/// Fisher and Yates' shuffle, drawn from ChaCha8 with the epoch as its stream.
fn shuffled(rows: u32, seed: u64, epoch: u32) -> Vec<u32> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    random.set_stream(u64::from(epoch));
    let mut order: Vec<u32> = (0..rows).collect();
    for last in (1..order.len()).rev() {
        order.swap(last, below(last as u32 + 1, &mut random) as usize);
    }
    order
}

/// A number in `0..bound`, each as likely as the next: Lemire's multiplication with rejection.
fn below(bound: u32, random: &mut ChaCha8Rng) -> u32 {
    loop {
        let product = u64::from(random.next_u32()) * u64::from(bound);
        if product as u32 >= bound.wrapping_neg() % bound {
            return (product >> 32) as u32;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::error::Code;

    fn plan(rows: u32, batch_size: u32, accumulation: u32) -> BatchOptions {
        assert!(rows > 0);
        BatchOptions {
            rows_per_unit: 1,
            batch_size,
            accumulation,
            max_steps: None,
            num_train_epochs: 2.0,
            shuffle_seed: None,
            group_by_length: false,
            packing: None,
            grouped: false,
        }
    }

    /// A plan over `rows` rows, row i with i + 1 tokens.
    fn over(rows: u32, options: BatchOptions) -> BatchPlan {
        let lengths: Vec<u32> = (1..=rows).collect();
        BatchPlan::new(&(0..rows).collect::<Vec<_>>(), &lengths, options).unwrap()
    }

    #[test]
    fn micro_batches_can_be_numbered() {
        let made = |max_steps, accumulation| {
            let options = BatchOptions { max_steps: Some(max_steps), ..plan(10, 2, accumulation) };
            BatchPlan::new(&(0..10).collect::<Vec<_>>(), &[5; 10], options)
        };
        for (max_steps, accumulation) in [(3, 1_431_655_765), (u32::MAX, 1), (1, u32::MAX)] {
            made(max_steps, accumulation).unwrap();
        }
        let error = made(3, 1_431_655_766).unwrap_err();
        assert_eq!(error.code, Code::BadOption);
        let expected =
            "train.gradient_accumulation_steps is 1431655766, and with 3 steps (train.max_steps or";
        assert!(error.to_string().starts_with(expected), "{error}");
    }

    #[test]
    fn the_end_of_an_epoch_is_short() {
        let mut batches = over(7, plan(7, 2, 3));
        assert_eq!((batches.steps_per_epoch(), batches.total_steps()), (2, 4));
        let steps: Vec<_> = (0..4).map(|step| batches.step(step)).collect();
        assert_eq!(steps[0].micro_batches, [[0, 1], [2, 3], [4, 5]]);
        assert_eq!(steps[1].micro_batches, [[6]]);
        assert_eq!(steps[2].micro_batches, steps[0].micro_batches);
        assert_eq!(steps.iter().map(|step| step.epoch).collect::<Vec<_>>(), [0.75, 1.0, 1.75, 2.0]);
        assert_eq!(BatchPlan::new(&[], &[], plan(1, 1, 1)).unwrap_err().code, Code::BadData);
    }

    /// Values of `Trainer.set_initial_training_values` in transformers 5.23: ceil(epochs · steps per epoch).
    #[test]
    fn epochs_may_be_fractions_and_max_steps_overrides_them() {
        for (rows, batch, accumulation, epochs, steps) in [
            (100, 8, 1, 3.0, 39),
            (100, 8, 4, 3.0, 12),
            (10, 4, 2, 0.4, 1),
            (10, 4, 2, 1.5, 3),
            (1, 8, 4, 3.0, 3),
        ] {
            let options = BatchOptions { num_train_epochs: epochs, ..plan(rows, batch, accumulation) };
            assert_eq!(over(rows, options).total_steps(), steps);
            let fixed = BatchOptions { max_steps: Some(5), ..options };
            assert_eq!(over(rows, fixed).total_steps(), 5);
        }
    }

    proptest! {
        #[test]
        fn an_epoch_takes_every_row_once_from_wherever_it_is_taken_up(
            rows in 1u32..60, batch in 1u32..9, accumulation in 1u32..5, seed: Option<u64>,
        ) {
            let options = BatchOptions { shuffle_seed: seed, ..plan(rows, batch, accumulation) };
            let mut batches = over(rows, options);
            let per_epoch = batches.steps_per_epoch();
            for epoch in 0..2 {
                let steps: Vec<_> = (0..per_epoch).map(|step| batches.step(epoch * per_epoch + step)).collect();
                let full = |step: &Vec<Vec<u32>>| step.iter().all(|micro| micro.len() <= batch as usize && !micro.is_empty());
                prop_assert!(steps.iter().all(|step| full(&step.micro_batches)));
                let mut taken: Vec<u32> = steps.iter().flat_map(|step| step.micro_batches.concat()).collect();
                if seed.is_none() {
                    prop_assert!(taken.is_sorted());
                }
                taken.sort();
                prop_assert_eq!(taken, (0..rows).collect::<Vec<_>>());
                prop_assert_eq!(steps.last().unwrap().epoch, f64::from(epoch + 1));
                let resumed = over(rows, options).step(epoch * per_epoch + per_epoch / 2);
                prop_assert_eq!(&resumed, &steps[(per_epoch / 2) as usize]);
            }
        }
    }

    #[test]
    fn grouped_rows_are_of_like_lengths_and_packed_ones_share_a_place() {
        let grouped = BatchOptions { shuffle_seed: Some(1), group_by_length: true, ..plan(64, 4, 1) };
        let mut batches = over(64, grouped);
        let spread = |rows: &[u32]| rows.iter().max().unwrap() - rows.iter().min().unwrap();
        let steps: Vec<Vec<u32>> = (0..16).map(|step| batches.step(step).micro_batches.concat()).collect();
        assert!(steps.iter().all(|step| spread(step) < 32), "{steps:?}");
        assert_eq!(batches.step(0).micro_batches.concat(), steps[0]);
        assert_ne!(batches.step(16).micro_batches.concat(), steps[0]);

        let packed = BatchOptions { packing: Some(8), ..plan(8, 2, 1) };
        let mut batches = over(8, packed);
        let first = batches.step(0).micro_batches.concat();
        assert_eq!(first, [0, 6, 1, 5], "rows of 1 and 7 tokens, and of 2 and 6");
        assert_eq!(batches.most(|row| row as usize + 1), 16);
        assert_eq!(over(8, plan(8, 2, 1)).most(|row| row as usize + 1), 15);
    }

    proptest! {
        #[test]
        fn units_stay_whole_and_neighbours_together(
            units in 1u32..40, batch in 1u32..9, accumulation in 1u32..4, seed: Option<u64>,
            packing in prop::option::of(1u32..99), grouped: bool,
        ) {
            let packing = packing.filter(|_| !grouped);
            let options = BatchOptions {
                rows_per_unit: 2, shuffle_seed: seed, packing, grouped, ..plan(units, batch, accumulation)
            };
            let mut batches = over(2 * units, options);
            let per_epoch = batches.steps_per_epoch();
            let mut epochs = Vec::new();
            for epoch in 0..2 {
                let step = |step| batches.step(epoch * per_epoch + step).micro_batches;
                let micro_batches: Vec<Vec<u32>> = (0..per_epoch).flat_map(step).collect();
                let whole = |unit: &[u32]| unit[0].is_multiple_of(2) && unit[1] == unit[0] + 1;
                prop_assert!(micro_batches.iter().all(|rows| rows.chunks(2).all(whole)));
                let mut taken = micro_batches.concat();
                taken.sort();
                prop_assert_eq!(taken, (0..2 * units).collect::<Vec<_>>());
                // Row i has i + 1 tokens.
                let tokens = |rows: &Vec<u32>| rows.iter().map(|&row| row as usize + 1).sum::<usize>();
                prop_assert!(micro_batches.iter().map(tokens).max() <= Some(batches.most(|row| row as usize + 1)));
                epochs.push(micro_batches);
            }
            if grouped {
                let mut sorted = epochs.clone();
                sorted.iter_mut().for_each(|epoch| epoch.sort());
                let neighbours: Vec<u32> = (0..2 * units).collect();
                let groups: Vec<Vec<u32>> = neighbours.chunks(2 * batch as usize).map(<[u32]>::to_vec).collect();
                prop_assert_eq!(&sorted, &[groups.clone(), groups.clone()]);
                prop_assert!(seed.is_some() || epochs[0] == groups);
            }
        }
    }

    #[test]
    fn units_are_grouped_and_packed_by_all_their_tokens() {
        // Units of 3, 7, 11 and 15 tokens.
        let pairs = BatchOptions { rows_per_unit: 2, ..plan(4, 1, 1) };
        assert_eq!(over(8, pairs).step(2).micro_batches, [[4, 5]]);
        assert_eq!(over(8, pairs).most(|row| row as usize + 1), 15);
        let by_length = BatchOptions { group_by_length: true, max_steps: Some(4), ..pairs };
        assert_eq!(over(2, by_length).step(0).micro_batches, [[0, 1]]);
        let packed = BatchOptions { packing: Some(18), batch_size: 2, ..pairs };
        assert_eq!(over(8, packed).step(0).micro_batches, [[0, 1, 6, 7, 2, 3, 4, 5]]);
    }

    #[test]
    fn the_shuffle_depends_on_seed_and_epoch_and_never_changes() {
        let order = |seed, step| {
            let options = BatchOptions { shuffle_seed: Some(seed), ..plan(12, 12, 1) };
            over(12, options).step(step).micro_batches.concat()
        };
        assert_ne!(order(42, 0), order(42, 1));
        assert_ne!(order(42, 0), order(43, 0));
        // A run that is taken up by a later version must see the same rows: these orders are part of the format.
        assert_eq!(order(42, 0), [4, 9, 0, 5, 3, 10, 11, 6, 8, 1, 7, 2]);
    }
}
