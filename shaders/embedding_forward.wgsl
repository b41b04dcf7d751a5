//! variant weight: bf16 f16 f32 q8_0 q4_0 q4_1 q5_0 q5_1 q4_k q5_k q6_k
// out[m, c] = scale * table[ids[m] - first_id, c]        for rows with first_id <= ids[m] < first_id + n_ids
//
// The table may be larger than one binding, so it comes in slabs of rows; a dispatch for each slab
// writes the rows whose id lies in it and leaves the others alone.
//
// ids [rows] u32; table [n_ids, depth] in its stored format (shared/weight.wgsl); out [rows, depth] f32. The table's lanes
// past the model's width are zero. Dense values are read and written as bits, so decoding is exact; a scale of one leaves
// them as they are, where a product may flush the smallest.
//
// An invocation owns four elements of out.
{% from "shared/each_element.wgsl" import each_element %}
{{ params("embedding::Params") }}
@group(0) @binding(1) var<storage, read> ids: array<u32>;
{% if weight == "f32" %}
@group(0) @binding(2) var<storage, read> table: array<vec4<u32>>;
@group(0) @binding(3) var<storage, read> unused_scales: array<u32>;
{% elif weight in ["f16", "bf16"] %}
@group(0) @binding(2) var<storage, read> table: array<vec2<u32>>;
@group(0) @binding(3) var<storage, read> unused_scales: array<u32>;
{% include "shared/widen.wgsl" %}
{% else %}
{% include "shared/weight.wgsl" %}
{% endif %}
@group(0) @binding(4) var<storage, read_write> out: array<vec4<u32>>;

{% call each_element("params.rows * (params.depth / 4u)") %}
    let quads = params.depth / 4u;
    let row = index / quads;
    // An id below first_id wraps to a number past every slab.
    let id = ids[row] - params.first_id;
    if (id < params.n_ids) {
{% if weight == "f32" %}
        var bits = table[id * quads + index % quads];
{% elif weight in ["f16", "bf16"] %}
        var bits = bitcast<vec4<u32>>(widen(halves(table[id * quads + index % quads])));
{% else %}
        let eight = load_weight(id, index % quads / 2u);
        var bits = bitcast<vec4<u32>>(select(eight.a, eight.b, index % 2u == 1u));
{% endif %}
        if (params.scale != 1.0) {
            bits = bitcast<vec4<u32>>(params.scale * bitcast<vec4<f32>>(bits));
        }
        out[index] = bits;
    }
{% endcall %}
