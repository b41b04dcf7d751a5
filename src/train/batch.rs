//! A micro-batch as the GPU wants it: its rows one behind another, without padding between them.
//!
//! The last token of a row predicts nothing and is seen by none, so it is only ever a target.

use crate::data::encode::Encoded;
use crate::model::View;

/// The tokens of a micro-batch but the last of each row, flat, and those among them with a target.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FlatBatch {
    pub ids: Vec<u32>,
    pub positions: Vec<u32>,
    /// By view of the model.
    pub seen: Vec<Seen>,
    /// Tokens that predict a labelled token.
    pub index: Vec<u32>,
    /// What they should predict.
    pub targets: Vec<u32>,
    /// How many of them there are up to the end of each row.
    pub ends: Vec<u32>,
}

/// Which tokens see which.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// First key and end of keys that each token sees.
    pub spans: Vec<[u32; 2]>,
    /// End of the tokens that see each token.
    pub last: Vec<u32>,
}

impl Seen {
    /// Adds a row of `count` tokens, which sees itself alone. In a window a token sees itself and the
    /// `window − 1` tokens before it.
    fn push_row(&mut self, view: View, count: u32) {
        let first = self.last.len() as u32;
        let end = first + count;
        for place in first..end {
            self.spans.push([first + view.start(place + 1 - first), place + 1]);
            self.last.push(match view {
                View::All => end,
                View::Window(window) => {
                    end.min(place.saturating_add(u32::try_from(window).unwrap_or(u32::MAX)))
                }
            });
        }
    }
}

impl FlatBatch {
    /// Rows do not see one another. `views` are those of the model.
    pub fn new(rows: &[Encoded], views: &[View]) -> Self {
        let mut batch = FlatBatch { seen: vec![Seen::default(); views.len()], ..FlatBatch::default() };
        for row in rows {
            let first = batch.ids.len();
            let count = row.ids.len().saturating_sub(1);
            for (seen, view) in batch.seen.iter_mut().zip(views) {
                seen.push_row(*view, count as u32);
            }
            for position in 0..count {
                batch.ids.push(row.ids[position]);
                batch.positions.push(position as u32);
                // The label of a token is what the token before it should predict.
                if row.labelled[position + 1] {
                    batch.index.push((first + position) as u32);
                    batch.targets.push(row.ids[position + 1]);
                }
            }
            batch.ends.push(batch.index.len() as u32);
        }
        batch
    }

    /// The rows that have labels.
    pub fn texts(&self) -> usize {
        let starts = std::iter::once(&0).chain(&self.ends);
        starts.zip(&self.ends).filter(|(start, end)| start < end).count()
    }

    /// The numbers of the first `tokens` rows by token id, those of one id in their order; then u32::MAX. Those of `without`
    /// are left out.
    pub fn order(&self, tokens: usize, without: Option<u32>) -> Vec<u32> {
        let is_in = |row: &u32| Some(self.ids[*row as usize]) != without;
        let mut order: Vec<u32> = (0..tokens as u32).filter(is_in).collect();
        order.sort_by_key(|&row| self.ids[row as usize]);
        order.resize(self.ids.len(), u32::MAX);
        order
    }

    /// Fills up with tokens that see nothing and are seen by none.
    pub fn pad(&mut self, tokens: usize, labelled: usize) {
        self.ids.resize(tokens, 0);
        self.positions.resize(tokens, 0);
        for Seen { spans, last } in &mut self.seen {
            spans.resize(tokens, [0, 0]);
            last.resize(tokens, 0);
        }
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
        let rows = [row(&[5, 6, 7], &[true, false, true]), row(&[8], &[true]), row(&[8, 9], &[false, true])];
        let mut batch = FlatBatch::new(&rows, &[View::All]);
        assert_eq!((batch.ends.as_slice(), batch.texts()), (&[1, 1, 2][..], 2));
        batch.pad(8, 4);
        assert_eq!(batch.ids, [5, 6, 8, 0, 0, 0, 0, 0]);
        assert_eq!(batch.positions, [0, 1, 0, 0, 0, 0, 0, 0]);
        assert_eq!(batch.seen[0].spans[..3], [[0, 1], [0, 2], [2, 3]]);
        assert_eq!(batch.seen[0].last, [2, 2, 3, 0, 0, 0, 0, 0]);
        assert_eq!(batch.index, [1, 2, u32::MAX, u32::MAX]);
        assert_eq!(batch.targets, [7, 9, u32::MAX, u32::MAX]);
    }

    #[test]
    fn rows_of_an_id_stand_together_in_their_order() {
        let mut batch = FlatBatch::new(&[row(&[5, 2, 5, 0, 2, 9], &[true; 6])], &[]);
        batch.pad(8, 8);
        const NONE: u32 = u32::MAX;
        assert_eq!(batch.order(5, None), [3, 1, 4, 0, 2, NONE, NONE, NONE]);
        assert_eq!(batch.order(5, Some(2)), [3, 0, 2, NONE, NONE, NONE, NONE, NONE]);
    }

    #[test]
    fn a_window_hides_what_lies_further_back() {
        let rows = [row(&[6], &[true; 1]), row(&[1, 2, 3, 4, 5], &[true; 5]), row(&[6, 7], &[true; 2])];
        let batch = FlatBatch::new(&rows, &[View::Window(2), View::All]);
        let [near, all] = &batch.seen[..] else { panic!("two views") };
        assert_eq!(near.spans, [[0, 1], [0, 2], [1, 3], [2, 4], [4, 5]]);
        assert_eq!(near.last, [2, 3, 4, 4, 5]);
        assert_eq!(all.spans, [[0, 1], [0, 2], [0, 3], [0, 4], [4, 5]]);
        assert_eq!(all.last, [4, 4, 4, 4, 5]);
    }
}
