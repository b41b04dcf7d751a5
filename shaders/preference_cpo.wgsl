// Of pair i, with c and r the log-probabilities of its chosen and its rejected answer, by token with `by_token`:
//     x = beta * (c - r) - gamma
//     loss = -(1 - e) log s(x) - e log s(-x) + alpha * nll of all chosen answers / tokens
//                                                           e = label_smoothing, s is the logistic function
// tally  += means over the pairs; the reward of an answer is beta times its log-probability
// weights = by sequence, - d(share * mean loss) / d(logp of the answer), and what nll makes every scored token weigh
//
// One workgroup, see shared/preference.wgsl.
{{ params("preference::CpoParams") }}
{% include "shared/preference.wgsl" %}
{% include "shared/pairs.wgsl" %}
@group(0) @binding(5) var<storage, read_write> weights: array<vec2<f32>>;
@group(0) @binding(6) var<storage, read_write> tally: array<vec2<f32>>;

@compute @workgroup_size(64)
fn main(@builtin(local_invocation_index) lane: u32) {
    let count = f32(batch.count);
    let e = params.label_smoothing;
    var mine: array<f32, MEASURES>;
    for (var pair = lane; pair < batch.count; pair += 64u) {
        let predicted = vec2<f32>(predicted(2u * pair), predicted(2u * pair + 1u));
        let lengths = select(vec2<f32>(1.0), predicted, params.by_token == 1u);
        let scores = vec2<f32>(logps[2u * pair], logps[2u * pair + 1u]) / lengths;
        let x = params.beta * (scores.x - scores.y) - params.gamma;
        let slope = e * sigmoid(x) - (1.0 - e) * sigmoid(-x);
        let slopes = params.beta * slope * vec2<f32>(1.0, -1.0) / lengths;
        let nll = nlls[2u * pair] * (count / batch.tokens);
        let every = params.alpha * batch.share / batch.tokens;
        weights[2u * pair] = vec2<f32>(-slopes.x * (batch.share / count), every);
        weights[2u * pair + 1u] = vec2<f32>(-slopes.y * (batch.share / count), 0.0);
        mine[LOSS] += (1.0 - e) * surprise(x) + e * surprise(-x) + params.alpha * nll;
        mine[NLL] += nll;
        tell(&mine, params.beta * scores, scores);
    }
    {% include "shared/pairs_end.wgsl" %}
}
