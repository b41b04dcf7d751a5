//! Causal grouped-query attention that keeps no matrix of rows by keys: forward, backward, decoding.
//!
//! What a row sees is a span of keys, so packed rows, sliding windows and a cache are all the same
//! to the kernels. The arithmetic is that of FlashAttention-2 (Dao 2023).

use std::ops::Range;

use bytemuck::{Pod, Zeroable};

use super::lower::{GpuTarget, Sizes};
use super::recorder::{Kernel, Recorder};
use crate::gpu::Dispatch;
use crate::memory::{Tensor, read, write};

/// The largest head_dim that there is a kernel for.
pub const MAX_HEAD_DIM: u32 = 256;

/// The `dim` variants of attention_forward, and of the other kernels.
const FORWARD_DIMS: [u32; 4] = [32, 64, 128, MAX_HEAD_DIM];
const DIMS: [u32; 3] = [64, 128, MAX_HEAD_DIM];

/// Strides, offsets and `head_dim` in elements, all multiples of 4; `kv_heads` divides `q_heads`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
pub struct Params {
    /// Query rows M.
    pub rows: u32,
    /// Row stride of the tensor with the queries.
    pub q_stride: u32,
    /// Column of the first query head; the heads follow one another.
    pub q_offset: u32,
    /// Row stride of the tensor with the keys and values. In training, `q_stride`.
    pub kv_stride: u32,
    /// Column of the first key head.
    pub k_offset: u32,
    /// Column of the first value head.
    pub v_offset: u32,
    /// Row stride of the output, whose heads begin at column 0.
    pub out_stride: u32,
    pub q_heads: u32,
    pub kv_heads: u32,
    pub head_dim: u32,
    /// Multiplies the scores; usually 1 / √head_dim.
    pub scale: f32,
    /// The first row of this dispatch. Where a pass is cut, [`forward`] and [`backward`] set it; otherwise 0.
    pub first_row: u32,
}

/// The pairs of a row and a key that a pass in training has where each row sees all rows up to itself.
pub fn pairs(rows: usize) -> u64 {
    let rows = rows as u64;
    rows * (rows + 1) / 2
}

/// The pairs of these rows, where each row sees all rows up to itself.
fn pairs_of_rows(rows: Range<u32>) -> u64 {
    pairs(rows.end as usize) - pairs(rows.start as usize)
}

/// The pairs of these keys, which all of `rows` rows see but those before them.
fn pairs_of_keys(keys: Range<u32>, rows: u32) -> u64 {
    pairs((rows - keys.start) as usize) - pairs((rows - keys.end) as usize)
}

/// The share of `pairs` that `spans` let through; see [`crate::gpu::Workspace::run_seeing`].
pub fn share_seen(spans: &[[u32; 2]], pairs: u64) -> f64 {
    let seen: u64 = spans.iter().map(|[start, end]| u64::from(end.saturating_sub(*start))).sum();
    seen as f64 / pairs.max(1) as f64
}

impl Params {
    /// The name of `kernel` for head_dim, given the widths that it has.
    fn variant(&self, kernel: &str, dims: &[u32]) -> String {
        let dim = dims.iter().find(|&&dim| self.head_dim <= dim);
        let dim = dim.unwrap_or_else(|| panic!("attention has no kernel for head_dim {}", self.head_dim));
        format!("{kernel}.{dim}")
    }

    /// The shader and the rows of its workgroups: `by_lanes` where a subgroup of `lanes` works together on 8
    /// rows of a head, and `by_group`, in one of `dims` and on `block` rows, where `lanes` is 0.
    fn shader(&self, lanes: u32, by_lanes: &str, by_group: &str, dims: &[u32], block: u32) -> (String, u32) {
        match lanes {
            0 => (self.variant(by_group, dims), block),
            _ => (format!("{}.subgroup{lanes}", self.variant(by_lanes, &FORWARD_DIMS)), 8),
        }
    }

    /// The keys that a row may see where they lie in a cache of `kv` [keys, kv_stride].
    fn places(&self, kv: Tensor) -> u64 {
        kv.size() / 4 / u64::from(self.kv_stride)
    }

    /// Dispatches of at most `most_flops`, or of one block of rows, which together do `products` matrix products of
    /// rows by keys by head_dim. A workgroup takes `block` rows of one of `heads`; `pairs_of` says how many pairs with
    /// others a range of rows makes at most.
    fn pieces(
        &self,
        most_flops: u64,
        products: u64,
        (block, heads): (u32, u32),
        pairs_of: impl Fn(Range<u32>) -> u64,
    ) -> Vec<(Params, [u32; 3], u64)> {
        let per_pair = 2 * products * u64::from(self.q_heads * self.head_dim);
        let mut cuts = vec![(0, 0)];
        for first in (0..self.rows).step_by(block as usize) {
            let of_block = per_pair * pairs_of(first..(first + block).min(self.rows));
            match cuts.last_mut() {
                Some((_, flops)) if *flops == 0 || *flops + of_block <= most_flops => *flops += of_block,
                _ => cuts.push((first, of_block)),
            }
        }
        let ends = cuts.iter().skip(1).map(|&(first, _)| first).chain([self.rows]);
        let piece = |(&(first_row, flops), end): (&(u32, u64), u32)| {
            (Params { first_row, ..*self }, [(end - first_row).div_ceil(block), heads, 1], flops)
        };
        cuts.iter().zip(ends).map(piece).collect()
    }
}

