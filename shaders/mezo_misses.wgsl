// out[i] = 1 where one of miss[starts[i]..=i] is not 0, else 0; and 0 where starts[i] is 0xFFFFFFFF
//
// For the last labelled token i of a text, starts[i] is its first: a text counts as one, and is right where all of its tokens
// are. A sum that is not finite stays so. miss, out [n] f32; starts [n] u32.
//
// An invocation owns a token.
{% from "shared/each_element.wgsl" import each_element %}
{{ params("mezo::MissesParams") }}
@group(0) @binding(1) var<storage, read> starts: array<u32>;
@group(0) @binding(2) var<storage, read> miss: array<f32>;
@group(0) @binding(3) var<storage, read_write> out: array<f32>;

{% call each_element("params.n") %}
    var sum = 0.0;
    for (var token = starts[index]; token <= index; token++) {
        sum += miss[token];
    }
    out[index] = min(sum, 1.0);
{% endcall %}
