// out[i] = weights[s].y + (weights[s].x if token i belongs to the answer, else 0)        s = owners[i] / 2, i < n
//
// owners u32: twice the sequence of a scored token, and 1 more for a token of the answer, or 0xFFFFFFFF for a token that
// counts for nothing; weights [sequences, 2] and out [n] f32. An invocation owns a token.
{% from "shared/each_element.wgsl" import each_element %}
{{ params("preference::SpreadParams") }}
@group(0) @binding(1) var<storage, read> owners: array<u32>;
@group(0) @binding(2) var<storage, read> weights: array<vec2<f32>>;
@group(0) @binding(3) var<storage, read_write> out: array<f32>;

{% call each_element("params.n") %}
    let owner = owners[index];
    var weight = 0.0;
    if (owner != 0xffffffffu) {
        let of_sequence = weights[owner / 2u];
        weight = of_sequence.y + select(0.0, of_sequence.x, owner % 2u == 1u);
    }
    out[index] = weight;
{% endcall %}
