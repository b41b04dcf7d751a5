// Where an invocation's block of results lies. The including shader sets `tile`, with it `lanes`
// (invocations of a subgroup that share their rows, or 0), `rows` and `size` (of a workgroup).
//
// direct: 8 rows × 8 columns, straight from storage; works everywhere, for adapters that compute on
//   the CPU and have no subgroups of a known size.
// subgroup4, subgroup8: a workgroup is one subgroup and owns 32 rows; each invocation has 8 columns
//   of them, loads its share of the rows and gets the others' by broadcast. For CPU adapters, where a
//   load costs as much as many multiplications and every invocation of a subgroup one SIMD lane.
// shared: a workgroup of 64 owns 64 × 64, staged in workgroup memory; an invocation has 8 × 8. For GPUs.
struct Block {
    row: u32,
    col: u32,
    // The first row and column of the workgroup.
    tile_row: u32,
    tile_col: u32,
}

fn block_of(group: u32, cols: u32, thread: u32) -> Block {
    {% if tile == "direct" %}
    let index = group * {{ size }}u + thread;
    let row = index / (cols / 8u) * 8u;
    let col = index % (cols / 8u) * 8u;
    return Block(row, col, row, col);
    {% else %}
    {% set width = 8 * lanes if lanes else 64 %}
    let tiles = (cols + {{ width - 1 }}u) / {{ width }}u;
    let row = group / tiles * {{ 32 if lanes else 64 }}u;
    let col = group % tiles * {{ width }}u;
    {% if lanes %}
    return Block(row, col + thread * 8u, row, col);
    {% else %}
    return Block(row + thread / 8u * 8u, col + thread % 8u * 8u, row, col);
    {% endif %}
    {% endif %}
}
