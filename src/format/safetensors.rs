//! The header of a safetensors file: 8 bytes of little-endian length, that many bytes of JSON, data.
//! See <https://huggingface.co/docs/safetensors>.
//!
//! The `safetensors` crate lends its [`Dtype`] and writes files elsewhere in tabtune, but its reader
//! wants the whole file in memory, counts bytes in `usize` (32 bits in WebAssembly), lets the last of
//! two tensors of one name win, and doesn't say which tensor is wrong; so the header is read here.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _, IgnoredAny, MapAccess, Visitor};

use super::encoding::Encoding;
use crate::bail;
use crate::error::{Code, Error, Result};
use crate::files::Files;

pub use ::safetensors::Dtype;

/// The longest header that is read. A 70B Llama model's takes less than 0.2 MB.
const MAX_HEADER_BYTES: u64 = 16 << 20;

/// Where one tensor lies.
#[derive(Clone, Debug, PartialEq)]
pub struct TensorInfo {
    pub name: String,
    pub encoding: Encoding,
    /// Row-major dimensions; empty for a scalar.
    pub shape: Vec<usize>,
    pub file: String,
    /// Of the first byte, from the start of the file.
    pub start: u64,
    /// Length in bytes; equals that of `shape` and `encoding`.
    pub len: u64,
    /// How llama.cpp's converter changed what the model's authors have.
    pub converted: Converted,
}

/// What llama.cpp's converter does to a tensor; reading undoes it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Converted {
    /// Rows of a head, where those of its halves are interleaved.
    pub head_dim: Option<usize>,
    /// Whether one was added to the values.
    pub plus_one: bool,
}

impl TensorInfo {
    /// The number of elements.
    pub fn elements(&self) -> usize {
        self.shape.iter().product()
    }

    /// The first dimension, 1 for a scalar.
    pub fn rows(&self) -> usize {
        self.shape.first().copied().unwrap_or(1)
    }

    /// Elements in a row: the product of all dimensions but the first.
    pub fn row_elements(&self) -> usize {
        self.shape.iter().skip(1).product()
    }

    /// How many rows fit in `bytes` as they are stored, at least one.
    pub fn rows_in(&self, bytes: usize) -> usize {
        let row_bytes = self.len / self.rows().max(1) as u64;
        (bytes as u64 / row_bytes.max(1)).max(1) as usize
    }

    /// The dtype of values that are not quantised.
    pub fn dtype(&self) -> Option<Dtype> {
        self.encoding.dtype()
    }

    /// The tensor with those beside it that say what its codes are worth.
    pub fn parts(&self) -> Vec<&TensorInfo> {
        let mut parts = vec![self];
        match &self.encoding {
            Encoding::Bits4(bits) => parts.extend(bits.tensors()),
            Encoding::Int8(absmax) => parts.push(absmax),
            Encoding::Plain(_) | Encoding::Ggml(_) => {}
        }
        parts
    }

    /// An error of code `bad-model` that names the file and the tensor.
    pub(super) fn bad(&self, what: impl fmt::Display) -> Error {
        Error::new(Code::BadModel, format!("{}: tensor {}: {what}", self.file, self.name))
    }

    /// The same of code `unsupported-model`.
    pub(super) fn unsupported(&self, what: impl fmt::Display) -> Error {
        Error::new(Code::UnsupportedModel, format!("{}: tensor {}: {what}", self.file, self.name))
    }
}

/// Reads and checks the header of `file`; the tensors come in the order of their data.
///
/// # Errors
///
/// Code `bad-model` when the file is missing or truncated, or when the header is no JSON, names a
/// tensor twice, or gives offsets that overlap, leave gaps, leave the file, or disagree with shape
/// and dtype.
pub async fn read_header(files: &dyn Files, file: &str) -> Result<Vec<TensorInfo>> {
    let Some(file_bytes) = files.size(file).await? else {
        bail!(BadModel, "{file} is missing");
    };
    if file_bytes < 8 {
        bail!(BadModel, "{file} is truncated: {file_bytes} bytes are too few for a safetensors file");
    }
    let length = files.read(file, 0, 8).await?;
    let header_bytes = u64::from_le_bytes(length[..8].try_into().expect("8 bytes were read"));
    if header_bytes > MAX_HEADER_BYTES {
        bail!(
            BadModel,
            "{file}: the header claims {header_bytes} bytes, more than the {MAX_HEADER_BYTES} that are read; \
             this is no safetensors file or its header is damaged"
        );
    }
    if header_bytes > file_bytes - 8 {
        bail!(BadModel, "{file}: the header claims {header_bytes} bytes, but the file has {file_bytes}");
    }
    let header = files.read(file, 8, header_bytes as usize).await?;
    parse_header(file, &header, file_bytes)
}

#[derive(Deserialize)]
struct RawTensor {
    dtype: String,
    shape: Vec<u64>,
    data_offsets: (u64, u64),
}

/// The entries of the header but the free text under `__metadata__`. They are read as what they must be, because a
/// value of any kind would take many times its text.
struct RawHeader(BTreeMap<String, RawTensor>);

