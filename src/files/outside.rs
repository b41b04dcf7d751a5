//! Bytes beside the WebAssembly heap.

use std::ops::Range;

use super::PIECE_BYTES;
#[cfg(target_arch = "wasm32")]
use crate::error::{Code, Error, Result};

#[cfg(target_arch = "wasm32")]
type Piece = js_sys::Uint8Array;
#[cfg(not(target_arch = "wasm32"))]
type Piece = Vec<u8>;

/// Many bytes, held in pieces. In a browser they lie on the JavaScript heap: that of WebAssembly ends at 4 GB and
/// never shrinks again, so nothing large may pass it whole. Natively they are plain memory.
#[derive(Clone, Default)]
pub struct Outside {
    pieces: Vec<Piece>,
    /// Where each piece ends.
    ends: Vec<usize>,
}

impl Outside {
    /// Appends bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        for piece in bytes.chunks(PIECE_BYTES) {
            self.ends.push(self.len() + piece.len());
            self.pieces.push(Piece::from(piece));
        }
    }

    pub fn len(&self) -> usize {
        self.ends.last().copied().unwrap_or(0)
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Some of the bytes, which must be there.
    pub fn read(&self, range: Range<usize>) -> Vec<u8> {
        assert!(range.end <= self.len(), "bytes to {} of {}", range.end, self.len());
        let mut bytes = Vec::with_capacity(range.len());
        let mut at = range.start;
        while at < range.end {
            let index = self.ends.partition_point(|&end| end <= at);
            let start = if index == 0 { 0 } else { self.ends[index - 1] };
            let until = range.end.min(self.ends[index]);
            copy_of(&self.pieces[index], at - start..until - start, &mut bytes);
            at = until;
        }
        bytes
    }

    /// All bytes, a piece at a time.
    pub fn pieces(&self) -> impl Iterator<Item = Vec<u8>> {
        (0..self.len())
            .step_by(PIECE_BYTES)
            .map(|first| self.read(first..self.len().min(first + PIECE_BYTES)))
    }

    /// All bytes on the heap, where they are known to be few.
    pub fn to_vec(&self) -> Vec<u8> {
        self.read(0..self.len())
    }

    /// All bytes as JavaScript has them. Code `out-of-memory` where the browser has no array of that size.
    #[cfg(target_arch = "wasm32")]
    pub fn to_js(&self) -> Result<js_sys::Uint8Array> {
        use wasm_bindgen::{JsCast, JsValue};
        let bytes = self.len();
        let length = js_sys::Array::of1(&JsValue::from(bytes as f64));
        let made = js_sys::Reflect::get(&js_sys::global(), &"Uint8Array".into())
            .and_then(|kind| js_sys::Reflect::construct(kind.unchecked_ref::<js_sys::Function>(), &length));
        let Ok(all) = made.map(JsCast::unchecked_into::<js_sys::Uint8Array>) else {
            let message = format!(
                "the browser has no room for {bytes} bytes in one piece; close other tabs and save again, or train with a \
                 lower lora.r"
            );
            return Err(Error::new(Code::OutOfMemory, message));
        };
        let mut at = 0;
        for piece in &self.pieces {
            all.set(piece, at);
            at += piece.length();
        }
        Ok(all)
    }
}

#[cfg(target_arch = "wasm32")]
fn copy_of(piece: &Piece, range: Range<usize>, to: &mut Vec<u8>) {
    to.extend(piece.subarray(range.start as u32, range.end as u32).to_vec());
}

#[cfg(not(target_arch = "wasm32"))]
fn copy_of(piece: &Piece, range: Range<usize>, to: &mut Vec<u8>) {
    to.extend_from_slice(&piece[range]);
}

impl PartialEq for Outside {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && self.pieces().eq(other.pieces())
    }
}

impl std::fmt::Debug for Outside {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} bytes", self.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_range_is_what_was_pushed() {
        let mut outside = Outside::default();
        let all: Vec<u8> = (0..100).collect();
        for piece in [&all[..1], &[], &all[1..40], &all[40..]] {
            outside.push(piece);
        }
        assert_eq!(outside.to_vec(), all);
        for range in [0..0, 0..1, 0..2, 1..40, 39..41, 3..97, 99..100] {
            assert_eq!(outside.read(range.clone()), all[range]);
        }
        outside.push(&vec![7; PIECE_BYTES + 3]);
        let lengths: Vec<usize> = outside.pieces().map(|piece| piece.len()).collect();
        assert_eq!(lengths, [PIECE_BYTES, 103]);
    }
}
