//! The header of a GGUF, read in pieces: `GGUF`, a version, counts, metadata, and where each tensor lies.
//!
//! Nothing is allocated by a count that the file claims before the file has shown to be as long.

use std::collections::{BTreeMap, HashSet};

use super::GgufTensor;
use super::kinds::{self, GgmlType};
use super::value::{Metadata, Number, Numbers, Strings, Value};
use crate::bail;
use crate::error::{Code, Error, Result};
use crate::files::Files;

const MAGIC: &[u8; 4] = b"GGUF";
const VERSIONS: [u32; 2] = [2, 3];
const DEFAULT_ALIGNMENT: u64 = 32;
const ALIGNMENT_KEY: &str = "general.alignment";
const MOST_DIMENSIONS: u32 = 4;

/// What is read at once. A header of a large vocabulary has some ten of these.
const PIECE_BYTES: u64 = 1 << 20;
/// No key, name, token or template is longer.
const MOST_STRING_BYTES: u64 = 16 << 20;
const MOST_NESTING: usize = 8;

const STRING: u32 = 8;
const ARRAY: u32 = 9;

/// The metadata and tensors of one file. The tensors come in the order of the file.
pub(super) struct Header {
    pub(super) metadata: Metadata,
    pub(super) tensors: Vec<GgufTensor>,
}

/// Reads and checks the header of `file`.
///
/// # Errors
///
/// Code `bad-model` naming file and key or tensor when the file is missing, truncated or inconsistent; `unsupported-model`
/// for a tensor of an encoding that is not read here.
pub(super) async fn read_header(files: &dyn Files, file: &str) -> Result<Header> {
    let Some(file_bytes) = files.size(file).await? else {
        bail!(BadModel, "{file} is missing");
    };
    let mut reader = Reader { files, file, file_bytes, piece: Vec::new(), used: 0, next: 0 };
    if reader.left() < 4 || reader.take(4).await? != MAGIC {
        bail!(BadModel, "{file} does not begin with GGUF; it is no GGUF file or its start is damaged");
    }
    let version = reader.u32().await?;
    if VERSIONS.contains(&version.swap_bytes()) {
        bail!(UnsupportedModel, "{file} is a GGUF of big-endian numbers, which is not read");
    }
    if !VERSIONS.contains(&version) {
        bail!(UnsupportedModel, "{file} is of version {version} of GGUF; what is read is version 2 and 3");
    }
    // The least bytes that a tensor and a value take.
    let tensors = reader.count("tensors", 8 + 4 + 8 + 4 + 8).await?;
    let values = reader.count("metadata values", 8 + 4 + 1).await?;
    let metadata = reader.metadata(values).await?;
    let tensors = reader.tensors(tensors).await?;
    let tensors = place_tensors(&metadata, tensors, reader.at(), file_bytes)?;
    Ok(Header { metadata, tensors })
}

/// Reads forwards.
struct Reader<'a> {
    files: &'a dyn Files,
    file: &'a str,
    file_bytes: u64,
    piece: Vec<u8>,
    /// Bytes of the piece that have been taken.
    used: usize,
    /// Where the piece ends in the file.
    next: u64,
}

/// A tensor as the header describes it, before its place has been checked.
struct Described {
    name: String,
    kind: GgmlType,
    shape: Vec<usize>,
    offset: u64,
    len: u64,
}

