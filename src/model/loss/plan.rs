//! How labelled rows and the vocabulary are cut.

/// How labelled rows are cut into blocks, and the vocabulary into chunks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LossPlan {
    /// Labelled rows of one block, a multiple of 8.
    pub block: usize,
    /// Blocks for as many labelled rows as a pass may have.
    pub blocks: usize,
    /// Columns of logits that exist at a time: a multiple of 16, or V where the vocabulary is not cut.
    pub chunk: usize,
}

/// What a block of logits may take. Blocks of 80 rows of 49,152 columns fit, which keep the products busy.
const LOGITS_BYTES: usize = 16 << 20;
/// A block reads the head twice, so one of fewer rows waits for the head's bytes. It is also the rows of most tiles.
const FEWEST_ROWS: usize = 64;

impl LossPlan {
    /// Blocks for `rows` labelled rows of a vocabulary, so that one block of logits stays small: of the whole
    /// vocabulary where enough rows of it fit, else of chunks of it.
    pub fn new(rows: usize, vocab: usize) -> Self {
        // The logits of a chunk are half of what a block may take, which leaves the other half to the block's sums,
        // [rows, H], so that a large vocabulary takes no more than a small one.
        const CUT_ROWS: usize = 2 * FEWEST_ROWS;
        const CHUNK: usize = LOGITS_BYTES / 2 / (4 * CUT_ROWS);
        let whole = LossPlan::whole(rows, vocab);
        if whole.block >= FEWEST_ROWS.min(rows.next_multiple_of(8)) {
            return whole;
        }
        let block = CUT_ROWS.min(rows.next_multiple_of(8));
        LossPlan { block, blocks: rows.div_ceil(block), chunk: CHUNK }
    }

    /// Blocks for losses without a gradient: as few rows as keep the products busy, since their logits are what takes the
    /// memory of a pass that keeps no activations. The vocabulary is cut as for a loss with one, so losses are the same.
    pub fn alone(rows: usize, vocab: usize) -> Self {
        let plan = LossPlan::new(rows, vocab);
        if plan.blocks == 1 || plan.cuts(vocab) {
            return plan;
        }
        let block = plan.block.min(FEWEST_ROWS);
        LossPlan { block, blocks: rows.div_ceil(block), ..plan }
    }

    /// Blocks that see the whole vocabulary at once, however few rows of it fit.
    pub fn whole(rows: usize, vocab: usize) -> Self {
        let fitting = (LOGITS_BYTES / (4 * vocab)) / 8 * 8;
        let block = fitting.clamp(8, 256).min(rows.next_multiple_of(8));
        LossPlan { block, blocks: rows.div_ceil(block), chunk: vocab }
    }

    /// Labelled rows of all blocks.
    pub fn rows(&self) -> usize {
        self.block * self.blocks
    }

    /// Whether the logits of a vocabulary of `vocab` columns come in chunks.
    pub fn cuts(&self, vocab: usize) -> bool {
        self.chunk < vocab
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_vocabulary_is_not_cut() {
        for (vocab, block) in [(400, 256), (8192, 256), (49_152, 80), (65_536, 64)] {
            let plan = LossPlan::new(1000, vocab);
            assert_eq!(plan, LossPlan { block, blocks: 1000usize.div_ceil(block), chunk: vocab });
            assert!(!plan.cuts(vocab) && plan.rows() >= 1000);
        }
        // Nor is a large one of which all the rows fit.
        assert_eq!(LossPlan::new(11, 262_144), LossPlan { block: 16, blocks: 1, chunk: 262_144 });
    }

    #[test]
    fn losses_without_a_gradient_take_few_rows_at_a_time_of_the_same_chunks() {
        for (vocab, block) in [(400, 64), (8192, 64), (49_152, 64), (65_536, 64), (151_936, 128)] {
            let (plan, alone) = (LossPlan::new(1000, vocab), LossPlan::alone(1000, vocab));
            assert_eq!(alone, LossPlan { block, blocks: 1000usize.div_ceil(block), chunk: plan.chunk });
        }
        assert_eq!(LossPlan::alone(72, 49_152), LossPlan::new(72, 49_152));
    }

    #[test]
    fn a_block_of_a_large_vocabulary_has_as_many_rows_as_one_of_a_small_one() {
        for vocab in [65_544, 151_936, 262_144, 1_000_000] {
            assert_eq!(LossPlan::new(1000, vocab), LossPlan { block: 128, blocks: 8, chunk: 16_384 });
            let few = LossPlan::new(65, vocab);
            assert_eq!((few.block, few.blocks), (72, 1));
            assert!(few.cuts(vocab) && 4 * few.block * few.chunk <= LOGITS_BYTES);
        }
    }
}
