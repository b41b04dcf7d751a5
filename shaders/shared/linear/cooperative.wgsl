// A tile's product by cooperative matrices (SPV_KHR_cooperative_matrix), by way of `results`. A subgroup owns `own` × `own` of the 64 × 64 results.
{% set own = {8: 16, 32: 32}[subgroup_size] %}
{% set count = own // side %}
let own_row = subgroup / {{ 64 // own }}u * {{ own }}u;
let own_col = subgroup % {{ 64 // own }}u * {{ own }}u;
{% for i in range(count) %}
{% for j in range(count) %}
var m{{ i }}_{{ j }} = coop_mat{{ side }}x{{ side }}<f32, C>();
{% endfor %}
{% endfor %}
if thread == 0u { atomicStore(&largest, 0u); }
workgroupBarrier();
var magnitude = vec4<f32>();
for (var row = tile.x + thread / 8u; row < min(tile.x + 64u, params.rows); row += 16u) {
    for (var quad = thread % 8u; quad < {{ inner }} / 4u; quad += 8u) {
        magnitude = max(magnitude, abs({{ input }}[(row * {{ input_stride }} + {{ input_offset }}) / 4u + quad]));
    }
}
let greater = max(magnitude.xy, magnitude.zw);
atomicMax(&largest, bitcast<u32>(max(greater.x, greater.y)));
workgroupBarrier();
let input_scale = f16_scale(atomicLoad(&largest));

for (var first = 0u; first < {{ inner }}; first += 32u) {
    // The inner dimension may end within what is staged: the rest is then zero.
    {% for item in range(4) %}
    {
        let row = {{ 16 * item }}u + thread / 8u;
        let quad = first / 4u + thread % 8u;
        let at = (min(tile.x + row, last_row) * {{ input_stride }} + {{ input_offset }}) / 4u;
        let value = {{ input }}[at + min(quad, {{ inner }} / 4u - 1u)] * input_scale;
        let inside = select(vec4<f32>(), value, vec4<bool>(quad * 4u < {{ inner }}));
        // Not by converting there and back, which drivers take for the value itself.
        let rounded = nearest_f16(inside);
        high[row * 10u + thread % 8u] = vec4<f16>(rounded);
        low[row * 10u + thread % 8u] = vec4<f16>(inside - rounded);
    }
    {% endfor %}
    {% for item in range(2) %}
    {
        {% if is_transposed %}
        let n = {{ 16 * item }}u + thread / 8u;
        let is_inside = vec4<bool>(first + n < {{ inner }});
        let w = load_weight(min(first + n, {{ inner }} - 1u), min(tile.y / 8u + thread % 8u, params.depth / 8u - 1u));
        let place = n * 18u + thread % 8u * 2u;
        {% else %}
        let column = {{ 32 * item }}u + thread / 4u;
        let k8 = first / 8u + thread % 4u;
        let is_inside = vec4<bool>(k8 * 8u < {{ inner }});
        let w = load_weight(min(tile.y + column, params.cols - 1u), min(k8, {{ inner }} / 8u - 1u));
        let place = column * 10u + thread % 4u * 2u;
        {% endif %}
        ws[place] = staged(select(vec4<f32>(), w.a, is_inside));
        ws[place + 1u] = staged(select(vec4<f32>(), w.b, is_inside));
    }
    {% endfor %}
    workgroupBarrier();
    {% for k in range(0, 32, side) %}
    {
        {% for j in range(count) %}
        {% if is_transposed %}
        let w{{ j }} = coopLoadT<coop_mat{{ side }}x{{ side }}<f16, B>>(&ws[{{ k * 18 }}u + (own_col + {{ j * side }}u) / 4u], 18u);
        {% else %}
        let w{{ j }} = coopLoad<coop_mat{{ side }}x{{ side }}<f16, B>>(&ws[(own_col + {{ j * side }}u) * 10u + {{ k // 4 }}u], 10u);
        {% endif %}
        {% endfor %}
        {% for i in range(count) %}
        {% for part in ["high", "low"] %}
        let {{ part }}{{ i }} = coopLoadT<coop_mat{{ side }}x{{ side }}<f16, A>>(&{{ part }}[(own_row + {{ i * side }}u) * 10u + {{ k // 4 }}u], 10u);
        {% for j in range(count) %}
        m{{ i }}_{{ j }} = coopMultiplyAdd({{ part }}{{ i }}, w{{ j }}, m{{ i }}_{{ j }});
        {% endfor %}
        {% endfor %}
        {% endfor %}
    }
    {% endfor %}
    workgroupBarrier();
}
{% for i in range(count) %}
{% for j in range(count) %}
coopStoreT(m{{ i }}_{{ j }}, &results[(own_row + {{ i * side }}u) * 16u + (own_col + {{ j * side }}u) / 4u], 16u);
{% endfor %}
{% endfor %}
workgroupBarrier();
{% for i in range(rows) %}
c{{ i }}a = results[(thread / 8u * {{ rows }}u + {{ i }}u) * 16u + thread % 8u * 2u] / input_scale;
c{{ i }}b = results[(thread / 8u * {{ rows }}u + {{ i }}u) * 16u + thread % 8u * 2u + 1u] / input_scale;
{% endfor %}
