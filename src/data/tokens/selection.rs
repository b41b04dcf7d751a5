//! Which rows of a token set are trained on, and which are held out.

use std::rc::Rc;

use super::TokenSet;
use crate::bail;
use crate::data::kv::Kv;
use crate::data::library::{Block, Description, StoredRow};
use crate::error::Result;

/// Rows of the dataset after which the answers of those that were pairs begin anew with chosen ones.
const PAIRS_TAKEN_APART: u32 = 1000;

/// Rows of a token set, those of a unit one after the other.
///
/// Units are in the order of the dataset, but of pairs whose answers are judged all chosen ones come first, then all
/// rejected ones, in every thousand rows: TRL's `unpair_preference_dataset`.
#[derive(Clone, Debug)]
pub struct Selection {
    pub set: Rc<TokenSet>,
    pub rows: Vec<u32>,
}

impl Selection {
    /// All rows.
    pub fn all(set: Rc<TokenSet>) -> Self {
        let rows = set.in_turn();
        Selection { set, rows }
    }

    /// All rows, and of these apart the share `test_size`, between 0 and 1, whose hashes are the least: a
    /// row that is held out stays so when others come or go, and equal rows stay together. Where that would leave
    /// no row on one side, as with few rows, the row of the least hash is held out, or that of the greatest is not.
    pub fn split(set: Rc<TokenSet>, test_size: f64) -> [Self; 2] {
        let hashes = &set.index.hashes;
        let bound = hold_out_below(hashes, test_size);
        let is_held_out = |&row: &u32| f64::from(hashes[row as usize]) < bound;
        // All rows of a unit have one hash, and so have both answers of a pair that was taken apart.
        let (held_out, rows) = set.in_turn().into_iter().partition(is_held_out);
        [Selection { set: set.clone(), rows }, Selection { set, rows: held_out }]
    }

    /// At most so many of these units, spread evenly over them.
    pub fn sample(self, most: u32) -> Self {
        let units: Vec<&[u32]> = self.rows.chunks(self.set.rows_as().rows_per_unit() as usize).collect();
        let (count, len) = (u64::from(most).min(units.len() as u64), units.len() as u64);
        let rows = (0..count).flat_map(|number| units[(number * len / count) as usize]).copied().collect();
        Selection { set: self.set, rows }
    }
}

/// The hash from which on rows are trained on where the share `test_size` is held out: see [`Selection::split`].
fn hold_out_below(hashes: &[u32], test_size: f64) -> f64 {
    let bound = test_size * 2f64.powi(32);
    match (hashes.iter().min(), hashes.iter().max()) {
        (Some(&least), Some(&greatest)) if test_size > 0.0 => {
            bound.max(f64::from(least) + 1.0).min(f64::from(greatest))
        }
        _ => bound,
    }
}

/// The numbers of a dataset's rows that a run with this `test_size` holds out, counted from zero. Rows that the run would
/// leave out because they are bad count here, which only matters where the share is that of less than a row.
///
/// # Errors
///
/// `bad-option` where `test_size` is no share; those of reading the rows.
pub async fn held_out(kv: &dyn Kv, name: &str, test_size: f64) -> Result<Vec<u32>> {
    if !(0.0..1.0).contains(&test_size) {
        bail!(BadOption, "test_size is {test_size}, but must be at least 0 and below 1");
    }
    let content = Description::rows(kv, name).await?;
    let mut hashes = Vec::new();
    for number in 0..content.blocks() {
        hashes.extend(Block::load(kv, &content.id, number).await?.rows()?.iter().map(split_hash));
    }
    let bound = hold_out_below(&hashes, test_size);
    Ok((0..).zip(hashes).filter(|&(_, hash)| f64::from(hash) < bound).map(|(number, _)| number).collect())
}

/// What decides whether a row is held out.
pub(super) fn split_hash(row: &StoredRow) -> u32 {
    (row.hash >> 96) as u32
}

impl TokenSet {
    /// All rows in the order in which they are trained on.
    fn in_turn(&self) -> Vec<u32> {
        let mut rows: Vec<u32> = (0..self.len() as u32).collect();
        if let turns @ [_, ..] = self.index.turns.as_slice() {
            rows.sort_by_key(|&row| {
                let turn = turns[row as usize];
                (turn / (2 * PAIRS_TAKEN_APART), turn % 2, turn, row)
            });
        }
        rows
    }
}
