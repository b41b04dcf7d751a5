// stats = [(finite, 0, 0, 0), then for each sample (loss ahead, loss behind, slope, 0)]
//     slope = sums[j].z / distance        (the projected gradient, Malladi et al. 2023, algorithm 1)
//     finite = 1 where all of these are finite, else 0
//
// sums [samples] vec4 from mezo_losses. WGSL lets a compiler assume that NaN and infinities never occur, so what is not
// finite is recognised by its bits.
{{ params("mezo::FinishParams") }}
@group(0) @binding(1) var<storage, read> sums: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> stats: array<vec4<f32>>;

const EXPONENT = 0x7f800000u;

@compute @workgroup_size(1)
fn main() {
    var is_finite = true;
    for (var j = 0u; j < params.samples; j++) {
        let sum = sums[j];
        let of_sample = vec4<f32>(sum.xy, sum.z / params.distance, 0.0);
        let is_special = (bitcast<vec4<u32>>(of_sample) & vec4<u32>(EXPONENT)) == vec4<u32>(EXPONENT);
        is_finite = is_finite && !any(is_special);
        stats[1u + j] = of_sample;
    }
    stats[0] = vec4<f32>(select(0.0, 1.0, is_finite), 0.0, 0.0, 0.0);
}
