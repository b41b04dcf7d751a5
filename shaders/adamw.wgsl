// g = grad * clip
// m <- beta1 * m + (1 - beta1) * g
// v <- beta2 * v + (1 - beta2) * g^2
// param <- param * (1 - lr * weight_decay, or 1 without `decays`) - (lr / bias1) * m / (sqrt(v) / sqrt(bias2) + eps)
//     bias1 = 1 - beta1^step, bias2 = 1 - beta2^step
//
// AdamW: Loshchilov and Hutter 2019 (arXiv:1711.05101), algorithm 2, with epsilon outside the root as
// in torch.optim.AdamW.
//
// param, m, v [n], grad [n] f32, n a multiple of 4; stats [4] f32 from grad_norm_finish: clip at 1,
// finite at 2, whether the step before was at 3; hyper as the host computes it in f64 for each step, first for
// where the step before was not applied, then for where it was. Where the gradient is not finite nothing is
// changed.
//
// An invocation owns four elements.
{% from "shared/each_element.wgsl" import each_element %}
{{ params("adamw::Params") }}
{{ host_struct("adamw::Hyper") }}
@group(0) @binding(1) var<storage, read> grad: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> stats: array<f32>;
@group(0) @binding(3) var<storage, read> hypers: array<Hyper, 2>;
@group(0) @binding(4) var<storage, read_write> param: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read_write> m: array<vec4<f32>>;
@group(0) @binding(6) var<storage, read_write> v: array<vec4<f32>>;

{% call each_element("params.n / 4u") %}
    if (stats[2] != 1.0) {
        return;
    }
    let hyper = hypers[select(0u, 1u, stats[3] == 1.0)];
    let g = grad[index] * stats[1];
    let new_m = hyper.beta1 * m[index] + hyper.one_minus_beta1 * g;
    let new_v = hyper.beta2 * v[index] + hyper.one_minus_beta2 * (g * g);
    let denominator = sqrt(new_v) / hyper.root_bias2 + hyper.eps;
    let decay = select(1.0, hyper.decay, params.decays == 1u);
    param[index] = param[index] * decay - hyper.step_size * (new_m / denominator);
    m[index] = new_m;
    v[index] = new_v;
{% endcall %}
