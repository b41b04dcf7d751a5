// What the attention kernels share: sizes, strides and offsets in elements, all multiples of 4. A dispatch
// takes the rows from first_row on, as many as it has workgroups for.

struct Params {
    rows: u32,
    q_stride: u32,
    q_offset: u32,
    kv_stride: u32,
    k_offset: u32,
    v_offset: u32,
    out_stride: u32,
    q_heads: u32,
    kv_heads: u32,
    head_dim: u32,
    scale: f32,
    first_row: u32,
}

@group(0) @binding(0) var<uniform> params: Params;

// Stands for minus infinity, which WGSL cannot write; far enough from the end of f32 that products
// inside exp() stay finite, and small enough that exp() of it is 0.
const HIDDEN = -1.0e30;
