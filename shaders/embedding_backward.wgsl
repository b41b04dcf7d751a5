// dtable[id - first_id, c] += scale * sum_{m: ids[m] = id} dout[m, c]        for first_id <= id < first_id + n_ids
//
// ids [rows] u32; order [rows] u32: the rows by id, those of one id one behind another, then 0xFFFFFFFF; dout [rows,
// depth] f32; dtable [n_ids, depth] f32.
//
// An invocation owns four elements of the row at a place in `order`. The one whose place is the first of an id adds up all
// that have it, in their order, and the others do nothing: nothing is atomic and every run adds up alike.
{% from "shared/each_element.wgsl" import each_element %}
{{ params("embedding::Params") }}
@group(0) @binding(1) var<storage, read> ids: array<u32>;
@group(0) @binding(2) var<storage, read> order: array<u32>;
@group(0) @binding(3) var<storage, read> dout: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> dtable: array<vec4<f32>>;

const NONE = 0xffffffffu;

{% call each_element("params.rows * (params.depth / 4u)") %}
    let quads = params.depth / 4u;
    let place = index / quads;
    let quad = index % quads;
    let first = order[place];
    if (first == NONE) {
        return;
    }
    let id = ids[first];
    // An id below first_id wraps to a number past every slab.
    let row = id - params.first_id;
    if (row >= params.n_ids || (place > 0u && ids[order[place - 1u]] == id)) {
        return;
    }
    var sum = vec4<f32>();
    for (var next = place; next < params.rows; next++) {
        let m = order[next];
        if (m == NONE || ids[m] != id) {
            break;
        }
        sum += dout[m * quads + quad];
    }
    dtable[row * quads + quad] += params.scale * sum;
{% endcall %}
