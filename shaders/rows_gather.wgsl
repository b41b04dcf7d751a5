// out[i, :] = inp[indices[first + i], :], or zeros where indices[first + i] is 0xFFFFFFFF        i < count
//
// inp [M, stride], out [count, stride] f32; index u32. Picks the rows that have a label out of the
// hidden states, one block at a time. An invocation owns four elements of out.
{% from "shared/each_element.wgsl" import each_element %}
{% include "shared/rows.wgsl" %}

{% call each_element("params.count * (params.stride / 4u)") %}
    let quads = params.stride / 4u;
    let row = indices[params.first + index / quads];
    var value = vec4<f32>(0.0);
    if (row != 0xffffffffu) {
        value = inp[row * quads + index % quads];
    }
    out[index] = value;
{% endcall %}
