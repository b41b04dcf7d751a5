//! The checkpoints of runs by name, in the store.
//!
//! The pieces of a checkpoint are written first. The run's record, which names them, comes last, in one transaction
//! with the header, the new lines of the log, and the removal of what the record no longer names. Whatever moment
//! a tab is killed at, the record names whole checkpoints.

use serde::{Deserialize, Serialize};

use super::carried::MOST_CHECKPOINTS;
use super::checkpoint::{self, Opened, Place, Written};
use super::{Header, Identity, LogRecords, State, VERSION, first_version, later};
use crate::bail;
use crate::data::kv::{Key, Kv, Table, Write};
use crate::error::{Code, Context, Error, Result};
use crate::train::log::Line;

/// A run by name: its checkpoints, oldest first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunRecord {
    /// The form in which the last checkpoint was saved.
    #[serde(default = "first_version")]
    version: u32,
    pub saved: Vec<Saved>,
    next: u32,
}

/// A checkpoint as the record names it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Saved {
    /// Names its records; never used twice in a run.
    pub(super) id: u32,
    pub step: u32,
    pub bytes: u64,
    /// The checkpoint whose values this one begins with, where it has none itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) start: Option<u32>,
    /// What the best evaluation of the run told, where it was made of these values.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metric: Option<f64>,
}

impl Saved {
    /// Its name among those of its run.
    pub fn id(&self) -> u32 {
        self.id
    }

    pub(super) fn place<'a>(&self, run: &'a str) -> Place<'a> {
        Place { run, first: first_of(run, self.id), bytes: self.bytes }
    }
}

/// The key of the first record of a checkpoint.
fn first_of(run: &str, id: u32) -> Key {
    Key::new(Table::Checkpoints, &format!("{run}/{id}"), 0)
}

impl RunRecord {
    /// The record of a run; one without checkpoints where there is none, or none that can be read.
    pub async fn load(kv: &dyn Kv, run: &str) -> Result<Self> {
        let json = kv.get_one(Key::new(Table::Runs, run, 0)).await?;
        let empty = RunRecord { version: VERSION, saved: Vec::new(), next: 0 };
        let Some(json) = json else { return Ok(empty) };
        Ok(serde_json::from_slice(&json).unwrap_or_else(|_| {
            #[derive(Deserialize)]
            struct Version {
                version: u32,
            }
            // One of a later form may look different, and must not be taken for none.
            let version = serde_json::from_slice(&json).map_or(VERSION, |Version { version }| version);
            RunRecord { version, ..empty }
        }))
    }

    /// The checkpoint of the best evaluation, if one is kept.
    pub fn best(&self) -> Option<&Saved> {
        self.saved.iter().find(|saved| saved.metric.is_some())
    }

    /// No checkpoint is that of the best evaluation.
    pub fn forget_best(&mut self) {
        self.saved.iter_mut().for_each(|saved| saved.metric = None);
    }

    /// Notes that the last checkpoint is that of the best evaluation, which told `metric`.
    fn mark_best(&mut self, metric: f64) {
        self.forget_best();
        if let Some(last) = self.saved.last_mut() {
            last.metric = Some(metric);
        }
    }

    /// The number that the checkpoint has which follows after `others` more.
    pub(super) fn next_id(&self, others: u32) -> u32 {
        self.next + others
    }

    /// The record with other checkpoints, the next ones, in place of its own.
    pub(super) fn with(&self, saved: Vec<Saved>) -> Self {
        RunRecord { version: VERSION, next: self.next_id(saved.len() as u32), saved }
    }

    /// The changes that remove its checkpoints.
    pub(super) fn removal(&self, run: &str) -> impl Iterator<Item = Write> {
        self.saved.iter().map(move |saved| Write::RemoveFrom(saved.place(run).first))
    }

    /// The changes that remove what a kill may have left of checkpoints that were taken in.
    pub(super) fn unfinished(&self, run: &str) -> impl Iterator<Item = Write> {
        (0..MOST_CHECKPOINTS).map(move |number| Write::RemoveFrom(first_of(run, self.next_id(number))))
    }

    pub(super) fn put(&self, run: &str) -> Write {
        let json = serde_json::to_vec(self).expect("a record is plain data");
        Write::Put(Key::new(Table::Runs, run, 0), json)
    }

    /// Fails with code `bad-state` where a later build saved the run.
    pub fn expect_known(&self, run: &str) -> Result<()> {
        if self.version > VERSION {
            return Err(later(run, self.version));
        }
        Ok(())
    }
}

/// Which checkpoints stay when one is saved.
#[derive(Clone, Copy, Debug)]
pub struct Keep {
    /// So many of the last ones, at least the one that is saved.
    pub last: usize,
    /// What the best evaluation of the run told, where it was of this one: then that stays as well, in place of the one before.
    pub best: Option<f64>,
}