/// Attends from the rows of `q` [rows, q_stride] to the rows of `kv` [keys, kv_stride], which in
/// training are one tensor.
///
/// `spans` (u32 [rows, 2]) holds for each row the first key that it sees and the end of those; equal
/// numbers mean none. Keys and values between the first start and the last end of 32 neighbouring
/// rows must be finite. Writes `out` [rows, out_stride] with its pad lanes, and `lse` [rows, q_heads],
/// the logarithm of the sum of exponentials of the scores; both are 0 where a row sees nothing.
pub fn forward(
    rec: &mut Recorder,
    params: Params,
    q: Tensor,
    kv: Tensor,
    spans: Tensor,
    out: Tensor,
    lse: Tensor,
) {
    let bindings = [read(q), read(kv), read(spans), write(out), write(lse)];
    rec.call(Kernel::AttentionForward, &params, &bindings);
}

pub(super) fn lower_forward(target: &GpuTarget, call: &Sizes<'_>) -> Dispatch {
    let (largest, q, kv): (Params, _, _) = (call.largest(), call.tensor(0), call.tensor(1));
    // Narrow heads leave registers for more rows; the shader's `lanes` decides likewise.
    let block = if largest.head_dim <= 64 { 32 } else { 16 };
    let (by_lanes, by_group) = ("attention_lanes_forward", "attention_forward");
    let (shader, block) = largest.shader(target.lanes(), by_lanes, by_group, &FORWARD_DIMS, block);
    let places = largest.places(kv);
    let pairs_of = |rows: Range<u32>| match q == kv {
        true => pairs_of_rows(rows),
        false => rows.len() as u64 * places,
    };
    call.dispatch_pairs(shader, |params: &Params| {
        params.pieces(target.most_flops(), 2, (block, params.q_heads), pairs_of)
    })
}

/// [`forward`] for few rows, such as the one row of each sequence that generation adds: a workgroup
/// for each row and head instead of each 16 rows and head, reading only the keys of its own span.
pub fn decode(
    rec: &mut Recorder,
    params: Params,
    q: Tensor,
    kv: Tensor,
    spans: Tensor,
    out: Tensor,
    lse: Tensor,
) {
    let bindings = [read(q), read(kv), read(spans), write(out), write(lse)];
    rec.call(Kernel::AttentionDecode, &params, &bindings);
}

pub(super) fn lower_decode(target: &GpuTarget, call: &Sizes<'_>) -> Dispatch {
    let largest: Params = call.largest();
    // On CPU adapters eight rows without barriers, of which one is there, are faster than one with
    // them. More rows than one would read the keys between their spans.
    let lanes = if largest.rows == 1 { target.lanes() } else { 0 };
    let (shader, block) = largest.shader(lanes, "attention_lanes_forward", "attention_decode", &DIMS, 1);
    let places = largest.places(call.tensor(1));
    call.dispatch_pairs(shader, |params: &Params| {
        // Few rows are never too much for one dispatch.
        params.pieces(u64::MAX, 2, (block, params.q_heads), |rows| rows.len() as u64 * places)
    })
}

/// What [`backward`] reads and writes. Here queries, keys and values are columns of one tensor, in
/// this order.
#[derive(Clone, Copy, Debug)]
pub struct Backward {
    /// [rows, kv_stride], as in [`forward`].
    pub qkv: Tensor,
    /// [rows, out_stride], from [`forward`].
    pub out: Tensor,
    /// [rows, out_stride], the gradient of `out`.
    pub dout: Tensor,
    /// [rows, q_heads], from [`forward`].
    pub lse: Tensor,
    /// u32 [rows, 2], as in [`forward`].
    pub spans: Tensor,
    /// u32 [rows]: the rows that see key j are j to `last[j]`, exclusive, the same pairs that `spans`
    /// gives; `last[j] <= j` where no row does.
    pub last: Tensor,
    /// [rows, q_heads]; scratch.
    pub delta: Tensor,
    /// [rows, kv_stride], the gradient of `qkv`; written from column q_offset to the end of each row.
    pub dqkv: Tensor,
}

