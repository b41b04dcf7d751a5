//! Places the transient tensors of a step in as few bytes as their uses allow.

use super::tensor::{Place, Tensor};

/// Where each transient tensor of a step lies.
///
/// Tensors whose uses do not overlap share a slot; a slot is one buffer. Slots are whole buffers,
/// not ranges of one, because WebGPU refuses a buffer that one dispatch both reads and writes.
#[derive(Clone, Debug, Default)]
pub struct MemoryPlan {
    /// The slot of each transient tensor; `None` for one that is never used.
    pub(crate) slot_of: Vec<Option<usize>>,
    /// The bytes of each slot.
    pub(crate) slots: Vec<u64>,
    /// The most bytes that are in use at one operation: no plan needs fewer.
    pub live_bytes: u64,
}

impl MemoryPlan {
    /// Plans transient tensors of `sizes` bytes for operations that run in order, each on some tensors.
    pub(crate) fn new(sizes: &[u64], ops: impl Iterator<Item = Vec<Tensor>>) -> Self {
        let count = sizes.len();
        let mut first = vec![usize::MAX; count];
        let mut last = vec![0; count];
        for (time, tensors) in ops.enumerate() {
            for tensor in tensors {
                if let Place::Transient(index) = tensor.place {
                    first[index as usize] = first[index as usize].min(time);
                    last[index as usize] = time;
                }
            }
        }

        // The largest tensors choose their slots first, so that a slot never has to grow.
        let mut order: Vec<usize> = (0..count).filter(|&index| first[index] != usize::MAX).collect();
        order.sort_by_key(|&index| (std::cmp::Reverse(sizes[index]), first[index]));
        let mut plan = MemoryPlan { slot_of: vec![None; count], ..Default::default() };
        let mut busy: Vec<Vec<(usize, usize)>> = Vec::new();
        for &index in &order {
            let free = busy
                .iter()
                .position(|uses| uses.iter().all(|&(from, to)| to < first[index] || last[index] < from));
            let slot = free.unwrap_or_else(|| {
                busy.push(Vec::new());
                plan.slots.push(sizes[index]);
                busy.len() - 1
            });
            busy[slot].push((first[index], last[index]));
            plan.slot_of[index] = Some(slot);
        }

        let mut changes: Vec<(usize, i64)> = order
            .iter()
            .flat_map(|&index| {
                let size = sizes[index] as i64;
                [(2 * first[index], size), (2 * last[index] + 1, -size)]
            })
            .collect();
        changes.sort();
        let mut live = 0;
        for (_, change) in changes {
            live += change;
            plan.live_bytes = plan.live_bytes.max(live as u64);
        }
        plan
    }

    /// The bytes of all slots.
    pub fn bytes(&self) -> u64 {
        self.slots.iter().sum()
    }
}
