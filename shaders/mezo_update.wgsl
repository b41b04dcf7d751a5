// param <- param * (1 - lr * weight_decay, or 1 without `decays`) - lr / samples * sum of slope[j] * z[j] over the samples
//
// param [n] f32, n a multiple of 4; z as in mezo_perturb; stats from mezo_finish: finite at 0, the slope of sample j at
// 4 + 4 j + 2. Where something is not finite nothing is changed.
//
// An invocation owns four elements.
{% from "shared/each_element.wgsl" import each_element %}
{{ params("mezo::UpdateParams") }}
{{ host_struct("mezo::Hyper") }}
{% include "shared/direction.wgsl" %}
@group(0) @binding(1) var<storage, read> places: array<Place>;
@group(0) @binding(2) var<storage, read> hyper: Hyper;
@group(0) @binding(3) var<storage, read> stats: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> param: array<vec4<f32>>;

{% call each_element("params.n / 4u") %}
    if (stats[0].x != 1.0) {
        return;
    }
    let place = place_of(4u * index, 0u, params.places);
    let four = four_of(place, 4u * index);
    var step = vec4<f32>(0.0);
    for (var sample = 0u; sample < params.samples; sample++) {
        let z = normal_four(four.counter, place.stream, hyper.seed, sample);
        step += hyper.rate * stats[1u + sample].z * z;
    }
    let decay = select(1.0, hyper.decay, params.decays == 1u);
    param[index] = param[index] * decay - select(vec4<f32>(0.0), step, four.is_real);
{% endcall %}
