// out = param + scale * z        z standard normal (Malladi et al. 2023, algorithm 1, PerturbParameters)
//
// param, out [n] f32, n a multiple of 4; places in their order say which matrices lie there, and padding is copied.
// z is a function of (hyper.seed, sample, the place's stream, row, column).
//
// An invocation owns four elements.
{% from "shared/each_element.wgsl" import each_element %}
{{ params("mezo::PerturbParams") }}
{{ host_struct("mezo::Hyper") }}
{% include "shared/direction.wgsl" %}
@group(0) @binding(1) var<storage, read> places: array<Place>;
@group(0) @binding(2) var<storage, read> hyper: Hyper;
@group(0) @binding(3) var<storage, read> param: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> out: array<vec4<f32>>;

{% call each_element("params.n / 4u") %}
    let place = place_of(4u * index, params.places);
    let four = four_of(place, 4u * index);
    let z = normal_four(four.counter, place.stream, hyper.seed, params.sample);
    out[index] = param[index] + select(vec4<f32>(0.0), params.scale * z, four.is_real);
{% endcall %}
