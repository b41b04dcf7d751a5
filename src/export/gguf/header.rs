//! The header of a GGUF: keys with their values, then what tensors there are.
//! See <https://github.com/ggml-org/ggml/blob/master/docs/gguf.md>.

use crate::format::gguf::GgmlType;

const VERSION: u32 = 3;
/// Every tensor begins at a multiple of it, `general.alignment`'s default.
pub(super) const ALIGNMENT: u64 = 32;

// Numbers of the kinds of values.
const U32: u32 = 4;
const I32: u32 = 5;
const F32: u32 = 6;
const BOOL: u32 = 7;
const STRING: u32 = 8;
const ARRAY: u32 = 9;

/// Keys with their values, as they lie in the file.
#[derive(Default)]
pub(super) struct Metadata {
    bytes: Vec<u8>,
    count: u64,
}

/// What a file says of a tensor.
pub(super) struct TensorEntry<'a> {
    pub name: &'a str,
    /// Row-major, rows first.
    pub shape: &'a [usize],
    pub kind: GgmlType,
}

impl TensorEntry<'_> {
    /// Bytes of the values.
    pub fn bytes(&self) -> u64 {
        let (row, rows) =
            self.shape.split_last().map_or((1, 1), |(row, rest)| (*row, rest.iter().product::<usize>()));
        let blocks = rows as u64 * (row / self.kind.block_values()) as u64;
        blocks * self.kind.block_bytes() as u64
    }
}

impl Metadata {
    pub fn u32(&mut self, key: &str, value: usize) {
        self.key(key, U32);
        self.bytes.extend((value as u32).to_le_bytes());
    }

    pub fn f32(&mut self, key: &str, value: f32) {
        self.key(key, F32);
        self.bytes.extend(value.to_le_bytes());
    }

    pub fn bool(&mut self, key: &str, value: bool) {
        self.key(key, BOOL);
        self.bytes.push(u8::from(value));
    }

    pub fn string(&mut self, key: &str, value: &str) {
        self.key(key, STRING);
        string(&mut self.bytes, value);
    }

    pub fn strings<S: AsRef<str>>(&mut self, key: &str, values: &[S]) {
        self.array(key, STRING, values.len());
        values.iter().for_each(|value| string(&mut self.bytes, value.as_ref()));
    }

    pub fn f32s(&mut self, key: &str, values: &[f32]) {
        self.array(key, F32, values.len());
        self.bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
    }

    pub fn i32s(&mut self, key: &str, values: &[i32]) {
        self.array(key, I32, values.len());
        self.bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
    }

    fn key(&mut self, key: &str, kind: u32) {
        string(&mut self.bytes, key);
        self.bytes.extend(kind.to_le_bytes());
        self.count += 1;
    }

    fn array(&mut self, key: &str, kind: u32, len: usize) {
        self.key(key, ARRAY);
        self.bytes.extend(kind.to_le_bytes());
        self.bytes.extend((len as u64).to_le_bytes());
    }

    /// The header of a file with these values and `tensors`, up to where the first of them begins.
    pub fn header(self, tensors: &[TensorEntry]) -> Vec<u8> {
        let mut bytes = b"GGUF".to_vec();
        bytes.extend(VERSION.to_le_bytes());
        bytes.extend((tensors.len() as u64).to_le_bytes());
        bytes.extend(self.count.to_le_bytes());
        bytes.extend(self.bytes);
        let mut offset: u64 = 0;
        for tensor in tensors {
            string(&mut bytes, tensor.name);
            bytes.extend((tensor.shape.len() as u32).to_le_bytes());
            bytes.extend(tensor.shape.iter().rev().flat_map(|&size| (size as u64).to_le_bytes()));
            bytes.extend(tensor.kind.number().to_le_bytes());
            bytes.extend(offset.to_le_bytes());
            offset += tensor.bytes().next_multiple_of(ALIGNMENT);
        }
        bytes.resize(bytes.len().next_multiple_of(ALIGNMENT as usize), 0);
        bytes
    }
}

fn string(bytes: &mut Vec<u8>, text: &str) {
    bytes.extend((text.len() as u64).to_le_bytes());
    bytes.extend(text.as_bytes());
}
