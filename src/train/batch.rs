//! A micro-batch as the GPU wants it: its rows one behind another, without padding between them.
//!
//! The last token of a row predicts nothing and is seen by none, so it is only ever a target.

use crate::data::encode::Encoded;

/// The tokens of a micro-batch but the last of each row, flat, and those among them with a target.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FlatBatch {
    pub ids: Vec<u32>,
    pub positions: Vec<u32>,
    /// First key and end of keys that each token sees.
    pub spans: Vec<[u32; 2]>,
    /// End of the tokens that see each token.
    pub last: Vec<u32>,
    /// Tokens that predict a labelled token.
    pub index: Vec<u32>,
    /// What they should predict.
    pub targets: Vec<u32>,
}

impl FlatBatch {
    /// Rows do not see one another. With a sliding window a token sees itself and the
    /// `window − 1` tokens before it.
    pub fn new(rows: &[Encoded], window: Option<usize>) -> Self {
        let mut batch = FlatBatch::default();
        for row in rows {
            let first = batch.ids.len();
            let count = row.ids.len().saturating_sub(1);
            let end = first + count;
            for position in 0..count {
                let place = first + position;
                let start = window.map_or(first, |window| first.max((place + 1).saturating_sub(window)));
                batch.ids.push(row.ids[position]);
                batch.positions.push(position as u32);
                batch.spans.push([start as u32, place as u32 + 1]);
                batch.last.push(window.map_or(end, |window| end.min(place.saturating_add(window))) as u32);
                // The label of a token is what the token before it should predict.
                if row.labelled[position + 1] {
                    batch.index.push(place as u32);
                    batch.targets.push(row.ids[position + 1]);
                }
            }
        }
        batch
    }

    /// Fills up with tokens that see nothing and are seen by none.
    pub fn pad(&mut self, tokens: usize, labelled: usize) {
        self.ids.resize(tokens, 0);
        self.positions.resize(tokens, 0);
        self.spans.resize(tokens, [0, 0]);
        self.last.resize(tokens, 0);
        self.index.resize(labelled, u32::MAX);
        self.targets.resize(labelled, u32::MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(ids: &[u32], labelled: &[bool]) -> Encoded {
        Encoded { ids: ids.to_vec(), labelled: labelled.to_vec() }
    }

    #[test]
    fn rows_keep_to_themselves_and_labels_move_one_back() {
        let rows = [row(&[5, 6, 7], &[true, false, true]), row(&[8, 9], &[false, true])];
        let mut batch = FlatBatch::new(&rows, None);
        batch.pad(8, 4);
        assert_eq!(batch.ids, [5, 6, 8, 0, 0, 0, 0, 0]);
        assert_eq!(batch.positions, [0, 1, 0, 0, 0, 0, 0, 0]);
        assert_eq!(batch.spans[..3], [[0, 1], [0, 2], [2, 3]]);
        assert_eq!(batch.last, [2, 2, 3, 0, 0, 0, 0, 0]);
        assert_eq!(batch.index, [1, 2, u32::MAX, u32::MAX]);
        assert_eq!(batch.targets, [7, 9, u32::MAX, u32::MAX]);
    }

    #[test]
    fn a_window_hides_what_lies_further_back() {
        let batch = FlatBatch::new(&[row(&[1, 2, 3, 4, 5], &[true; 5])], Some(2));
        assert_eq!(batch.spans, [[0, 1], [0, 2], [1, 3], [2, 4]]);
        assert_eq!(batch.last, [2, 3, 4, 4]);
    }
}
