//! variant tile: subgroup4 subgroup8
//! variant weight: nf4 nf4_any f32 f16 bf16
//! native: subgroup8
// What linear_row does, with the same tensors, for adapters that compute on the CPU: no barrier.
//
// A workgroup is one subgroup and owns one row of X. An invocation has 4 columns and walks along all
// of K, 64 values at a time, which it loads together with its neighbours and gets by broadcast.
{% set lanes = 4 if tile == "subgroup4" else 8 %}
{% set decode = "lanes" if lanes == 8 else "pairs" %}
{% include "shared/linear/params.wgsl" %}
{% include "shared/weight.wgsl" %}
{% set input, t, factor, output = "x", "t", "lora_b", "y" %}
{% include "shared/linear/bindings.wgsl" %}

@compute @workgroup_size({{ lanes }})
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let index = group.x + group.y * groups.x;
    let tiles = (params.cols + {{ 4 * lanes - 1 }}u) / {{ 4 * lanes }}u;
    let row = min(index / tiles, params.rows - 1u);
    let own_col = (index % tiles * {{ lanes }}u + thread) * 4u;
    // Invocations past the last column still share in loads and broadcasts; they write nothing.
    let col = min(own_col, params.cols - 4u);
    {% if decode == "lanes" and weight in ["nf4", "nf4_any"] %}
    fill_code_table(thread, {{ lanes }}u);
    {% endif %}

    let x_base = (row * params.x_stride + params.x_offset) / 4u;
    let depth4 = params.depth / 4u;
    var sum = vec4<f32>();
    for (var k4 = 0u; k4 < depth4; k4 += 16u) {
        {% for i in range(16 // lanes) %}
        let h{{ i }} = x[x_base + min(k4 + {{ i * lanes }}u + thread, depth4 - 1u)];
        {% endfor %}
        {% if weight == "nf4" %}
        var of_block = vec4<f32>();
        {% endif %}
        {% for run in range(8) %}
        {% if weight != "nf4" %}
        if k4 + {{ 2 * run }}u < depth4
        {% endif %}
        {
            let p = subgroupBroadcast(h{{ 2 * run // lanes }}, {{ 2 * run % lanes }}u);
            let q = subgroupBroadcast(h{{ (2 * run + 1) // lanes }}, {{ (2 * run + 1) % lanes }}u);
            {% for j in range(4) %}
            {% if weight == "nf4" %}
            let w{{ j }} = load_codes(col + {{ j }}u, k4 / 2u + {{ run }}u);
            of_block[{{ j }}] += dot(p, w{{ j }}.a) + dot(q, w{{ j }}.b);
            {% else %}
            let w{{ j }} = load_weight(col + {{ j }}u, k4 / 2u + {{ run }}u);
            sum[{{ j }}] += dot(p, w{{ j }}.a) + dot(q, w{{ j }}.b);
            {% endif %}
            {% endfor %}
        }
        {% endfor %}
        {% if weight == "nf4" %}
        {% for j in range(4) %}
        sum[{{ j }}] += of_block[{{ j }}] * scales[(col + {{ j }}u) * (params.depth / 64u) + k4 / 16u];
        {% endfor %}
        {% endif %}
    }
    sum *= params.scale;

    if params.rank > 0u {
        {% set column = "col" %}
        {% include "shared/section.wgsl" %}
        let t_offset = params.t_offset[section];
        if t_offset != NONE {
            let rank4 = params.rank / 4u;
            let b_base = params.b_base[section] / 4u + (col - section_start) * rank4;
            for (var r = 0u; r < rank4; r++) {
                let p = t[(row * params.t_stride + t_offset) / 4u + r];
                sum += vec4<f32>(
                    {% for j in range(4) %}
                    dot(p, lora_b[b_base + {{ j }}u * rank4 + r]),
                    {% endfor %}
                );
            }
        }
    }
    if own_col == col && index < params.rows * tiles {
        let place = (row * params.y_stride + params.y_offset + col) / 4u;
        if params.add_residual != 0u {
            sum += residual[place];
        }
        y[place] = sum;
    }
}
