// The direction of a zeroth-order step: four of its values, or none in padding, see mezo.rs.
{% include "shared/pcg4d.wgsl" %}
{{ host_struct("mezo::Place") }}

// ln(u) of u = (bits + 1) * 2^-24 with bits < 2^24, within 1.5 units of the last place: WGSL's own logarithm may be far off on
// some adapters, and a run must go on elsewhere as it began.
fn logarithm(bits: vec4<u32>) -> vec4<f32> {
    let number = bitcast<vec4<u32>>(vec4<f32>(bits + vec4<u32>(1u)));
    // Mantissas from sqrt(1/2) to sqrt(2), for which the series of 2 artanh((m - 1) / (m + 1)) is short.
    let exponent = bitcast<vec4<i32>>(number - vec4<u32>(0x3f3504f3u)) >> vec4<u32>(23u);
    let mantissa = bitcast<vec4<f32>>(number - bitcast<vec4<u32>>(exponent << vec4<u32>(23u)));
    let s = (mantissa - 1.0) / (mantissa + 1.0);
    let square = s * s;
    let series = s * (2.0 + square * (0.6666667 + square * (0.4 + square * (0.2857143 + square * 0.22222222))));
    return vec4<f32>(exponent - vec4<i32>(24)) * 0.6931472 + series;
}

// Cosine and sine of a whole turn's share that the bits are of 2^32: of an eighth turn to either side, then turned by quarters.
fn on_circle(bits: u32) -> vec2<f32> {
    let angle = (f32((bits >> 6u) & 0xffffffu) * 5.9604645e-8 - 0.5) * 1.5707964;
    let square = angle * angle;
    let sine = angle + angle * square * (-0.16666667 + square * (8.3333333e-3 + square * (-1.984127e-4 + square * 2.7557319e-6)));
    let cosine = 1.0 + square * (-0.5 + square * (4.1666667e-2 + square * (-1.3888889e-3 + square * 2.4801587e-5)));
    let half = select(vec2<f32>(cosine, sine), vec2<f32>(-sine, cosine), (bits & 0x40000000u) != 0u);
    return select(half, -half, (bits & 0x80000000u) != 0u);
}

// Four standard normal numbers by Box and Muller's method (1958).
fn normal_four(counter: u32, stream: u32, seed: u32, sample: u32) -> vec4<f32> {
    let random = pcg4d(vec4<u32>(counter, stream, seed, 1u + sample));
    let radius = sqrt(-2.0 * logarithm(random >> vec4<u32>(8u)));
    return vec4<f32>(radius.x * on_circle(random.y), radius.z * on_circle(random.w));
}

// The last of the places from `first` up to `end` that begins at `element` or before it, else the first of them; they lie
// in their order.
fn place_of(element: u32, first: u32, end: u32) -> Place {
    var low = first;
    var high = end;
    while (high - low > 1u) {
        let middle = (low + high) / 2u;
        if (places[middle].first <= element) {
            low = middle;
        } else {
            high = middle;
        }
    }
    return places[low];
}

// Where four values from `element` on are in the matrix of `place`: how many fours lie before them, and which are real.
struct Four {
    counter: u32,
    is_real: vec4<bool>,
}

fn four_of(place: Place, element: u32) -> Four {
    let at = element - place.first;
    let row = at / place.stride;
    let col = at % place.stride;
    let cols = vec4<u32>(col) + vec4<u32>(0u, 1u, 2u, 3u);
    let is_inside = element >= place.first && element < place.end;
    let counter = place.counter + row * ((place.cols + 3u) / 4u) + col / 4u;
    return Four(counter, (cols < vec4<u32>(place.cols)) & vec4<bool>(is_inside));
}
