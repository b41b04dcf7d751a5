//! A checkpoint: a header and the values of the run, piece by piece.
//!
//! Record 0 is the header, the records from 1 on hold up to [`PIECE_BYTES`] of values each, of one tensor. Nothing
//! larger than a piece is on the host at once.

use xxhash_rust::xxh3::xxh3_128;

use super::{Header, PIECE_BYTES, State, VERSION, first, later};
use crate::bail;
use crate::data::kv::{Key, Kv, Write};
use crate::error::Result;

/// What every header begins with; the number of the form and a line end follow.
const MAGIC: &str = "tabtune checkpoint ";
/// The digits of a hash.
const HASH_DIGITS: usize = 32;

/// Is given the values of each tensor in order: its number, the first value, and values.
pub(super) type Sink<'a> = &'a mut dyn FnMut(usize, u64, &[u8]);

/// Where a checkpoint lies.
pub(super) struct Place<'a> {
    pub run: &'a str,
    pub first: Key,
    /// Bytes of all its records.
    pub bytes: u64,
}

impl Place<'_> {
    pub fn record(&self, number: u32) -> Key {
        Key { number, ..self.first.clone() }
    }
}

/// The pieces that a tensor of so many values is cut into: the first value of each and how many.
fn pieces(values: u64) -> impl Iterator<Item = (u64, usize)> {
    const VALUES: usize = PIECE_BYTES / 4;
    (0..values).step_by(VALUES).map(move |first| (first, (values - first).min(VALUES as u64) as usize))
}

/// What became of values on their way to the store.
pub(super) enum Written {
    /// The header's record, and the bytes of all others.
    Whole(Vec<u8>, u64),
    /// The store took not all of them.
    Refused(crate::error::Error),
}

/// Writes the values of `state`. The header, which knows them then, is left to write.
///
/// # Errors
///
/// What reading `state` fails with; `not-finite`.
pub(super) async fn write(
    kv: &dyn Kv,
    place: &Place<'_>,
    header: &mut Header,
    state: &mut impl State,
) -> Result<Written> {
    header.tensors = state.tensors();
    header.pieces.clear();
    let mut bytes = 0;
    let mut number = 0;
    for (index, tensor) in header.tensors.iter().enumerate() {
        for (first, count) in pieces(tensor.values) {
            let piece = state.read(index, first, count).await?;
            if !are_finite(&piece) {
                bail!(NotFinite, "the adapter is not finite after step {}", header.progress.step);
            }
            header.pieces.push(hash(&piece));
            bytes += piece.len() as u64;
            number += 1;
            if let Err(error) = kv.write(vec![Write::Put(place.record(number), piece)]).await {
                return Ok(Written::Refused(error));
            }
        }
    }
    let record = record_of(header);
    bytes += record.len() as u64;
    Ok(Written::Whole(record, bytes))
}

fn record_of(header: &Header) -> Vec<u8> {
    let json = serde_json::to_string(header).expect("a header is plain data");
    format!("{MAGIC}{VERSION}\n{}{json}", hash(json.as_bytes())).into_bytes()
}

/// The first record of a checkpoint that came from outside with the number that the one it starts from has here, which is
/// `start`; as it is where it starts from none, or where it cannot be read.
pub(super) fn renumbered(record: &[u8], start: Option<u32>) -> Vec<u8> {
    let header =
        version_of(record).filter(|(version, _)| *version == VERSION).and_then(|(_, rest)| header_of(rest));
    match header {
        Some(header) if header.start.is_some() => record_of(&Header { start, ..header }),
        _ => record.to_vec(),
    }
}

fn hash(bytes: &[u8]) -> String {
    format!("{:032x}", xxh3_128(bytes))
}

/// Whether no value is NaN or infinite: one that is has all bits of its exponent set.
fn are_finite(values: &[u8]) -> bool {
    const EXPONENT: u32 = 0x7f80_0000;
    values.as_chunks().0.iter().all(|&value| u32::from_le_bytes(value) & EXPONENT != EXPONENT)
}

/// A checkpoint whose first record was read.
pub(super) enum Opened {
    First(first::Opened),
    Now(Header),
}

/// The header, in whatever form; `None` where it is damaged or gone.
///
/// # Errors
///
/// `bad-state` for a form that this build does not know.
pub(super) async fn open(kv: &dyn Kv, place: &Place<'_>) -> Result<Option<Opened>> {
    let Some(record) = kv.get_one(place.record(0)).await? else { return Ok(None) };
    let Some((version, rest)) = version_of(&record) else { return Ok(None) };
    Ok(match version {
        1 => first::open(kv, place).await?.map(Opened::First),
        VERSION => header_of(rest).map(Opened::Now),
        version => return Err(later(place.run, version)),
    })
}

/// The number of the form that a checkpoint begins with, and what follows it.
fn version_of(record: &[u8]) -> Option<(u32, &[u8])> {
    let rest = record.strip_prefix(MAGIC.as_bytes())?;
    let end = rest.iter().position(|&byte| byte == b'\n')?;
    let version = str::from_utf8(&rest[..end]).ok()?.parse().ok()?;
    Some((version, &rest[end + 1..])).filter(|(version, _)| *version > 0)
}

fn header_of(rest: &[u8]) -> Option<Header> {
    let (said, json) = rest.split_at_checked(HASH_DIGITS)?;
    (said == hash(json).as_bytes()).then(|| serde_json::from_slice(json).ok()).flatten()
}

impl Opened {
    /// Reads all values; false where some are damaged or gone. Tensors of the first form are told of in the
    /// header then.
    pub async fn read(&mut self, kv: &dyn Kv, place: &Place<'_>, sink: Sink<'_>) -> Result<bool> {
        let header = match self {
            Opened::First(opened) => return opened.read(kv, place, sink).await,
            Opened::Now(header) => header,
        };
        let mut hashes = header.pieces.iter();
        let mut number = 0;
        for (index, tensor) in header.tensors.iter().enumerate() {
            for (first, count) in pieces(tensor.values) {
                number += 1;
                let piece = kv.get_one(place.record(number)).await?;
                let Some(piece) = piece.filter(|piece| piece.len() == 4 * count) else { return Ok(false) };
                if hashes.next() != Some(&hash(&piece)) {
                    return Ok(false);
                }
                sink(index, first, &piece);
            }
        }
        Ok(true)
    }

    pub fn header(&self) -> &Header {
        match self {
            Opened::First(opened) => &opened.header,
            Opened::Now(header) => header,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// LoRA of rank 256 on all linear layers of a model of seven billion parameters.
    #[test]
    fn what_is_saved_of_the_largest_run_is_never_more_than_a_piece_at_once() {
        let layer = 4 * (4096 + 4096) + 3 * (4096 + 11008);
        let values = 32 * 256 * layer as u64;
        let of_one_tensor = pieces(values);
        let mut most = 0;
        let mut sum = 0;
        let mut count = 0;
        for (first, values) in of_one_tensor {
            assert_eq!(first, sum);
            (sum, most, count) = (sum + values as u64, most.max(4 * values), count + 1);
        }
        assert_eq!(sum, values);
        assert!(most <= PIECE_BYTES, "{most} bytes");
        // The header holds a hash for each piece of parameters and both moments.
        let hashes = 3 * count * (HASH_DIGITS + 3);
        assert!(hashes < 100_000, "{hashes} bytes of hashes");
    }
}