impl Reader<'_> {
    fn at(&self) -> u64 {
        self.next - (self.piece.len() - self.used) as u64
    }

    fn left(&self) -> u64 {
        self.file_bytes - self.at()
    }

    fn truncated(&self) -> Error {
        let message = format!(
            "{}: the header goes on beyond the file's {} bytes: it is truncated or damaged",
            self.file, self.file_bytes
        );
        Error::new(Code::BadModel, message)
    }

    /// The next `count` bytes.
    async fn take(&mut self, count: u64) -> Result<&[u8]> {
        if count > self.left() {
            return Err(self.truncated());
        }
        let ready = (self.piece.len() - self.used) as u64;
        if ready < count {
            let more = (count - ready).max(PIECE_BYTES).min(self.file_bytes - self.next);
            let read = self.files.read(self.file, self.next, more as usize).await?;
            if read.len() as u64 != more {
                bail!(Io, "{}: {} bytes came where {more} were asked for", self.file, read.len());
            }
            self.piece.drain(..self.used);
            self.used = 0;
            self.piece.extend_from_slice(&read);
            self.next += more;
        }
        let start = self.used;
        self.used += count as usize;
        Ok(&self.piece[start..self.used])
    }

    async fn u32(&mut self) -> Result<u32> {
        let bytes = self.take(4).await?;
        Ok(u32::from_le_bytes(bytes.try_into().expect("4 bytes were taken")))
    }

    async fn u64(&mut self) -> Result<u64> {
        let bytes = self.take(8).await?;
        Ok(u64::from_le_bytes(bytes.try_into().expect("8 bytes were taken")))
    }

    /// How many of something follow, each of which takes some bytes at the least.
    async fn count(&mut self, what: &str, least_bytes: u64) -> Result<u64> {
        let count = self.u64().await?;
        if count > self.left() / least_bytes {
            bail!(
                BadModel,
                "{}: {count} {what} are claimed, more than the file's {} bytes hold",
                self.file,
                self.file_bytes
            );
        }
        Ok(count)
    }

    /// The next string, and what it is for messages.
    async fn string(&mut self, what: &str) -> Result<&str> {
        let file = self.file;
        let bytes = self.u64().await?;
        if bytes > MOST_STRING_BYTES || bytes > self.left() {
            bail!(
                BadModel,
                "{file}: {what} claims {bytes} bytes, where {} are left and {MOST_STRING_BYTES} are read at most",
                self.left()
            );
        }
        std::str::from_utf8(self.take(bytes).await?)
            .map_err(|_| Error::new(Code::BadModel, format!("{file}: {what} is not UTF-8")))
    }

    async fn metadata(&mut self, count: u64) -> Result<Metadata> {
        let mut values = BTreeMap::new();
        for number in 0..count {
            let key = self.string(&format!("the key of metadata value {number}")).await?.to_owned();
            let value = self.value(&key).await?;
            if values.contains_key(&key) {
                bail!(BadModel, "{}: the key {key} comes twice", self.file);
            }
            values.insert(key, value);
        }
        Ok(Metadata { file: self.file.to_owned(), values })
    }

    async fn value(&mut self, key: &str) -> Result<Value> {
        match self.u32().await? {
            STRING => Ok(Value::String(self.string(key).await?.to_owned())),
            ARRAY => self.array(key).await,
            kind => {
                let number = self.number(key, kind)?;
                let value = number.read(self.take(number.bytes() as u64).await?);
                value.ok_or_else(|| self.bad(key, "is a boolean that is neither 0 nor 1".to_owned()))
            }
        }
    }

    fn number(&self, key: &str, kind: u32) -> Result<Number> {
        Number::numbered(kind).ok_or_else(|| self.bad(key, format!("has the unknown type {kind}")))
    }

    fn bad(&self, key: &str, what: String) -> Error {
        Error::new(Code::BadModel, format!("{}: {key} {what}", self.file))
    }

    async fn array(&mut self, key: &str) -> Result<Value> {
        let kind = self.u32().await?;
        match kind {
            STRING => {
                let count = self.count(&format!("strings of {key}"), 8).await?;
                let mut strings = Strings::default();
                for _ in 0..count {
                    let pushed = strings.push(self.string(key).await?);
                    pushed.ok_or_else(|| self.bad(key, "has more bytes than are read".to_owned()))?;
                }
                Ok(Value::Strings(strings))
            }
            ARRAY => {
                self.skip_arrays(key).await?;
                Ok(Value::Nested)
            }
            kind => {
                let kind = self.number(key, kind)?;
                let count = self.count(&format!("values of {key}"), kind.bytes() as u64).await?;
                let mut left = count * kind.bytes() as u64;
                let mut bytes = Vec::new();
                while left > 0 {
                    let piece = left.min(PIECE_BYTES);
                    bytes.extend_from_slice(self.take(piece).await?);
                    left -= piece;
                }
                Ok(Value::Numbers(Numbers { kind, bytes }))
            }
        }
    }

    /// Passes over an array of arrays whose type has been read.
    async fn skip_arrays(&mut self, key: &str) -> Result<()> {
        const LEAST_BYTES: u64 = 4 + 8;
        let what = format!("arrays of {key}");
        // How many arrays are still to come on each level.
        let mut levels = vec![self.count(&what, LEAST_BYTES).await?];
        while let Some(left) = levels.last_mut() {
            if *left == 0 {
                levels.pop();
                continue;
            }
            *left -= 1;
            match self.u32().await? {
                STRING => {
                    for _ in 0..self.count(&what, 8).await? {
                        self.string(key).await?;
                    }
                }
                ARRAY if levels.len() == MOST_NESTING => {
                    return Err(self.bad(key, format!("is nested more than {MOST_NESTING} deep")));
                }
                ARRAY => levels.push(self.count(&what, LEAST_BYTES).await?),
                kind => {
                    let bytes = self.number(key, kind)?.bytes() as u64;
                    let mut left = self.count(&what, bytes).await? * bytes;
                    while left > 0 {
                        let piece = left.min(PIECE_BYTES);
                        self.take(piece).await?;
                        left -= piece;
                    }
                }
            }
        }
        Ok(())
    }

    async fn tensors(&mut self, count: u64) -> Result<Vec<Described>> {
        let mut names = HashSet::new();
        let mut tensors = Vec::new();
        for number in 0..count {
            let name = self.string(&format!("the name of tensor {number}")).await?.to_owned();
            if !names.insert(name.clone()) {
                bail!(BadModel, "{}: tensor {name} comes twice", self.file);
            }
            let tensor = self.tensor(name).await?;
            tensors.push(tensor);
        }
        Ok(tensors)
    }

    async fn tensor(&mut self, name: String) -> Result<Described> {
        let file = self.file;
        let bad = |what: String| Error::new(Code::BadModel, format!("{file}: tensor {name}: {what}"));
        let dimensions = self.u32().await?;
        if !(1..=MOST_DIMENSIONS).contains(&dimensions) {
            return Err(bad(format!("it has {dimensions} dimensions, not 1 to {MOST_DIMENSIONS}")));
        }
        // The file has the length of a row first.
        let mut sizes = Vec::new();
        for _ in 0..dimensions {
            sizes.push(self.u64().await?);
        }
        let number = self.u32().await?;
        let offset = self.u64().await?;
        let Some(kind) = GgmlType::numbered(number) else {
            let Some(other) = kinds::other(number) else {
                return Err(bad(format!("it has the unknown type {number}")));
            };
            let read: Vec<&str> = GgmlType::ALL.iter().map(|kind| kind.name()).collect();
            bail!(
                UnsupportedModel,
                "{file}: tensor {name} is {other}, which is not read; what is, is {}",
                read.join(", ")
            );
        };
        let fits = |product: usize, &size: &u64| match size {
            0 => None,
            size => product.checked_mul(usize::try_from(size).ok()?),
        };
        if sizes.iter().try_fold(1_usize, fits).is_none() {
            return Err(bad(format!("its sizes {sizes:?} are not all above 0 and of a product that fits")));
        }
        let shape: Vec<usize> = sizes.iter().rev().map(|&size| size as usize).collect();
        let row = *shape.last().expect("there is a dimension");
        let Some(row_bytes) = kind.row_bytes(row) else {
            return Err(bad(format!(
                "its rows of {row} values are no whole blocks of {kind}, which have {}",
                kind.block_values()
            )));
        };
        let rows = shape[..shape.len() - 1].iter().product::<usize>() as u64;
        let Some(len) = rows.checked_mul(row_bytes) else {
            return Err(bad(format!("its {rows} rows of {row_bytes} bytes do not fit")));
        };
        Ok(Described { name, kind, shape, offset, len })
    }
}

