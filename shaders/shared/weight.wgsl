// A frozen weight W [N, K], read the way it is stored: load_weight gives eight consecutive values of a row.
//
// `params.depth` is K rounded up to a multiple of 8; the values past K are zero. A format is a file by its name, twin of
// `src/format/weight/`. It sets `of_scale` to how many runs of eight values share what scales them, from a multiple of that
// many on, or to 0 where that is not so; load_weight is then load_scaled with what load_scale gives. Formats that the tile
// `direct` reads give load_quad too, four values. The including shader sets `weight` to the format and `decode` to how the
// formats of 4-bit codes find the value of one:
//   tree     by selects;
//   memory   in a table in workgroup memory, after fill_code_table and a barrier;
//   pairs    in a private table of all pairs of values;
//   lanes    in a table that 8 invocations of a subgroup hold, two values each, after fill_code_table.

struct Eight {
    a: vec4<f32>,
    b: vec4<f32>,
}

{% include "shared/weight/" ~ weight ~ ".wgsl" %}
