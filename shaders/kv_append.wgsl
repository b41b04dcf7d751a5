// Copies the key and value columns of new tokens into the cache that generation attends to.
//
//   cache[positions[m], 0..W]    = qkv[m, k_offset..k_offset + W]
//   cache[positions[m], W..2·W]  = qkv[m, v_offset..v_offset + W]
//
// qkv        [M, qkv_stride]
// positions  [M]                 0xFFFFFFFF: the row is skipped
// cache      [P, cache_stride]   keys in columns 0..W, values in W..2·W, where W = kv_width
//
// One invocation copies one vec4; widths, strides and offsets are multiples of 4. Positions differ
// from one another, so that no two invocations write the same place.

{{ params("kv_append::Params") }}
@group(0) @binding(1) var<storage, read> qkv: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> positions: array<u32>;
@group(0) @binding(3) var<storage, read_write> cache: array<vec4<f32>>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let width = params.kv_width / 4u;
    let index = (workgroup.x + workgroup.y * workgroups.x) * 64u + thread;
    let row = index / (2u * width);
    if (row >= params.rows) {
        return;
    }
    let column = index % (2u * width);
    let position = positions[row];
    if (position == 0xffffffffu) {
        return;
    }
    let offset = select(params.v_offset / 4u - width, params.k_offset / 4u, column < width);
    cache[position * (params.cache_stride / 4u) + column] = qkv[row * (params.qkv_stride / 4u) + offset + column];
}
