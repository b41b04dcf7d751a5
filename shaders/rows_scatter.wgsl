// out[indices[first + i], :] = inp[i, :]; rows with an index 0xFFFFFFFF go nowhere        i < count
//
// inp [count, stride], out [M, stride] f32; index u32, whose live entries are distinct, so no two
// invocations write one place. The reverse of rows_gather. An invocation owns four elements of inp.
{% from "shared/each_element.wgsl" import each_element %}
{% include "shared/rows.wgsl" %}

{% call each_element("params.count * (params.stride / 4u)") %}
    let quads = params.stride / 4u;
    let row = indices[params.first + index / quads];
    if (row != 0xffffffffu) {
        out[row * quads + index % quads] = inp[index];
    }
{% endcall %}