/// Gradients of [`forward`] in training, where row m sees no key past itself.
pub fn backward(rec: &mut Recorder, params: Params, tensors: Backward) {
    debug_assert_eq!(params.q_stride, params.kv_stride, "queries, keys and values are one tensor");
    let Backward { qkv, out, dout, lse, spans, last, delta, dqkv } = tensors;
    let bindings = [read(qkv), read(out), read(dout), read(lse), read(spans), write(delta), write(dqkv)];
    rec.call(Kernel::AttentionBackwardQ, &params, &bindings);
    let bindings = [read(qkv), read(dout), read(lse), read(delta), read(last), write(dqkv)];
    rec.call(Kernel::AttentionBackwardKv, &params, &bindings);
}

pub(super) fn lower_backward_q(target: &GpuTarget, call: &Sizes<'_>) -> Dispatch {
    let (by_lanes, by_group) = ("attention_lanes_backward_q", "attention_backward_q");
    let (shader, block) = call.largest::<Params>().shader(target.lanes(), by_lanes, by_group, &DIMS, 16);
    call.dispatch_pairs(shader, |params: &Params| {
        params.pieces(target.most_flops(), 3, (block, params.q_heads), pairs_of_rows)
    })
}

pub(super) fn lower_backward_kv(target: &GpuTarget, call: &Sizes<'_>) -> Dispatch {
    let (by_lanes, by_group) = ("attention_lanes_backward_kv", "attention_backward_kv");
    let (shader, block) = call.largest::<Params>().shader(target.lanes(), by_lanes, by_group, &DIMS, 16);
    call.dispatch_pairs(shader, |params: &Params| {
        let pairs_of = |keys| pairs_of_keys(keys, params.rows);
        params.pieces(target.most_flops(), 4, (block, params.kv_heads), pairs_of)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::linear::Tile;

    /// Those of SmolLM2-135M and of Llama-2-7B.
    fn params(rows: u32, q_heads: u32, kv_heads: u32, head_dim: u32) -> Params {
        Params { rows, q_heads, kv_heads, head_dim, ..Params::zeroed() }
    }

    /// The pieces follow one another, cover all workgroups once, and none is too much, unless it is one block.
    #[track_caller]
    fn check(params: Params, products: u64, most_flops: u64, pairs_of: impl Fn(Range<u32>) -> u64) -> usize {
        let heads = params.q_heads;
        let pieces = params.pieces(most_flops, products, (16, heads), &pairs_of);
        let mut row = 0;
        for (piece, [blocks, heads, _], flops) in &pieces {
            assert_eq!((piece.first_row, *heads), (row, params.q_heads));
            assert!(*flops <= most_flops || *blocks == 1, "{flops} from row {row} of {}", params.rows);
            assert!(*flops < 20_000_000_000, "{flops} in one dispatch");
            row += blocks * 16;
        }
        assert_eq!(row, params.rows.next_multiple_of(16));
        let flops: u64 = pieces.iter().map(|piece| piece.2).sum();
        let width = u64::from(params.q_heads * params.head_dim);
        assert_eq!(flops, 2 * products * pairs(params.rows as usize) * width);
        pieces.len()
    }

    #[test]
    fn no_dispatch_of_a_long_row_is_more_than_a_weak_gpu_does_in_time() {
        let most = GpuTarget::from(Tile::Shared64).most_flops();
        for [q_heads, kv_heads, head_dim] in [[9, 3, 64], [32, 32, 128]] {
            for rows in [8, 1000, 16_384, 32_760] {
                let params = params(rows, q_heads, kv_heads, head_dim);
                check(params, 2, most, pairs_of_rows);
                check(params, 3, most, pairs_of_rows);
                let count = check(params, 4, most, |keys| pairs_of_keys(keys, rows));
                let expected = if rows == 8 { 1..=1 } else { rows as usize / 1000..=2048 };
                assert!(expected.contains(&count), "{rows} rows of {q_heads} heads in {count} pieces");
            }
        }
    }

    #[test]
    fn pairs_of_a_range_are_those_of_each() {
        for range in [0..0, 0..1, 0..16, 32..40, 84..100] {
            assert_eq!(
                pairs_of_rows(range.clone()),
                range.clone().map(|row| u64::from(row) + 1).sum::<u64>()
            );
            assert_eq!(pairs_of_keys(range.clone(), 100), range.map(|key| u64::from(100 - key)).sum::<u64>());
        }
    }

    #[test]
    fn what_spans_hide_is_not_counted() {
        // Eight rows of 1024 tokens see an eighth of what one of 8192 sees, but for the diagonal.
        let spans: Vec<[u32; 2]> = (0..8192).map(|row| [row / 1024 * 1024, row + 1]).collect();
        let seen = share_seen(&spans, pairs(8192));
        assert!((0.125..0.126).contains(&seen), "{seen}");
        let one: Vec<[u32; 2]> = (0..8192).map(|row| [0, row + 1]).collect();
        assert_eq!(share_seen(&one, pairs(8192)), 1.0);
        assert_eq!(share_seen(&[[0, 0], [3, 3]], pairs(2)), 0.0);
    }
}
