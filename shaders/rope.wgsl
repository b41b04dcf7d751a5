// Rotary position embedding (RoFormer, Su et al. 2021, section 3.2), in the "rotate half" order of
// transformers: feature i of a head turns with feature i + D/2. In place, on the query and the key
// columns of the stacked projection; with sign = -1 it is its own inverse and its own backward.
//
//   a' = a·cos − sign·b·sin      a = x[m, head, i],        cos = cos[positions[m], i]
//   b' = b·cos + sign·a·sin      b = x[m, head, i + D/2],  sin = sin[positions[m], i]
//
// qkv        [M, stride]         query heads from q_offset, key heads from k_offset
// positions  [M]                 row of the tables for each token; an index past their end is clamped
//                                by the bounds checks of WebGPU
// cosines, sines  [P, table_stride], the first D/2 columns of which are used
//
// One invocation turns two neighbouring features with their partners, hence vec2: D is a multiple
// of 4, so D/2 is even. Everything is f32; the tables come from the host, where f64 made them.

struct Params {
    rows: u32,
    stride: u32,
    q_offset: u32,
    k_offset: u32,
    q_heads: u32,
    kv_heads: u32,
    head_dim: u32,
    sign: f32,
    table_stride: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> qkv: array<vec2<f32>>;
@group(0) @binding(2) var<storage, read> positions: array<u32>;
@group(0) @binding(3) var<storage, read> cosines: array<vec2<f32>>;
@group(0) @binding(4) var<storage, read> sines: array<vec2<f32>>;

@compute @workgroup_size(128)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let pairs = params.head_dim / 4u;
    let per_row = (params.q_heads + params.kv_heads) * pairs;
    let index = (workgroup.x + workgroup.y * workgroups.x) * 128u + thread;
    let row = index / per_row;
    if (row >= params.rows) {
        return;
    }
    let head = (index % per_row) / pairs;
    let pair = index % pairs;

    let query = params.q_offset + head * params.head_dim;
    let key = params.k_offset + (head - params.q_heads) * params.head_dim;
    let column = select(key, query, head < params.q_heads);
    let low = (row * params.stride + column) / 2u + pair;
    let high = low + pairs;
    let entry = positions[row] * (params.table_stride / 2u) + pair;
    let c = cosines[entry];
    let s = params.sign * sines[entry];

    let a = qkv[low];
    let b = qkv[high];
    qkv[low] = a * c - b * s;
    qkv[high] = b * c + a * s;
}
