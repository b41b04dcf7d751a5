// A tile's product through workgroup memory, `stage` values of the inner dimension at a time. The inner dimension may
// end within what is staged: the rest is then zero.
{% from "shared/linear/products.wgsl" import add_rows, rows_of %}
{% if is_transposed %}
let last_col8 = params.depth / 8u - 1u;
{% else %}
let last_col = params.cols - 1u;
{% endif %}
for (var start = 0u; start < {{ inner }}; start += {{ stage }}u) {
    workgroupBarrier();
    let input_row = (min(tile.x + thread, last_row) * {{ input_stride }} + {{ input_offset }}) / 4u;
    {% for quad in range(stage // 4) %}
    let value{{ quad }} = {{ input }}[input_row + min(start / 4u + {{ quad }}u, {{ inner }} / 4u - 1u)];
    inputs[{{ height * quad }}u + thread] = select(vec4<f32>(), value{{ quad }}, vec4<bool>(start + {{ 4 * quad }}u < {{ inner }}));
    {% endfor %}
    {% for item in range(8 * stage // height) %}
    {
        {% if is_transposed %}
        let n = ({{ item * height }}u + thread) / 8u;
        let is_inside = vec4<bool>(start + n < params.cols);
        let w = load_weight(min(start + n, params.cols - 1u), min(tile.y / 8u + thread % 8u, last_col8));
        let place = n * 16u + thread % 8u;
        ws[place] = staged(select(vec4<f32>(), w.a, is_inside));
        ws[place + 8u] = staged(select(vec4<f32>(), w.b, is_inside));
        {% else %}
        // Neighbours write to neighbouring places, and so to different banks.
        let place = {{ item * height }}u + thread;
        let eight = place / 64u;
        let column = place % 8u * 8u + place / 8u % 8u;
        let is_inside = vec4<bool>(start + 8u * eight < params.depth);
        let k8 = min(start / 8u + eight, params.depth / 8u - 1u);
        let w = load_weight(min(tile.y + column, last_col), k8);
        ws[eight * 64u + place] = staged(select(vec4<f32>(), w.a, is_inside));
        ws[eight * 64u + place + 64u] = staged(select(vec4<f32>(), w.b, is_inside));
        {% endif %}
    }
    {% endfor %}
    workgroupBarrier();
    for (var turn = 0u; turn < {{ stage // 4 }}u; turn++) {
        {% if is_transposed %}
        {% for j in range(4) %}
        let w{{ j }} = Eight(
            vec4<f32>(ws[(turn * 4u + {{ j }}u) * 16u + thread % 8u]),
            vec4<f32>(ws[(turn * 4u + {{ j }}u) * 16u + thread % 8u + 8u]),
        );
        {% endfor %}
        {% else %}
        {% for j in range(8) %}
        let quad{{ j }} = vec4<f32>(ws[turn * 64u + {{ 8 * j }}u + thread % 8u]);
        {% endfor %}
        {{ rows_of("quad") }}
        {% endif %}
        {% for i in range(rows) %}
        {{ add_rows("c%da" | format(i), "c%db" | format(i), "inputs[turn * %du + thread / 8u + %du]" | format(height, i * step)) }}
        {% endfor %}
    }
}
