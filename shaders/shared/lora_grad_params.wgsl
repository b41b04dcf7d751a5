// Mirrors kernels::lora_grad::Params.
struct Params {
    rows: u32,
    u_stride: u32,
    u_offset: u32,
    v_stride: u32,
    height: u32,
    width: u32,
    pad0: u32,
    pad1: u32,
    section_end: vec4<u32>,
    v_offset: vec4<u32>,
    g_base: vec4<u32>,
}

const NONE = 0xffffffffu;

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> u: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> v: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> gradient: array<vec4<f32>>;