impl<'de> Deserialize<'de> for RawHeader {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct HeaderVisitor;

        impl<'de> Visitor<'de> for HeaderVisitor {
            type Value = RawHeader;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<RawHeader, A::Error> {
                let mut entries = BTreeMap::new();
                let mut has_metadata = false;
                while let Some(name) = map.next_key::<String>()? {
                    let is_metadata = name == "__metadata__";
                    if entries.contains_key(&name) || is_metadata && has_metadata {
                        return Err(A::Error::custom(format!("{name} comes twice")));
                    }
                    if is_metadata {
                        has_metadata = true;
                        map.next_value::<IgnoredAny>()?;
                        continue;
                    }
                    let tensor = map.next_value().map_err(|error| {
                        A::Error::custom(format!(
                            "tensor {name}: dtype, shape and data_offsets are not all there and right: {error}"
                        ))
                    })?;
                    entries.insert(name, tensor);
                }
                Ok(RawHeader(entries))
            }
        }

        deserializer.deserialize_map(HeaderVisitor)
    }
}

fn parse_header(file: &str, header: &[u8], file_bytes: u64) -> Result<Vec<TensorInfo>> {
    let RawHeader(entries) = serde_json::from_slice(header)
        .map_err(|error| Error::new(Code::BadModel, format!("{file}: bad header: {error}")))?;
    let data_start = 8 + header.len() as u64;
    let data_bytes = file_bytes - data_start;

    let mut tensors = Vec::with_capacity(entries.len());
    for (name, raw) in entries {
        tensors.push(check_tensor(file, name, raw, data_start)?);
    }

    // The format wants every byte of the data to belong to exactly one tensor.
    tensors.sort_by_key(|tensor| (tensor.start, tensor.len));
    let mut end = data_start;
    for tensor in &tensors {
        if tensor.start < end {
            return Err(tensor.bad("its data_offsets overlap those of another tensor"));
        }
        if tensor.start > end {
            return Err(tensor.bad(format!("its data_offsets leave a gap of {} bytes", tensor.start - end)));
        }
        end += tensor.len;
        if end > file_bytes {
            let needed = end - data_start;
            return Err(tensor.bad(format!(
                "its data ends at byte {needed}, but the file holds {data_bytes} bytes of data: it is truncated"
            )));
        }
    }
    if end < file_bytes {
        bail!(BadModel, "{file}: {} bytes at the end belong to no tensor", file_bytes - end);
    }
    Ok(tensors)
}

fn check_tensor(file: &str, name: String, raw: RawTensor, data_start: u64) -> Result<TensorInfo> {
    let bad = |what: String| Error::new(Code::BadModel, format!("{file}: tensor {name}: {what}"));
    let (begin, end) = raw.data_offsets;
    if begin > end {
        return Err(bad(format!("its data_offsets [{begin}, {end}] run backwards")));
    }
    let start = data_start.checked_add(begin).filter(|_| data_start.checked_add(end).is_some());
    let Some(start) = start else {
        return Err(bad(format!("its data_offsets [{begin}, {end}] are out of range")));
    };
    let dtype = serde_json::from_value::<Dtype>(raw.dtype.clone().into())
        .map_err(|_| bad(format!("unknown dtype {:?}", raw.dtype)))?;
    // Zero dimensions count as one here, so that any product of some of the dimensions fits too.
    let fits = raw
        .shape
        .iter()
        .try_fold(1_usize, |product, &dim| product.checked_mul(usize::try_from(dim).ok()?.max(1)));
    if fits.is_none() {
        return Err(bad(format!("shape {:?} is too large", raw.shape)));
    }
    let bits = raw.shape.iter().product::<u64>().checked_mul(dtype.bitsize() as u64);
    if bits != (end - begin).checked_mul(8) || bits.is_none() {
        let shape = &raw.shape;
        return Err(bad(format!(
            "{dtype} {shape:?} does not take the {} bytes of its data_offsets",
            end - begin
        )));
    }
    let shape = raw.shape.iter().map(|&dim| dim as usize).collect();
    let (encoding, converted) = (Encoding::Plain(dtype), Converted::default());
    Ok(TensorInfo { name, encoding, shape, file: file.to_owned(), start, len: end - begin, converted })
}

/// A JSON object in which no key comes twice.
pub(super) struct UniqueMap<V>(pub BTreeMap<String, V>);

impl<'de, V: Deserialize<'de>> Deserialize<'de> for UniqueMap<V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct UniqueVisitor<V>(PhantomData<V>);

        impl<'de, V: Deserialize<'de>> Visitor<'de> for UniqueVisitor<V> {
            type Value = UniqueMap<V>;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<Self::Value, A::Error> {
                let mut entries = BTreeMap::new();
                while let Some(key) = map.next_key::<String>()? {
                    if entries.contains_key(&key) {
                        return Err(A::Error::custom(format!("{key} comes twice")));
                    }
                    let value = map.next_value()?;
                    entries.insert(key, value);
                }
                Ok(UniqueMap(entries))
            }
        }

        deserializer.deserialize_map(UniqueVisitor(PhantomData))
    }
}
