//! What a reference makes of the rows of a token set, computed once and kept as tokens are: a log-probability for each row.

use super::kv::{Key, Kv, Table, Write};
use super::tokens::TokenSet;
use crate::error::Result;

/// Log-probabilities by row of a token set.
#[derive(Clone, Debug)]
pub struct Scores {
    id: String,
    /// Records that were written.
    records: u32,
    /// Not a number where one is not known.
    logps: Vec<f32>,
}

impl Scores {
    /// Those of `set` that were made by whatever `fingerprint` stands for, as far as they are known.
    pub async fn open(kv: &dyn Kv, set: &TokenSet, fingerprint: &str) -> Result<Self> {
        let id = format!("{}.{fingerprint}", set.id());
        let records = kv.scan(Table::Scores, Some(&id)).await?;
        let mut scores = Scores { id, records: 0, logps: vec![f32::NAN; set.len()] };
        for (key, bytes) in records {
            scores.records = scores.records.max(key.number + 1);
            for &[row, bits] in bytemuck::pod_collect_to_vec::<u8, u32>(&bytes).as_chunks::<2>().0 {
                if let Some(logp) = scores.logps.get_mut(row as usize) {
                    *logp = f32::from_bits(bits);
                }
            }
        }
        Ok(scores)
    }

    /// Of a row; not a number where it is not known.
    pub fn of(&self, row: u32) -> f32 {
        self.logps[row as usize]
    }

    /// Adds rows with their log-probabilities, and keeps them.
    pub async fn add(&mut self, kv: &dyn Kv, found: &[(u32, f32)]) -> Result<()> {
        let words: Vec<u32> = found.iter().flat_map(|(row, logp)| [*row, logp.to_bits()]).collect();
        let bytes = words.into_iter().flat_map(u32::to_le_bytes).collect();
        kv.write(vec![Write::Put(Key::new(Table::Scores, &self.id, self.records), bytes)]).await?;
        self.records += 1;
        found.iter().for_each(|&(row, logp)| self.logps[row as usize] = logp);
        Ok(())
    }
}
