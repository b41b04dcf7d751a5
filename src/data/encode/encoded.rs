//! A row as it is kept: its tokens, and which of them are labels.

use crate::bail;
use crate::error::Result;

/// A row's tokens, and which of them the loss counts as labels.
///
/// The model predicts token t + 1 at position t, so the first token is never a target, labelled or not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Encoded {
    pub ids: Vec<u32>,
    /// As long as `ids`.
    pub labelled: Vec<bool>,
}

impl Encoded {
    /// How many tokens the loss of this row runs over.
    pub fn targets(&self) -> usize {
        self.labelled.iter().skip(1).filter(|labelled| **labelled).count()
    }

    /// The row as bytes: n little-endian u32 ids, then ⌈n / 8⌉ bytes of labels, the first in the lowest bit.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes: Vec<u8> = self.ids.iter().flat_map(|id| id.to_le_bytes()).collect();
        let bits = |chunk: &[bool]| chunk.iter().rev().fold(0, |byte, bit| byte << 1 | u8::from(*bit));
        bytes.extend(self.labelled.chunks(8).map(bits));
        bytes
    }

    /// The bytes of a row of so many tokens.
    pub fn bytes_of(tokens: usize) -> usize {
        tokens * 4 + tokens.div_ceil(8)
    }

    /// The row that [`Encoded::to_bytes`] packed. Bytes that cannot be one are an error of code `bad-data`.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        // 8 · length = 33 n + r with r < 8, as n tokens take 4 n + ⌈n / 8⌉ bytes.
        let tokens = bytes.len() * 8 / 33;
        if bytes.len() != Encoded::bytes_of(tokens) {
            bail!(BadData, "a stored row of {} bytes is damaged", bytes.len());
        }
        let (ids, bits) = bytes.split_at(tokens * 4);
        let ids = ids.chunks_exact(4).map(|id| u32::from_le_bytes([id[0], id[1], id[2], id[3]])).collect();
        let labelled = (0..tokens).map(|t| bits[t / 8] >> (t % 8) & 1 == 1).collect();
        Ok(Encoded { ids, labelled })
    }
}
