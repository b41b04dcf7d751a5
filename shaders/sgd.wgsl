// param <- param * (1 - lr * weight_decay, or 1 without `decays`) - lr * (grad * clip)
//
// torch.optim.SGD without momentum, whose weight decay is part of the gradient.
//
// param [n], grad [n] f32, n a multiple of 4; stats [4] f32 from grad_norm_finish: clip at 1, finite at 2; hyper as the host
// computes it in f64 for each step. Where the gradient is not finite nothing is changed.
//
// An invocation owns four elements.
{% from "shared/each_element.wgsl" import each_element %}
{{ params("sgd::Params") }}
{{ host_struct("sgd::Hyper") }}
@group(0) @binding(1) var<storage, read> grad: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> stats: array<f32>;
@group(0) @binding(3) var<storage, read> hyper: Hyper;
@group(0) @binding(4) var<storage, read_write> param: array<vec4<f32>>;

{% call each_element("params.n / 4u") %}
    if (stats[2] != 1.0) {
        return;
    }
    let decay = select(1.0, hyper.decay, params.decays == 1u);
    param[index] = param[index] * decay - hyper.learning_rate * (grad[index] * stats[1]);
{% endcall %}
