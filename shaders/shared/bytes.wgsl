// Signed bytes, the first in the lowest bits of a word.
@group(0) @binding(2) var<storage, read> codes: array<u32>;

fn four_of(word: u32) -> vec4<f32> {
    return vec4<f32>(bitcast<vec4<i32>>(vec4<u32>(word) << vec4<u32>(24u, 16u, 8u, 0u)) >> vec4<u32>(24u));
}

fn bytes_of(row: u32, k8: u32) -> Eight {
    let first = (row * (params.depth / 8u) + k8) * 2u;
    return Eight(four_of(codes[first]), four_of(codes[first + 1u]));
}