/// Tensors with their places in the file, which begin at the first aligned byte behind the header.
fn place_tensors(
    metadata: &Metadata,
    described: Vec<Described>,
    header_bytes: u64,
    file_bytes: u64,
) -> Result<Vec<GgufTensor>> {
    let file = metadata.file();
    let alignment = metadata.integer(ALIGNMENT_KEY)?.unwrap_or(DEFAULT_ALIGNMENT);
    if !alignment.is_power_of_two() {
        return Err(metadata.bad(ALIGNMENT_KEY, format_args!("is {alignment}, which is no power of two")));
    }
    let Some(data_start) = header_bytes.checked_next_multiple_of(alignment) else {
        return Err(
            metadata.bad(ALIGNMENT_KEY, format_args!("is {alignment}, which is more than a file holds"))
        );
    };
    let mut tensors = Vec::with_capacity(described.len());
    for Described { name, kind, shape, offset, len } in described {
        let bad = |what: String| Error::new(Code::BadModel, format!("{file}: tensor {name}: {what}"));
        if offset % alignment != 0 {
            return Err(bad(format!("its offset {offset} is no multiple of the alignment {alignment}")));
        }
        let start = data_start.checked_add(offset);
        let end = start.and_then(|start| start.checked_add(len));
        let (Some(start), Some(_)) = (start, end.filter(|end| *end <= file_bytes)) else {
            return Err(bad(format!(
                "its {len} bytes from offset {offset} on go beyond the file's {file_bytes} bytes: it is truncated or \
                 damaged"
            )));
        };
        tensors.push(GgufTensor { name, kind, shape, file: file.to_owned(), start, len });
    }
    let mut order: Vec<&GgufTensor> = tensors.iter().collect();
    order.sort_by_key(|tensor| tensor.start);
    for pair in order.windows(2) {
        if pair[0].start + pair[0].len > pair[1].start {
            bail!(BadModel, "{file}: tensor {} overlaps tensor {}", pair[1].name, pair[0].name);
        }
    }
    Ok(tensors)
}
