// Mirrors kernels::linear::Params.
struct Params {
    rows: u32,
    cols: u32,
    depth: u32,
    true_depth: u32,
    x_stride: u32,
    x_offset: u32,
    y_stride: u32,
    y_offset: u32,
    rank: u32,
    t_stride: u32,
    add_residual: u32,
    scale: f32,
    section_end: vec4<u32>,
    t_offset: vec4<u32>,
    b_base: vec4<u32>,
}

@group(0) @binding(0) var<uniform> params: Params;

const NONE = 0xffffffffu;
