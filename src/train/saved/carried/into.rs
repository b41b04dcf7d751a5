//! Into the store, where nothing names it until all of it was found to be whole.

use serde_json::from_slice;
use xxhash_rust::xxh3::Xxh3;

use super::{FORM, FRAME_HEAD, Kind, MAGIC, MOST_CHECKPOINTS};
use crate::bail;
use crate::data::kv::{Key, Kv, Table, Write};
use crate::error::{Code, Error, Result};
use crate::train::log::Line;
use crate::train::saved::record::{self, RunRecord, Saved};
use crate::train::saved::samples::are_samples;
use crate::train::saved::{LogRecords, checkpoint};

/// The longest frame that is taken. Records are a few megabytes long.
const LONGEST_FRAME: usize = 64 << 20;
/// The most bytes of log and samples, which are held until the end.
const MOST_HELD: usize = 256 << 20;

/// A run on its way in: `push` for the bytes, then `finish`. Its records are written as they come, under numbers that no
/// checkpoint of the run has had; the run's record names them in the last transaction of all.
pub struct RunImport {
    run: String,
    /// As it was.
    record: RunRecord,
    buffer: Vec<u8>,
    is_begun: bool,
    checkpoints: Vec<Incoming>,
    log: Vec<Line>,
    samples: Vec<u8>,
    held: usize,
    hash: Xxh3,
    is_ended: bool,
}

/// A checkpoint on its way in.
struct Incoming {
    /// As the bytes tell of it.
    told: Saved,
    /// As the run's record will.
    saved: Saved,
    records: u32,
    /// Of these records as they came.
    bytes: u64,
}

impl RunImport {
    /// Begins to take a run in under a name.
    ///
    /// # Errors
    ///
    /// `bad-state` where that has checkpoints which the run may not `overwrite`, or which a later build saved.
    pub async fn begin(kv: &dyn Kv, run: &str, overwrite: bool) -> Result<Self> {
        let record = RunRecord::load(kv, run).await?;
        record.expect_known(run)?;
        if let Some(last) = record.saved.last().filter(|_| !overwrite) {
            bail!(
                BadState,
                "run {run:?} has checkpoints already, up to step {}: take this one in under another run_name, or let it \
                 take their place with overwrite",
                last.step
            );
        }
        // Whatever a kill left behind of one that was taken in before.
        kv.write(record.unfinished(run).collect()).await?;
        Ok(RunImport {
            run: run.to_owned(),
            record,
            buffer: Vec::new(),
            is_begun: false,
            checkpoints: Vec::new(),
            log: Vec::new(),
            samples: Vec::new(),
            held: 0,
            hash: Xxh3::new(),
            is_ended: false,
        })
    }

    /// The next bytes. After an error nothing is left of those before.
    ///
    /// # Errors
    ///
    /// `bad-data` for what is no run, or a damaged one; `bad-state` for one that a later build wrote; `quota-exceeded`.
    pub async fn push(&mut self, kv: &dyn Kv, piece: &[u8]) -> Result<()> {
        self.buffer.extend_from_slice(piece);
        let taken = self.take_all(kv).await;
        self.settled(kv, taken).await
    }

    /// Makes what came the run's checkpoints, in place of those that it may overwrite, and tells of the last.
    ///
    /// # Errors
    ///
    /// As [`RunImport::push`]; nothing is left of what came then, and what was there is there still.
    pub async fn finish(self, kv: &dyn Kv) -> Result<Saved> {
        let kept = self.keep(kv).await;
        self.settled(kv, kept).await
    }

    /// Removes what was written so far.
    pub async fn give_up(&self, kv: &dyn Kv) -> Result<()> {
        kv.write(self.record.unfinished(&self.run).collect()).await
    }

    async fn settled<T>(&self, kv: &dyn Kv, result: Result<T>) -> Result<T> {
        if result.is_err() {
            // On a full disk this may fail as well. What a person has to know is why nothing came in.
            let _ = self.give_up(kv).await;
        }
        result
    }

    async fn take_all(&mut self, kv: &dyn Kv) -> Result<()> {
        if !self.is_begun && !self.take_first_line()? {
            return Ok(());
        }
        let mut used = 0;
        let buffer = std::mem::take(&mut self.buffer);
        while let Some((head, rest)) = buffer[used..].split_first_chunk::<FRAME_HEAD>() {
            let [letter, length @ ..] = *head;
            let length = u32::from_le_bytes(length) as usize;
            let kind = Kind::of(letter).filter(|_| length <= LONGEST_FRAME && !self.is_ended);
            let Some(kind) = kind else { return Err(self.damaged("a part of it is none that a run has")) };
            let Some(bytes) = rest.get(..length) else { break };
            self.take(kv, kind, bytes).await?;
            self.hash.update(&buffer[used..][..FRAME_HEAD + length]);
            used += FRAME_HEAD + length;
        }
        self.buffer = buffer[used..].to_vec();
        Ok(())
    }