/// Saves a checkpoint in a run's `record`. What `keep` says stays, with those that these start from. `log` is all of the
/// run's, of which `kept` says what is in the store.
///
/// # Errors
///
/// What reading `state` fails with, and `not-finite`. What the store refuses is told inside, e.g. with
/// `quota-exceeded` and the bytes that the checkpoint takes. What was saved before is there still.
pub async fn save(
    kv: &dyn Kv,
    run: &str,
    mut record: RunRecord,
    (mut header, state): (Header, &mut impl State),
    (log, kept): (&[Line], &mut LogRecords),
    keep: Keep,
) -> Result<Result<Saved>> {
    if let Err(error) = record.expect_known(run) {
        return Ok(Err(error));
    }
    header.lines = log.len();
    let (id, step) = (record.next, header.progress.step);
    let mut saved = Saved { id, step, bytes: 0, start: header.start, metric: None };
    let first = saved.place(run).first;
    let written = async {
        // Whatever a kill left behind under this name.
        if let Err(error) = kv.write(vec![Write::RemoveFrom(first.clone())]).await {
            return Ok(Err(error));
        }
        let top = match checkpoint::write(kv, &saved.place(run), &mut header, state).await? {
            Written::Whole(top, bytes) => {
                saved.bytes = bytes;
                top
            }
            Written::Refused(error) => return Ok(Err(error)),
        };
        let mut changes = vec![Write::Put(first.clone(), top)];
        changes.extend(kept.changes(run, log));
        record.next += 1;
        record.version = VERSION;
        record.saved.push(saved.clone());
        if let Some(metric) = keep.best {
            record.mark_best(metric);
        }
        let old = record.saved.len().saturating_sub(keep.last.max(1));
        let stays = |index: usize, saved: &Saved| index >= old || saved.metric.is_some();
        let all = std::mem::take(&mut record.saved);
        let wanted: Vec<&Saved> = all
            .iter()
            .enumerate()
            .filter(|(index, saved)| stays(*index, saved))
            .map(|(_, saved)| saved)
            .collect();
        let is_start = |old: &Saved| wanted.iter().any(|saved| saved.start == Some(old.id));
        let (kept, gone): (Vec<_>, Vec<_>) =
            all.iter().enumerate().partition(|(index, saved)| stays(*index, saved) || is_start(saved));
        changes.extend(gone.iter().map(|(_, old)| Write::RemoveFrom(old.place(run).first)));
        record.saved = kept.into_iter().map(|(_, saved)| saved.clone()).collect();
        changes.push(record.put(run));
        Ok(kv.write(changes).await)
    };
    let written: Result<Result<()>> = written.await;
    if matches!(written, Ok(Ok(()))) {
        kept.keep(log.len());
        return Ok(Ok(saved));
    }
    // The cause is what the caller must hear, not that tidying up failed as well.
    let _ = kv.write(vec![Write::RemoveFrom(first)]).await;
    let values: u64 = header.tensors.iter().map(|tensor| tensor.values).sum();
    let values = if values > 0 { values } else { state.tensors().iter().map(|tensor| tensor.values).sum() };
    let refused = written?.map(|()| saved);
    Ok(refused.context(format_args!("saving a checkpoint of {} bytes", 4 * values)))
}

/// The last whole checkpoint of a run.
pub struct Found {
    saved: Saved,
    pub header: Header,
    /// What has the values, where that is another checkpoint.
    start: Option<(Saved, Header)>,
    pub log: Vec<Line>,
    /// Which lines of the log are in records of their own.
    pub kept: LogRecords,
    /// The steps of later checkpoints that are damaged or gone.
    pub damaged: Vec<u32>,
}

impl Found {
    /// The checkpoint, after the one that has the values where that is another.
    pub(super) fn all(&self) -> impl Iterator<Item = &Saved> {
        self.start.iter().map(|(start, _)| start).chain([&self.saved])
    }

    /// The checkpoint that has the values.
    pub fn values(&self) -> (&Saved, &Header) {
        match &self.start {
            Some((saved, header)) => (saved, header),
            None => (&self.saved, &self.header),
        }
    }
}

