// Where an invocation's block of results lies. The including shader sets `tile`, with it `lanes`
// (invocations of a subgroup that share their rows, or 0), `height` (rows staged together, or 0),
// `rows` (of a block), `step` (between them) and `size` (of a workgroup).
//
// direct: 8 rows × 8 columns, a tile of its own, straight from storage; works everywhere, for adapters that compute on
//   the CPU and have no subgroups of a known size.
// subgroup4, subgroup8: a workgroup is one subgroup and owns 32 rows; each invocation has 8 columns
//   of them, loads its share of the rows and gets the others' from its neighbours. For CPU adapters, where a
//   load costs as much as many multiplications and every invocation of a subgroup one SIMD lane.
// shared32, shared64, shared128: as many invocations own so many rows × 64 columns, staged 16 deep in
//   workgroup memory; an invocation has 8 columns of every 4th, 8th or 16th row, so that neighbours read
//   from different banks. For GPUs.
// half64, half128: the same with the weight staged as f16, which halves what is read of it and lets
//   half64 stage 32 deep. For GPUs that have f16.
// cooperative8, cooperative16: 128 invocations own 64 × 64 and multiply by cooperative matrices of so
//   many rows and columns; they finish 4 × 8 each. For subgroups of 8 and 32, outside browsers.
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
