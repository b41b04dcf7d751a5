//! The first form of a checkpoint: one file, cut into records wherever it was long enough.
//!
//! Magic, the length of the header (u64), the header as JSON, each tensor as its length (u64) and its values, and
//! XXH3-128 of all that; little-endian.

use serde::Deserialize;
use xxhash_rust::xxh3::Xxh3;

use super::checkpoint::{Place, Sink};
use super::header::{TensorShape, known};
use super::{Header, Identity, PIECE_BYTES, Progress};
use crate::data::kv::Kv;
use crate::error::Result;
use crate::kernels::tiles::Tiles;
use crate::train::log::Line;

const MAGIC: &[u8] = b"tabtune checkpoint 1\n";
const HASH_BYTES: u64 = 16;

#[derive(Deserialize)]
struct FirstHeader {
    identity: Identity,
    progress: Progress,
    #[serde(deserialize_with = "known")]
    tiles: Option<Tiles>,
    log: Vec<Line>,
}

/// A checkpoint whose header was read.
pub(super) struct Opened {
    pub header: Header,
    pub log: Vec<Line>,
}

/// The header; `None` where it is damaged or gone.
pub(super) async fn open(kv: &dyn Kv, place: &Place<'_>) -> Result<Option<Opened>> {
    Bytes::new(place).header(kv).await
}

impl Opened {
    pub async fn read(&mut self, kv: &dyn Kv, place: &Place<'_>, sink: Sink<'_>) -> Result<bool> {
        let mut bytes = Bytes::new(place);
        if bytes.header(kv).await?.is_none() {
            return Ok(false);
        }
        let mut tensors = Vec::new();
        while bytes.left() > HASH_BYTES {
            let Some(values) = bytes.length(kv).await? else { return Ok(false) };
            if values > bytes.left() / 4 {
                return Ok(false);
            }
            let mut first = 0;
            while first < values {
                let count = (values - first).min(PIECE_BYTES as u64 / 4);
                let Some(piece) = bytes.take(kv, 4 * count as usize).await? else { return Ok(false) };
                sink(tensors.len(), first, &piece);
                first += count;
            }
            // They had no names, only their order.
            tensors.push(TensorShape { name: String::new(), values });
        }
        self.header.tensors = tensors;
        let found = bytes.hash.digest128();
        let said = bytes.take(kv, HASH_BYTES as usize).await?;
        Ok(said.is_some_and(|said| said == found.to_le_bytes()))
    }
}

/// The bytes of the file in order, of which a record and what is asked for are held at once.
struct Bytes<'a> {
    place: &'a Place<'a>,
    record: Vec<u8>,
    /// Bytes of `record` that were taken.
    used: usize,
    next_record: u32,
    taken: u64,
    /// Of all that was taken.
    hash: Xxh3,
}

impl<'a> Bytes<'a> {
    fn new(place: &'a Place<'a>) -> Self {
        Bytes { place, record: Vec::new(), used: 0, next_record: 0, taken: 0, hash: Xxh3::new() }
    }

    fn left(&self) -> u64 {
        self.place.bytes.saturating_sub(self.taken)
    }

    /// The next bytes; `None` where the file ends before them.
    async fn take(&mut self, kv: &dyn Kv, length: usize) -> Result<Option<Vec<u8>>> {
        if length as u64 > self.left() {
            return Ok(None);
        }
        // A damaged length asks for no memory before there are bytes to fill it.
        let mut taken = Vec::with_capacity(length.min(PIECE_BYTES));
        while taken.len() < length {
            if self.used == self.record.len() {
                let Some(record) = kv.get_one(self.place.record(self.next_record)).await? else {
                    return Ok(None);
                };
                (self.record, self.used) = (record, 0);
                self.next_record += 1;
            }
            let count = (length - taken.len()).min(self.record.len() - self.used);
            taken.extend_from_slice(&self.record[self.used..][..count]);
            self.used += count;
        }
        self.hash.update(&taken);
        self.taken += length as u64;
        Ok(Some(taken))
    }

    async fn length(&mut self, kv: &dyn Kv) -> Result<Option<u64>> {
        let bytes = self.take(kv, 8).await?;
        Ok(bytes.map(|bytes| u64::from_le_bytes(bytes.try_into().expect("8 bytes were taken"))))
    }

    async fn header(&mut self, kv: &dyn Kv) -> Result<Option<Opened>> {
        if self.take(kv, MAGIC.len()).await?.is_none_or(|magic| magic != MAGIC) {
            return Ok(None);
        }
        let Some(length) = self.length(kv).await? else { return Ok(None) };
        if length > self.left() {
            return Ok(None);
        }
        let Some(json) = self.take(kv, length as usize).await? else { return Ok(None) };
        let Ok(FirstHeader { identity, progress, tiles, log }) = serde_json::from_slice(&json) else {
            return Ok(None);
        };
        let header = Header { identity, progress, tiles, lines: log.len(), ..Header::default() };
        Ok(Some(Opened { header, log }))
    }
}
