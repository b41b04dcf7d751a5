// out = param + scale * z        z standard normal (Malladi et al. 2023, algorithm 1, PerturbParameters)
//
// param, out [n] f32, n a multiple of 4: the elements from `first` on of a flat buffer. Its places in their order say which
// matrices lie there, and padding is copied; among the elements are those from first_place up to end_place.
// z is a function of (shift.seed, shift.sample, the place's stream, row, column). With a scale of 0 all is copied.
//
// An invocation owns four elements.
{% from "shared/each_element.wgsl" import each_element %}
{{ params("mezo::PerturbParams") }}
{{ host_struct("mezo::Shift") }}
{% include "shared/direction.wgsl" %}
@group(0) @binding(1) var<storage, read> places: array<Place>;
@group(0) @binding(2) var<storage, read> shift: Shift;
@group(0) @binding(3) var<storage, read> param: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> out: array<vec4<f32>>;

{% call each_element("params.n / 4u") %}
    if (shift.scale == 0.0) {
        out[index] = param[index];
        return;
    }
    let element = params.first + 4u * index;
    let place = place_of(element, params.first_place, params.end_place);
    let four = four_of(place, element);
    let z = normal_four(four.counter, place.stream, shift.seed, shift.sample);
    out[index] = param[index] + select(vec4<f32>(0.0), shift.scale * z, four.is_real);
{% endcall %}
