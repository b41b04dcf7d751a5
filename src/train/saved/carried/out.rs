//! Out of the store, piece by piece.

use std::collections::{BTreeMap, VecDeque};

use xxhash_rust::xxh3::Xxh3;

use super::{FORM, Kind, MAGIC};
use crate::bail;
use crate::data::kv::{Kv, Write};
use crate::error::Result;
use crate::train::saved::record::Saved;
use crate::train::saved::{LogRecords, PIECE_BYTES, best, latest, samples};

/// The last whole checkpoint of a run on its way out, with that of its best evaluation, what both start from, the log and
/// the samples.
pub struct RunExport {
    run: String,
    left: VecDeque<Part>,
    hash: Xxh3,
    total: u64,
}

enum Part {
    Bytes(Vec<u8>),
    /// The records of a checkpoint from `number` on, of which `bytes` are left.
    Records {
        of: Saved,
        number: u32,
        bytes: u64,
    },
    End,
}

impl RunExport {
    /// Looks for what is to be taken out, all of which is read for it.
    ///
    /// # Errors
    ///
    /// `bad-state` where the run has no checkpoint, where none that it has is whole, and where a later build saved it.
    pub async fn begin(kv: &dyn Kv, run: &str) -> Result<Self> {
        let Some(found) = latest(kv, run).await? else {
            bail!(BadState, "run {run:?} has no checkpoint that could be taken out");
        };
        let best = best(kv, run).await?.map(|(found, _)| found);
        // What others start from was saved before them.
        let mut checkpoints = BTreeMap::new();
        for found in [Some(&found), best.as_ref()].into_iter().flatten() {
            for saved in found.all() {
                checkpoints.insert(saved.id(), saved.clone());
            }
        }
        let total = checkpoints.values().map(|saved| saved.bytes).sum();
        let mut left = VecDeque::from([Part::Bytes(format!("{MAGIC}{FORM}\n").into_bytes())]);
        for saved in checkpoints.into_values() {
            let told = serde_json::to_vec(&saved).expect("what a record says is plain data");
            left.push_back(Part::Bytes(frame(Kind::Checkpoint, &told)));
            left.push_back(Part::Records { number: 0, bytes: saved.bytes, of: saved });
        }
        for change in LogRecords::default().changes(run, &found.log) {
            if let Write::Put(_, lines) = change {
                left.push_back(Part::Bytes(frame(Kind::Log, &lines)));
            }
        }
        let samples = samples(kv, run).await?.unwrap_or_default();
        for part in samples.as_bytes().chunks(PIECE_BYTES) {
            left.push_back(Part::Bytes(frame(Kind::Samples, part)));
        }
        left.push_back(Part::End);
        Ok(RunExport { run: run.to_owned(), left, hash: Xxh3::new(), total })
    }

    /// Bytes of the checkpoints, beside which the rest is small.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// The next bytes; `None` after the last.
    ///
    /// # Errors
    ///
    /// `bad-state` where the checkpoint is no longer there, because the run has gone on or was deleted.
    pub async fn next(&mut self, kv: &dyn Kv) -> Result<Option<Vec<u8>>> {
        let bytes = match self.left.pop_front() {
            None => return Ok(None),
            Some(Part::Bytes(bytes)) => bytes,
            Some(Part::Records { of, number, bytes }) => {
                let record = kv.get_one(of.place(&self.run).record(number)).await?;
                let Some(record) = record.filter(|record| record.len() as u64 <= bytes) else {
                    let run = &self.run;
                    bail!(BadState, "run {run:?} changed while it was taken out: try again when it rests");
                };
                let bytes = bytes - record.len() as u64;
                if bytes > 0 {
                    self.left.push_front(Part::Records { of, number: number + 1, bytes });
                }
                frame(Kind::Record, &record)
            }
            Some(Part::End) => frame(Kind::End, &self.hash.digest128().to_le_bytes()),
        };
        self.hash.update(&bytes);
        Ok(Some(bytes))
    }
}

fn frame(kind: Kind, bytes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(bytes.len()).expect("a record is a few megabytes long");
    let mut frame = vec![kind as u8];
    frame.extend_from_slice(&length.to_le_bytes());
    frame.extend_from_slice(bytes);
    frame
}
