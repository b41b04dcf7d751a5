// Where an invocation's block of results lies.
{% set rows_of_tile = rows if lanes else height if height else 8 %}
{% set owns_one_tile = lanes > 0 or height > 0 %}
{% set width = 8 * lanes if lanes else 64 if height else 8 %}

// The first row and column of the tile that an invocation of workgroup `group` works on, over `cols` columns.
fn tile_of(group: u32, thread: u32, cols: u32) -> vec2<u32> {
    let index = {{ "group" if owns_one_tile else "group * %du + thread" | format(size) }};
    let across = (cols + {{ width - 1 }}u) / {{ width }}u;
    return vec2<u32>(index / across * {{ rows_of_tile }}u, index % across * {{ width }}u);
}

// Where in its tile an invocation's block begins.
fn block_in_tile(thread: u32) -> vec2<u32> {
    {% if lanes %}
    return vec2<u32>(0u, thread * 8u);
    {% elif height %}
    return vec2<u32>(thread / 8u * {{ rows if step == 1 else 1 }}u, thread % 8u * 8u);
    {% else %}
    return vec2<u32>();
    {% endif %}
}
