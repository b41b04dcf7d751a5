// Of pair i, with r = logps - reference of its chosen (c) and rejected (r) answer and x = beta * (rc - rr):
//     loss = sigmoid  * -log s(x)
//          + hinge    * max(0, 1 - x)
//          + ipo      * (rc / tokens_c - rr / tokens_r - 1 / (2 beta))^2
//          + robust   * (-(1 - e) log s(x) + e log s(-x)) / (1 - 2 e)              e = label_smoothing
//          + apo_zero * (1 - s(beta rc) + s(beta rr))
//          + apo_down * (s(beta rc) + 1 - s(x))
//          + sft      * nll of all chosen answers / tokens                          s is the logistic function
// tally  += means over the pairs; the reward of an answer is beta * r
// weights = by sequence, - d(share * mean loss) / d(logp of the answer), and what nll makes every scored token weigh
//
// One workgroup, see shared/preference.wgsl.
{{ params("preference::DpoParams") }}
{% include "shared/preference.wgsl" %}
{% include "shared/pairs.wgsl" %}
@group(0) @binding(5) var<storage, read> references: array<f32>;
@group(0) @binding(6) var<storage, read_write> weights: array<vec2<f32>>;
@group(0) @binding(7) var<storage, read_write> tally: array<vec2<f32>>;

@compute @workgroup_size(64)
fn main(@builtin(local_invocation_index) lane: u32) {
    let count = f32(batch.count);
    let beta = params.beta;
    let e = params.label_smoothing;
    var mine: array<f32, MEASURES>;
    for (var pair = lane; pair < batch.count; pair += 64u) {
        let of_answers = vec2<f32>(logps[2u * pair], logps[2u * pair + 1u]);
        let ratios = of_answers - vec2<f32>(references[2u * pair], references[2u * pair + 1u]);
        let lengths = vec2<f32>(f32(sequences[2u * pair].tokens), f32(sequences[2u * pair + 1u].tokens));
        let x = beta * (ratios.x - ratios.y);
        let right = sigmoid(x);
        let wrong = sigmoid(-x);

        // By a difference of ratios alone: the loss and its derivative by x.
        var loss = params.sigmoid * surprise(x) + params.hinge * max(1.0 - x, 0.0);
        var slope = -params.sigmoid * wrong - select(0.0, params.hinge, x < 1.0);
        if (params.robust != 0.0) {
            let scale = params.robust / (1.0 - 2.0 * e);
            loss += scale * ((1.0 - e) * surprise(x) - e * surprise(-x));
            slope -= scale * ((1.0 - e) * wrong + e * right);
        }
        loss += params.apo_down * wrong;
        slope -= params.apo_down * right * wrong;
        var gradient = beta * slope * vec2<f32>(1.0, -1.0);

        // By each ratio.
        if (params.ipo != 0.0) {
            let distance = ratios.x / lengths.x - ratios.y / lengths.y - 0.5 / beta;
            loss += params.ipo * distance * distance;
            gradient += params.ipo * 2.0 * distance * vec2<f32>(1.0, -1.0) / lengths;
        }
        let of_chosen = sigmoid(beta * ratios.x);
        let of_rejected = sigmoid(beta * ratios.y);
        loss += params.apo_zero * (sigmoid(-beta * ratios.x) + of_rejected) + params.apo_down * of_chosen;
        gradient.x += (params.apo_down - params.apo_zero) * beta * of_chosen * sigmoid(-beta * ratios.x);
        gradient.y += params.apo_zero * beta * of_rejected * sigmoid(-beta * ratios.y);

        // Means over tokens, of which a pair has its part.
        if (params.sft != 0.0) {
            loss += params.sft * nlls[2u * pair] * (count / batch.tokens);
        }
        let every = select(0.0, batch.share * params.sft / batch.tokens, params.sft != 0.0);
        weights[2u * pair] = vec2<f32>(-gradient.x * (batch.share / count), every);
        weights[2u * pair + 1u] = vec2<f32>(-gradient.y * (batch.share / count), 0.0);

        mine[LOSS] += loss;
        tell(&mine, beta * ratios, of_answers);
    }
    {% include "shared/pairs_end.wgsl" %}
}
