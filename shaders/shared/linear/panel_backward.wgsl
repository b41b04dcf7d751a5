// dT·A of all the stacked layers at once.
{% from "shared/linear/shared_rows.wgsl" import shared_row %}
{% from "shared/linear/products.wgsl" import add_rows, add_dots, columns_of %}
for (var r = 0u; r < params.rank; r += 4u) {
    {% for j in range(4) %}
    let a{{ j }} = (r + {{ j }}u) * (params.depth / 4u) + col8 * 2u;
    let w{{ j }} = Eight(lora_a[a{{ j }}], lora_a[a{{ j }} + 1u]);
    {% endfor %}
    {% if lanes %}
    {{ columns_of("w", 0, "l") }}
    {% for i in range(last // lanes) %}
    let h{{ i }} = dt[(min(first + {{ i * lanes }}u + thread, last_row) * params.t_stride + r) / 4u];
    {% endfor %}
    {% for i in range(last) %}
    {{ add_dots("c%da" | format(i), "c%db" | format(i), [shared_row("h%d" | format(i // lanes), i, lanes)], ["l"]) }}
    {% endfor %}
    {% else %}
    {% for i in range(rows) %}
    {{ add_rows("c%da" | format(i), "c%db" | format(i), "dt[(min(row0 + %du, last_row) * params.t_stride + r) / 4u]" | format(i * step)) }}
    {% endfor %}
    {% endif %}
}
