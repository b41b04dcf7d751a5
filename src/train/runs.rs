//! Checkpoints of runs by name, in the store.
//!
//! The pieces of a checkpoint are written first and the run's record, which names them, last and in one
//! transaction with the removal of what it no longer names. Whatever moment a tab is killed at, the record
//! names whole checkpoints.

use serde::{Deserialize, Serialize};

use super::checkpoint::{Checkpoint, Header, Identity};
use crate::data::kv::{Key, Kv, Table, Write};
use crate::error::{Code, Context, Error, Result};

/// Bytes of a checkpoint that lie in one record.
const PIECE_BYTES: usize = 4 << 20;

/// A run by name: its checkpoints, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunRecord {
    pub saved: Vec<Saved>,
    next: u32,
}

/// A checkpoint as the record names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Saved {
    /// Names its pieces; never used twice in a run.
    id: u32,
    pub step: u32,
    pub bytes: u64,
}

impl RunRecord {
    /// The record of a run; one without checkpoints where there is none, or none that can be read.
    pub async fn load(kv: &impl Kv, run: &str) -> Result<Self> {
        let json = kv.get_one(Key::new(Table::Runs, run, 0)).await?;
        Ok(json.and_then(|json| serde_json::from_slice(&json).ok()).unwrap_or_default())
    }
}

/// Where the pieces of a checkpoint begin.
fn first_piece(run: &str, id: u32) -> Key {
    Key::new(Table::Checkpoints, &format!("{run}/{id}"), 0)
}

/// Saves a checkpoint in a run's `record`, and keeps the last `keep` of the run, at least this one.
///
/// # Errors
///
/// `quota-exceeded`, telling the bytes that it takes: what was saved before is then still there.
pub async fn save(
    kv: &impl Kv,
    run: &str,
    mut record: RunRecord,
    checkpoint: &Checkpoint,
    keep: usize,
) -> Result<Saved> {
    let bytes = checkpoint.to_bytes();
    let saved = Saved { id: record.next, step: checkpoint.header.progress.step, bytes: bytes.len() as u64 };
    let first = first_piece(run, saved.id);
    let written = async {
        // Whatever a kill left behind under this name.
        kv.write(vec![Write::RemoveFrom(first.clone())]).await?;
        for (number, piece) in (0..).zip(bytes.chunks(PIECE_BYTES)) {
            kv.write(vec![Write::Put(Key { number, ..first.clone() }, piece.to_vec())]).await?;
        }
        record.next += 1;
        record.saved.push(saved.clone());
        let gone = record.saved.len().saturating_sub(keep.max(1));
        let mut changes: Vec<Write> =
            record.saved.drain(..gone).map(|old| Write::RemoveFrom(first_piece(run, old.id))).collect();
        let json = serde_json::to_vec(&record).expect("a record is plain data");
        changes.push(Write::Put(Key::new(Table::Runs, run, 0), json));
        kv.write(changes).await
    };
    match written.await {
        Ok(()) => Ok(saved),
        Err(error) => {
            // The cause is what the caller must hear, not that tidying up failed as well.
            let _ = kv.write(vec![Write::RemoveFrom(first)]).await;
            Err(error).context(format_args!("saving a checkpoint of {} bytes", saved.bytes))
        }
    }
}

/// The latest whole checkpoint of a run, and the steps of later ones that were damaged or gone. `None`
/// where the run has saved none; where none of those it saved is whole, an error of code `bad-state`.
pub async fn latest(kv: &impl Kv, run: &str) -> Result<Option<(Checkpoint, Vec<u32>)>> {
    let record = RunRecord::load(kv, run).await?;
    let mut damaged = Vec::new();
    for saved in record.saved.iter().rev() {
        let first = first_piece(run, saved.id);
        let pieces = saved.bytes.div_ceil(PIECE_BYTES as u64) as u32;
        let keys: Vec<Key> = (0..pieces).map(|number| Key { number, ..first.clone() }).collect();
        let found: Vec<u8> = kv.get(&keys).await?.into_iter().flatten().flatten().collect();
        match Checkpoint::from_bytes(&found) {
            Ok(checkpoint) => return Ok(Some((checkpoint, damaged))),
            Err(_) => damaged.push(saved.step),
        }
    }
    if damaged.is_empty() {
        return Ok(None);
    }
    Err(Error::new(
        Code::BadState,
        format!(
            "all {} checkpoints of run {run:?} are damaged or gone from the browser's storage",
            damaged.len()
        ),
    ))
}

/// What the run was made from whose checkpoints lie under a name, and the step of the last one; `None` where
/// there are none that can be read. No tensor is read for it.
pub async fn latest_identity(kv: &impl Kv, run: &str) -> Result<Option<(u32, Identity)>> {
    let record = RunRecord::load(kv, run).await?;
    for saved in record.saved.iter().rev() {
        let first = first_piece(run, saved.id);
        let mut bytes = Vec::new();
        for number in 0..saved.bytes.div_ceil(PIECE_BYTES as u64) as u32 {
            let Some(piece) = kv.get_one(Key { number, ..first.clone() }).await? else { break };
            bytes.extend(piece);
            if let Some(header) = Header::at_start_of(&bytes) {
                return Ok(Some((saved.step, header.identity)));
            }
        }
    }
    Ok(None)
}

/// Removes a run's checkpoints and its record.
pub async fn delete(kv: &impl Kv, run: &str) -> Result<()> {
    let record = RunRecord::load(kv, run).await?;
    let mut changes: Vec<Write> =
        record.saved.iter().map(|saved| Write::RemoveFrom(first_piece(run, saved.id))).collect();
    changes.push(Write::RemoveFrom(Key::new(Table::Runs, run, 0)));
    kv.write(changes).await
}