    /// False where more bytes are needed for it.
    fn take_first_line(&mut self) -> Result<bool> {
        /// Ten digits are more than a number of a form has.
        const LONGEST_LINE: usize = MAGIC.len() + 11;
        let begin = &self.buffer[..self.buffer.len().min(LONGEST_LINE)];
        let Some(end) = begin.iter().position(|&byte| byte == b'\n') else {
            if begin.len() < LONGEST_LINE {
                return Ok(false);
            }
            return Err(self.no_run());
        };
        let form = begin[..end]
            .strip_prefix(MAGIC.as_bytes())
            .and_then(|form| str::from_utf8(form).ok()?.parse().ok());
        match form {
            Some(FORM) => {}
            Some(form) if form > FORM => bail!(
                BadState,
                "run {:?}: a later version of tabtune took it out, in form {form}, and this one reads form {FORM}: reload \
                 the page or update tabtune to take it in",
                self.run
            ),
            _ => return Err(self.no_run()),
        }
        let rest = self.buffer.split_off(end + 1);
        self.hash.update(&self.buffer);
        self.buffer = rest;
        self.is_begun = true;
        Ok(true)
    }

    async fn take(&mut self, kv: &dyn Kv, kind: Kind, bytes: &[u8]) -> Result<()> {
        match kind {
            Kind::Checkpoint => self.begin_checkpoint(bytes),
            Kind::Record => self.record(kv, bytes).await,
            Kind::Log => {
                self.hold(bytes.len())?;
                for text in bytes.split(|&byte| byte == b'\n').filter(|text| !text.is_empty()) {
                    let line =
                        from_slice(text).map_err(|_| self.damaged("a line of its log cannot be read"))?;
                    self.log.push(line);
                }
                Ok(())
            }
            Kind::Samples => {
                self.hold(bytes.len())?;
                self.samples.extend_from_slice(bytes);
                Ok(())
            }
            Kind::End if bytes == self.hash.digest128().to_le_bytes() => {
                self.is_ended = true;
                Ok(())
            }
            Kind::End => Err(self.damaged("its sum is another one")),
        }
    }

    fn hold(&mut self, bytes: usize) -> Result<()> {
        self.held += bytes;
        match self.held <= MOST_HELD {
            true => Ok(()),
            false => Err(self.damaged("its log and its samples are longer than any run's")),
        }
    }

    fn begin_checkpoint(&mut self, json: &[u8]) -> Result<()> {
        let told: Saved =
            from_slice(json).map_err(|_| self.damaged("what it says of a checkpoint cannot be read"))?;
        let number = self.checkpoints.len() as u32;
        let of =
            |start| self.checkpoints.iter().find(|one| one.told.id() == start && one.told.start.is_none());
        let start = told.start.map(|start| of(start).map(|start| start.saved.id()));
        if start == Some(None) || number == MOST_CHECKPOINTS {
            return Err(self.damaged("its checkpoints do not belong together"));
        }
        let id = self.record.next_id(number);
        let saved = Saved { id, start: start.flatten(), bytes: 0, ..told.clone() };
        self.checkpoints.push(Incoming { told, saved, records: 0, bytes: 0 });
        Ok(())
    }

    async fn record(&mut self, kv: &dyn Kv, bytes: &[u8]) -> Result<()> {
        let Some(Incoming { saved, records, bytes: read, .. }) = self.checkpoints.last_mut() else {
            return Err(self.damaged("a record of it is of no checkpoint"));
        };
        let record = match *records {
            0 => checkpoint::renumbered(bytes, saved.start),
            _ => bytes.to_vec(),
        };
        let key = saved.place(&self.run).record(*records);
        *records += 1;
        *read += bytes.len() as u64;
        saved.bytes += record.len() as u64;
        kv.write(vec![Write::Put(key, record)]).await
    }

    /// Looks at all that came as at a run that was saved here, and lets the record name it.
    async fn keep(&self, kv: &dyn Kv) -> Result<Saved> {
        if !self.is_ended || !self.buffer.is_empty() {
            return Err(self.damaged("it ends before its end, or goes on behind it"));
        }
        let saved: Vec<Saved> = self.checkpoints.iter().map(|one| one.saved.clone()).collect();
        let record = self.record.with(saved);
        for Incoming { told, saved, records, bytes } in &self.checkpoints {
            let is_whole = record::is_whole(kv, &self.run, &record, saved, *records).await?;
            if *bytes != told.bytes || !is_whole {
                return Err(self.damaged(&format!("its checkpoint at step {} is not whole", told.step)));
            }
        }
        let Some(last) = record.saved.last() else { return Err(self.damaged("it has no checkpoint")) };
        if record.saved.iter().filter(|saved| saved.metric.is_some()).count() > 1 {
            return Err(self.damaged("two of its checkpoints are the best"));
        }
        let run = self.run.as_str();
        let mut changes: Vec<Write> = self.record.removal(run).collect();
        changes.extend(LogRecords::default().changes(run, &self.log));
        let samples = Key::new(Table::Samples, run, 0);
        changes.push(match self.samples.is_empty() {
            true => Write::RemoveFrom(samples),
            false if are_samples(&self.samples) => Write::Put(samples, self.samples.clone()),
            false => return Err(self.damaged("its samples cannot be read")),
        });
        changes.push(record.put(run));
        kv.write(changes).await?;
        Ok(last.clone())
    }

    fn no_run(&self) -> Error {
        let message = format!("run {:?}: these bytes are no run that tabtune has taken out", self.run);
        Error::new(Code::BadData, message)
    }

    fn damaged(&self, how: &str) -> Error {
        let message = format!(
            "run {:?} is damaged, and nothing of it is taken in: {how}; take it out once more",
            self.run
        );
        Error::new(Code::BadData, message)
    }
}
