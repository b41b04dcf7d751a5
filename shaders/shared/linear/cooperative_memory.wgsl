// What cooperative matrices multiply lies in workgroup memory: 32 values of the inner dimension at a
// time, rows padded by 16 bytes against bank conflicts. 31 KiB in all.
//
// Inputs are the sum of two f16, so that only W is rounded, as in the half tiles.
var<workgroup> high: array<vec4<f16>, 640>;
var<workgroup> low: array<vec4<f16>, 640>;
var<workgroup> ws: array<vec4<f16>, 640>;
var<workgroup> results: array<vec4<f32>, 1024>;
var<workgroup> largest: atomic<u32>;

// The power of two that brings the largest of a tile's inputs just below 2^15, by the bits of its
// magnitude. Sums then stay far from the largest f32, and the scale's inverse is a normal number.
fn f16_scale(magnitude: u32) -> f32 {
    return bitcast<f32>(clamp(268u - min(magnitude >> 23u, 255u), 1u, 240u) << 23u);
}