/// The last whole checkpoint of a run. Its values are read, but not held. `None` where the run has saved none.
///
/// # Errors
///
/// `bad-state` where none that it has saved is whole, or where a later build saved it.
pub async fn latest(kv: &dyn Kv, run: &str) -> Result<Option<Found>> {
    let record = RunRecord::load(kv, run).await?;
    record.expect_known(run)?;
    let mut damaged = Vec::new();
    for saved in record.saved.iter().rev() {
        match found(kv, run, &record, saved).await? {
            Some(found) => return Ok(Some(Found { damaged, ..found })),
            None => damaged.push(saved.step),
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

/// The checkpoint of the best evaluation of a run, with what that told; `None` where none is kept, or where it is damaged.
///
/// # Errors
///
/// `bad-state` where a later build saved the run.
pub async fn best(kv: &dyn Kv, run: &str) -> Result<Option<(Found, f64)>> {
    let record = RunRecord::load(kv, run).await?;
    record.expect_known(run)?;
    let Some(saved) = record.best() else { return Ok(None) };
    let found = found(kv, run, &record, saved).await?;
    Ok(found.zip(saved.metric))
}

/// Notes that the best evaluation of a run, which told `metric`, was of its last checkpoint; false, and nothing is noted, where
/// that is not of `step`.
pub async fn mark_best(kv: &dyn Kv, run: &str, step: u32, metric: f64) -> Result<bool> {
    let mut record = RunRecord::load(kv, run).await?;
    record.expect_known(run)?;
    if record.saved.last().is_none_or(|last| last.step != step) {
        return Ok(false);
    }
    record.mark_best(metric);
    kv.write(vec![record.put(run)]).await?;
    Ok(true)
}

/// A checkpoint of the record with all that belongs to it; `None` where something of it is damaged or gone.
async fn found(kv: &dyn Kv, run: &str, record: &RunRecord, saved: &Saved) -> Result<Option<Found>> {
    let Some(mut opened) = whole(kv, run, saved).await? else { return Ok(None) };
    let header = opened.header().clone();
    let start = match header.start {
        None => None,
        Some(id) => {
            let Some(start) = record.saved.iter().find(|saved| saved.id == id) else { return Ok(None) };
            let Some(opened) = whole(kv, run, start).await? else { return Ok(None) };
            Some((start.clone(), opened.header().clone()))
        }
    };
    let (kept, log) = match &mut opened {
        Opened::First(opened) => (LogRecords::default(), std::mem::take(&mut opened.log)),
        Opened::Now(_) => LogRecords::load(kv, run, header.lines).await?,
    };
    Ok(Some(Found { saved: saved.clone(), header, start, log, kept, damaged: Vec::new() }))
}

/// Whether a checkpoint of the record, which came from outside in so many records, is whole and what the record says of it.
pub(super) async fn is_whole(
    kv: &dyn Kv,
    run: &str,
    record: &RunRecord,
    saved: &Saved,
    records: u32,
) -> Result<bool> {
    let Some(Found { header, .. }) = found(kv, run, record, saved).await? else { return Ok(false) };
    // The first form does not tell its pieces.
    let is_all = header.pieces.is_empty() || header.pieces.len() + 1 == records as usize;
    Ok(is_all && (header.progress.step, header.start) == (saved.step, saved.start))
}

/// A checkpoint with all its values; `None` where it is damaged or gone.
async fn whole(kv: &dyn Kv, run: &str, saved: &Saved) -> Result<Option<Opened>> {
    let place = saved.place(run);
    let Some(mut opened) = checkpoint::open(kv, &place).await? else { return Ok(None) };
    Ok(opened.read(kv, &place, &mut |_, _, _| {}).await?.then_some(opened))
}

/// Writes the values of a checkpoint that was found into `state`.
///
/// # Errors
///
/// `bad-state`: for tensors of other sizes, and then nothing was written; and where the checkpoint has been
/// damaged since it was found.
pub async fn restore(kv: &dyn Kv, run: &str, found: &Found, state: &mut impl State) -> Result<()> {
    let (values, header) = found.values();
    let (saved, wanted) = (&header.tensors, state.tensors());
    // The first form has no names.
    let is_it = |(saved, wanted): (&super::TensorShape, &super::TensorShape)| {
        saved.values == wanted.values && (saved.name.is_empty() || saved.name == wanted.name)
    };
    if saved.len() != wanted.len() || !saved.iter().zip(&wanted).all(is_it) {
        bail!(BadState, "the checkpoint is of an adapter of another size");
    }
    let place = values.place(run);
    if let Some(mut opened) = checkpoint::open(kv, &place).await?
        && opened.read(kv, &place, &mut |tensor, first, values| state.write(tensor, first, values)).await?
    {
        return Ok(());
    }
    bail!(BadState, "the checkpoint of run {run:?} at step {} was just damaged", values.step)
}

/// What the run was made from whose checkpoints lie under a name, and the step of the last one; `None` where
/// there are none that can be read. No values are read for it.
///
/// # Errors
///
/// `bad-state` where a later build saved it.
pub async fn latest_identity(kv: &dyn Kv, run: &str) -> Result<Option<(u32, Identity)>> {
    let record = RunRecord::load(kv, run).await?;
    record.expect_known(run)?;
    for saved in record.saved.iter().rev() {
        if let Some(opened) = checkpoint::open(kv, &saved.place(run)).await? {
            return Ok(Some((saved.step, opened.header().identity.clone())));
        }
    }
    Ok(None)
}

/// Removes a run's checkpoints, its log, its samples and its record.
pub async fn delete(kv: &dyn Kv, run: &str) -> Result<()> {
    let record = RunRecord::load(kv, run).await?;
    let mut changes: Vec<Write> = record.removal(run).chain(record.unfinished(run)).collect();
    changes.push(Write::RemoveFrom(Key::new(Table::RunLogs, run, 0)));
    changes.push(Write::RemoveFrom(Key::new(Table::Samples, run, 0)));
    changes.push(Write::RemoveFrom(Key::new(Table::Runs, run, 0)));
    kv.write(changes).await
}
