// A norm over each head of the queries and keys: its parameters, its weights, and which head an invocation works on.
// The including shader sets `team`.
//
// group: 16 invocations own a head, so a workgroup of 64 four of them; alone: an invocation owns one, which
// CPU adapters do best. A workgroup of 32 is eight times as many heads, as `Recorder::team` counts them.
{{ params("head_norm::Params") }}
@group(0) @binding(1) var<storage, read> qkv: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> q_weight: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> k_weight: array<vec4<f32>>;

struct Head {
    // Past the last one for an invocation that has no head: it shares in barriers and writes nothing.
    row: u32,
    // Among the heads of its row, queries before keys.
    number: u32,
    // The vec4 it begins at.
    start: u32,
}

fn head_of(group: u32, thread: u32) -> Head {
    let index = {{ "group * 4u + thread / 16u" if team == "group" else "group * 32u + thread" }};
    let heads = params.q_heads + params.kv_heads;
    let number = index % heads;
    let query = params.q_offset + number * params.head_dim;
    let key = params.k_offset + (number - params.q_heads) * params.head_dim;
    let column = select(key, query, number < params.q_heads);
    let row = index / heads;
    return Head(row, number, (row * params.stride + column) / 4u);
}

fn weight_of(head: Head, quad: u32) -> vec4<f32> {
    if (head.number < params.q_heads) {
        return q_weight[quad];
    }
    return k_weight[quad];
}
