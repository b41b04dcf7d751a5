//! variant weight: bf16 f16 f32
// out[m, c] = scale * table[ids[m] - first_id, c]        for rows with first_id <= ids[m] < first_id + n_ids
//
// The table may be larger than one binding, so it comes in slabs of rows; a dispatch for each slab
// writes the rows whose id lies in it and leaves the others alone.
//
// ids [rows] u32; table [n_ids, stride] f32, or two f16 or bf16 in a u32, the first in the low half;
// out [rows, stride] f32. The table's lanes past the model's width are zero. Values are written as
// bits, so decoding is exact; a scale of one leaves them as they are, where a product may flush the smallest.
//
// An invocation owns four elements of out.
{% from "shared/each_element.wgsl" import each_element %}
{{ params("embedding::Params") }}
@group(0) @binding(1) var<storage, read> ids: array<u32>;
{% if weight == "f32" %}
@group(0) @binding(2) var<storage, read> table: array<vec4<u32>>;
{% else %}
@group(0) @binding(2) var<storage, read> table: array<vec2<u32>>;
{% endif %}
@group(0) @binding(3) var<storage, read_write> out: array<vec4<u32>>;

{% if weight != "f32" %}
{% include "shared/widen.wgsl" %}
{% endif %}

{% call each_element("params.rows * (params.stride / 4u)") %}
    let quads = params.stride / 4u;
    let row = index / quads;
    // An id below first_id wraps to a number past every slab.
    let id = ids[row] - params.first_id;
    if (id < params.n_ids) {
        let stored = table[id * quads + index % quads];
{% if weight == "f32" %}
        var bits = stored;
{% else %}
        var bits = bitcast<vec4<u32>>(widen(halves(stored)));
{% endif %}
        if (params.scale != 1.0) {
            bits = bitcast<vec4<u32>>(params.scale * bitcast<vec4<f32>>(bits));
        }
        out[index] = bits;
    }
{% endcall %}
