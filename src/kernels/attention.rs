//! Causal grouped-query attention that keeps no matrix of rows by keys: forward, backward, decoding.
//!
//! What a row sees is a span of keys, so packed rows, sliding windows and a cache are all the same
//! to the kernels. The arithmetic is that of FlashAttention-2 (Dao 2023).

use bytemuck::{Pod, Zeroable};

use crate::gpu::{Recorder, Tensor, read, write};

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
}

impl Params {
    /// The name of `kernel` for head_dim, given the widths that it has.
    fn variant(&self, kernel: &str, dims: &[u32]) -> String {
        let dim = dims.iter().find(|&&dim| self.head_dim <= dim);
        let dim = dim.unwrap_or_else(|| panic!("attention has no kernel for head_dim {}", self.head_dim));
        format!("{kernel}.{dim}")
    }

    /// The shader and its workgroups: `by_lanes` where a subgroup of `lanes` works together on 8 rows
    /// of a head, and `by_group`, in one of `dims` and on `block` rows, where `lanes` is 0.
    fn shader(
        &self,
        lanes: u32,
        by_lanes: &str,
        by_group: &str,
        dims: &[u32],
        block: u32,
        heads: u32,
    ) -> (String, [u32; 3]) {
        match lanes {
            0 => (self.variant(by_group, dims), self.workgroups(block, heads)),
            _ => {
                let name = format!("{}.subgroup{lanes}", self.variant(by_lanes, &FORWARD_DIMS));
                (name, self.workgroups(8, heads))
            }
        }
    }

    /// Floating-point operations of `products` matrix products of rows by keys by head_dim, where
    /// half of the keys are seen. Packed rows see fewer.
    fn flops(&self, products: u64, keys: u64) -> u64 {
        products * u64::from(self.rows) * keys * u64::from(self.q_heads * self.head_dim)
    }

    /// The keys that there may be: those of the cache where it is a tensor of its own.
    fn keys(&self, q: Tensor, kv: Tensor) -> u64 {
        if q == kv { u64::from(self.rows) } else { kv.size() / 4 / u64::from(self.kv_stride) }
    }

    /// A workgroup for each head and each `block` rows.
    fn workgroups(&self, block: u32, heads: u32) -> [u32; 3] {
        [self.rows.div_ceil(block), heads, 1]
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
    // Narrow heads leave registers for more rows; the shader's `lanes` decides likewise.
    let block = if params.head_dim <= 64 { 32 } else { 16 };
    let (lanes, heads) = (rec.lanes(), params.q_heads);
    let (shader, workgroups) =
        params.shader(lanes, "attention_lanes_forward", "attention_forward", &FORWARD_DIMS, block, heads);
    rec.dispatch(
        shader,
        &params,
        &[read(q), read(kv), read(spans), write(out), write(lse)],
        workgroups,
        params.flops(2, params.keys(q, kv)),
    );
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
    // On CPU adapters eight rows without barriers, of which one is there, are faster than one with
    // them. More rows than one would read the keys between their spans.
    let lanes = if params.rows == 1 { rec.lanes() } else { 0 };
    let (shader, workgroups) =
        params.shader(lanes, "attention_lanes_forward", "attention_decode", &DIMS, 1, params.q_heads);
    rec.dispatch(
        shader,
        &params,
        &[read(q), read(kv), read(spans), write(out), write(lse)],
        workgroups,
        2 * params.flops(2, params.keys(q, kv)),
    );
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
    let (by_lanes, by_group) = ("attention_lanes_backward_q", "attention_backward_q");
    let (shader, workgroups) = params.shader(rec.lanes(), by_lanes, by_group, &DIMS, 16, params.q_heads);
    rec.dispatch(
        shader,
        &params,
        &[read(qkv), read(out), read(dout), read(lse), read(spans), write(delta), write(dqkv)],
        workgroups,
        params.flops(3, u64::from(params.rows)),
    );
    let (by_lanes, by_group) = ("attention_lanes_backward_kv", "attention_backward_kv");
    let (shader, workgroups) = params.shader(rec.lanes(), by_lanes, by_group, &DIMS, 16, params.kv_heads);
    rec.dispatch(
        shader,
        &params,
        &[read(qkv), read(dout), read(lse), read(delta), read(last), write(dqkv)],
        workgroups,
        params.flops(4, u64::from(params.rows)),
    );
}
