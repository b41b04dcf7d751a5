// Rotary position embedding (RoFormer, Su et al. 2021, section 3.2), in the "rotate half" order of
// transformers: of the first R features of a head (`rotary_dim`) feature i turns with feature i + R/2, and the
// rest stay. In place, on the query and the key columns of the stacked projection; with sign = -1 it is its own
// backward.
//
//   a' = a·cos − sign·b·sin      a = x[m, head, i],        cos = cos[positions[m], i]
//   b' = b·cos + sign·a·sin      b = x[m, head, i + R/2],  sin = sin[positions[m], i]
//
// Tables that are scaled by an attention factor f (yarn, longrope) make forward f times a rotation, A = f·R, and
// sign = -1 f times the rotation back, f·Rᵀ = Aᵀ: still the backward, though no longer the inverse.
//
// qkv        [M, stride]         query heads from q_offset, key heads from k_offset
// positions  [M]                 row of the tables for each token; an index past their end is clamped
//                                by the bounds checks of WebGPU
// cosines, sines  [P, table_stride], the first R/2 columns of which are used
//
// One invocation turns two neighbouring features with their partners, or one where R/2 is odd and it has the last:
// finding the place takes longer than turning. Everything is f32; the tables come from the host, where f64 made them.

{{ params("rope::Params") }}
@group(0) @binding(1) var<storage, read_write> qkv: array<f32>;
@group(0) @binding(2) var<storage, read> positions: array<u32>;
@group(0) @binding(3) var<storage, read> cosines: array<f32>;
@group(0) @binding(4) var<storage, read> sines: array<f32>;

fn turn(low: u32, high: u32, entry: u32) {
    let c = cosines[entry];
    let s = params.sign * sines[entry];
    let a = qkv[low];
    let b = qkv[high];
    qkv[low] = a * c - b * s;
    qkv[high] = b * c + a * s;
}

@compute @workgroup_size(128)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let half = params.rotary_dim / 2u;
    let pairs = (half + 1u) / 2u;
    let per_row = (params.q_heads + params.kv_heads) * pairs;
    let index = (workgroup.x + workgroup.y * workgroups.x) * 128u + thread;
    let row = index / per_row;
    if (row >= params.rows) {
        return;
    }
    let head = (index % per_row) / pairs;
    let feature = index % pairs * 2u;

    let query = params.q_offset + head * params.head_dim;
    let key = params.k_offset + (head - params.q_heads) * params.head_dim;
    let column = select(key, query, head < params.q_heads);
    let low = row * params.stride + column + feature;
    let entry = positions[row] * params.table_stride + feature;
    turn(low, low + half, entry);
    if (feature + 1u < half) {
        turn(low + 1u, low + half + 1u, entry + 1u);
    }
}
