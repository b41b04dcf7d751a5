// A product with a frozen weight, Out = scale · In·W' + panel + residual, where W' is Wᵀ or, if `is_transposed`
// says so, W itself. The including shader sets
//   input, input_stride, input_offset      the bound In and where its rows lie
//   output, output_stride, output_offset   the bound Out, whose rows the residual shares
//   inner, across                          the size that is summed over, and the columns of Out
//   t, factor, panel                       the bound tensors of the LoRA panel, and the file that adds it
//
// An invocation owns `rows` × 8 results, every `step`th row as two vec4: the registers c0a and c0b, c1a and c1b, …
// In subgroup4 alone they are an array in memory, `c`, and are finished `last` rows at a time.
{% include "shared/linear/sizes.wgsl" %}
{% if is_half %}
enable f16;
{% endif %}
{% if side %}
enable wgpu_cooperative_matrix;
{% endif %}
{% include "shared/linear/params.wgsl" %}
{% include "shared/linear/tile.wgsl" %}
{% include "shared/weight.wgsl" %}
{% include "shared/linear/bindings.wgsl" %}
{% if height %}
{% include "shared/linear/as_staged.wgsl" %}
{% endif %}
{% if side %}
{% include "shared/linear/cooperative_memory.wgsl" %}
{% elif height %}
// {{ stage }} values of the inner dimension, 6 to 12 KiB in all: In as [inner/4][row], W as [k/4][column], or as
// [n][k/4] where it is transposed.
var<workgroup> inputs: array<vec4<f32>, {{ stage // 4 * height }}>;
var<workgroup> ws: array<Staged, {{ stage * 16 }}>;
{% endif %}

@compute @workgroup_size({{ size }})
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
    {% if side %}
    @builtin(subgroup_id) subgroup: u32,
    {% endif %}
) {
    let tile = tile_of(group.x + group.y * groups.x, thread, {{ across }});
    let block = tile + block_in_tile(thread);
    let row0 = block.x;
    let last_row = params.rows - 1u;
    // Invocations past the last column still share in loads and exchanges; they write nothing.
    let col0 = min(block.y, {{ across }} - 8u);
    {% if is_transposed %}
    let col8 = col0 / 8u;
    {% endif %}
    {% if in_memory %}
    var c: array<array<vec4<f32>, {{ 2 * last }}>, {{ rows // last }}>;
    {% else %}
    {% for i in range(rows) %}
    var c{{ i }}a = vec4<f32>();
    var c{{ i }}b = vec4<f32>();
    {% endfor %}
    {% endif %}
    {% if decode in ["memory", "lanes"] and weight in ["nf4", "nf4_any", "fp4", "fp4_any"] %}
    fill_code_table(thread, {{ size }}u);
    {% endif %}

    {% if lanes %}
    {% include "shared/linear/lanes.wgsl" %}
    {% elif side %}
    {% include "shared/linear/cooperative.wgsl" %}
    {% elif height %}
    {% include "shared/linear/staged.wgsl" %}
    {% else %}
    {% include "shared/linear/direct.wgsl" %}
    {% endif %}
    {% include "shared/linear/epilogue.wgsl" %}
}
