// out[row, block] = map[code] * absmax + offset, the scales of NF4 blocks that are quantised to 8 bits themselves
//
// Each eight rows of nested [octets, 2 + groups + 2 blocks] are (where their scales begin in their first group of 256 and,
// times 256, how many there are; offset; the absmax of each group) and the codes, four a word. map is bitsandbytes' signed
// dynamic one, whose values below its zero are the negatives of those above it. out [8 octets, blocks] f32, 0 for rows that
// are not there.
//
// An invocation owns a word of codes.
{% from "shared/each_element.wgsl" import each_element %}
{{ params("nested_scales::Params") }}
@group(0) @binding(1) var<storage, read> nested: array<u32>;
@group(0) @binding(2) var<storage, read_write> out: array<f32>;

// The values above zero, which is code 127.
var<private> upper: array<f32, 128> = array<f32, 128>(
    5.5000004e-7, 3.2500002e-6, 7.75e-6, 2.1249998e-5, 4.375e-5, 6.625e-5, 8.875e-5, 1.5625001e-4,
    2.6875004e-4, 3.8125002e-4, 4.9375003e-4, 6.062501e-4, 7.1875006e-4, 8.3125e-4, 9.437501e-4, 0.0012812499,
    0.00184375, 0.00240625, 0.00296875, 0.0035312497, 0.00409375, 0.0046562497, 0.0052187503, 0.00578125,
    0.00634375, 0.00690625, 0.00746875, 0.00803125, 0.00859375, 0.009156249, 0.00971875, 0.01140625,
    0.01421875, 0.01703125, 0.019843752, 0.02265625, 0.02546875, 0.028281251, 0.03109375, 0.03390625,
    0.036718752, 0.03953125, 0.042343747, 0.04515625, 0.04796875, 0.05078125, 0.05359375, 0.05640625,
    0.059218753, 0.06203125, 0.06484375, 0.067656256, 0.070468746, 0.07328125, 0.07609375, 0.07890625,
    0.08171876, 0.08453125, 0.08734375, 0.09015625, 0.092968754, 0.09578126, 0.09859375, 0.107031256,
    0.12109375, 0.13515624, 0.14921875, 0.16328125, 0.17734376, 0.19140625, 0.20546874, 0.21953125,
    0.23359375, 0.24765624, 0.26171875, 0.27578127, 0.28984374, 0.30390626, 0.31796873, 0.33203125,
    0.34609374, 0.36015624, 0.37421876, 0.38828123, 0.40234375, 0.41640624, 0.43046874, 0.44453126,
    0.45859373, 0.47265625, 0.4867187, 0.50078124, 0.5148437, 0.5289062, 0.54296875, 0.5570313,
    0.5710938, 0.58515626, 0.5992187, 0.61328125, 0.6273438, 0.6414063, 0.65546876, 0.6695312,
    0.68359375, 0.6976563, 0.7117188, 0.72578126, 0.7398437, 0.75390625, 0.7679688, 0.78203124,
    0.79609376, 0.8101562, 0.82421875, 0.8382813, 0.85234374, 0.86640626, 0.8804687, 0.89453125,
    0.9085938, 0.92265624, 0.93671876, 0.9507812, 0.96484375, 0.9789063, 0.99296874, 1.0,
);

fn value_of(code: u32) -> f32 {
    if (code == 127u) {
        return 0.0;
    }
    let magnitude = upper[select(126u - code, code - 128u, code > 127u)];
    return select(-magnitude, magnitude, code > 127u);
}

{% call each_element("2u * params.octets * params.blocks") %}
    let octet = index / (2u * params.blocks);
    let word = index % (2u * params.blocks);
    let head = octet * (2u + params.groups + 2u * params.blocks);
    let begin = nested[head] % 256u;
    let count = nested[head] / 256u;
    let codes = nested[head + 2u + params.groups + word];
    for (var i = 0u; i < 4u; i++) {
        let at = 4u * word + i;
        let absmax = bitcast<f32>(nested[head + 2u + (begin + at) / 256u]);
        // `zero` keeps compilers from making one rounding of two.
        let product = bitcast<u32>(value_of((codes >> (8u * i)) & 255u) * absmax) ^ params.zero;
        out[4u * index + i] = select(0.0, bitcast<f32>(product) + bitcast<f32>(nested[head + 1u]), at < count);
    }
{% endcall %}
