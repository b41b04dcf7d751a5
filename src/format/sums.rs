//! What tells the weights of one model from those of another, added up while they are read.

use std::cell::RefCell;

use xxhash_rust::xxh3::Xxh3;

use super::TensorInfo;
use crate::error::Result;
use crate::files::{Files, PIECE_BYTES};

/// Files that hash each of some tensors while it is read.
pub struct TensorSums<'a> {
    files: &'a dyn Files,
    /// By file and place.
    tensors: RefCell<Vec<Hashed>>,
}

struct Hashed {
    info: TensorInfo,
    /// Bytes from the tensor's start that are in the hash.
    done: u64,
    hash: Xxh3,
}

impl Hashed {
    /// Takes up what of these bytes comes next in the tensor.
    fn take(&mut self, start: u64, bytes: &[u8]) {
        let (next, end) = (self.info.start + self.done, self.info.start + self.info.len);
        let until = end.min(start + bytes.len() as u64);
        if start <= next && next < until {
            self.hash.update(&bytes[(next - start) as usize..(until - start) as usize]);
            self.done += until - next;
        }
    }
}

impl<'a> TensorSums<'a> {
    /// Files with tensors by the model's name of them, which may not be the file's.
    pub fn new(files: &'a dyn Files, tensors: Vec<(String, TensorInfo)>) -> Self {
        let begun = |(name, info): (String, TensorInfo)| {
            let mut hash = Xxh3::new();
            hash.update(format!("{name}\n{}\n{:?}\n", info.encoding, info.shape).as_bytes());
            Hashed { info, done: 0, hash }
        };
        let mut tensors: Vec<Hashed> = tensors.into_iter().map(begun).collect();
        tensors.sort_by(|a, b| (&a.info.file, a.info.start).cmp(&(&b.info.file, b.info.start)));
        TensorSums { files, tensors: RefCell::new(tensors) }
    }

    /// The sum of XXH3-128 of each tensor's name, dtype, shape and bytes. What was not read, or not in order,
    /// is read for it.
    pub async fn sum(&self) -> Result<u128> {
        let unread =
            |tensor: &Hashed| (tensor.done < tensor.info.len).then(|| (tensor.info.clone(), tensor.done));
        let unread: Vec<(TensorInfo, u64)> = self.tensors.borrow().iter().filter_map(unread).collect();
        for (info, mut done) in unread {
            while done < info.len {
                let count = (PIECE_BYTES as u64).min(info.len - done);
                self.read(&info.file, info.start + done, count as usize).await?;
                done += count;
            }
        }
        let tensors = self.tensors.borrow();
        Ok(tensors.iter().fold(0, |sum: u128, tensor| sum.wrapping_add(tensor.hash.digest128())))
    }
}

#[async_trait::async_trait(?Send)]
impl Files for TensorSums<'_> {
    async fn size(&self, name: &str) -> Result<Option<u64>> {
        self.files.size(name).await
    }

    fn place(&self) -> Option<String> {
        self.files.place()
    }

    fn gguf(&self) -> Option<String> {
        self.files.gguf()
    }

    async fn read(&self, name: &str, start: u64, len: usize) -> Result<Vec<u8>> {
        let bytes = self.files.read(name, start, len).await?;
        let mut tensors = self.tensors.borrow_mut();
        let end = start + bytes.len() as u64;
        let before = |tensor: &Hashed| {
            (tensor.info.file.as_str(), tensor.info.start + tensor.info.len) <= (name, start)
        };
        let first = tensors.partition_point(before);
        for tensor in &mut tensors[first..] {
            if tensor.info.file != name || tensor.info.start >= end {
                break;
            }
            tensor.take(start, &bytes);
        }
        Ok(bytes)
    }
}
