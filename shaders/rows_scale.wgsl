// out[indices[first + i], :] *= weight[first + i]; rows with an index 0xFFFFFFFF are none        i < count
//
// out [M, stride], weight f32; indices u32, whose live entries are distinct, so no two invocations write one place. An
// invocation owns four elements.
{% from "shared/each_element.wgsl" import each_element %}
{{ params("rows::Params") }}
@group(0) @binding(1) var<storage, read> indices: array<u32>;
@group(0) @binding(2) var<storage, read> weight: array<f32>;
@group(0) @binding(3) var<storage, read_write> out: array<vec4<f32>>;

{% call each_element("params.count * (params.stride / 4u)") %}
    let quads = params.stride / 4u;
    let entry = params.first + index / quads;
    let row = indices[entry];
    if (row != 0xffffffffu) {
        out[row * quads + index % quads] *= weight[entry];
    }
{% endcall %}
