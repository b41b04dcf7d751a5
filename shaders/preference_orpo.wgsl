// Of pair i, with c and r the mean log-probabilities of a token of its chosen and its rejected answer:
//     odds = (c - r) - (log(1 - exp(c)) - log(1 - exp(r)))
//     loss = nll of all scored tokens of chosen sequences / tokens - beta * log s(odds)      s is the logistic function
// tally  += means over the pairs; the reward of an answer is beta times its mean
// weights = by sequence, - d(share * mean loss) / d(logp of the answer), and what nll makes every scored token weigh
//
// One workgroup, see shared/preference.wgsl.
{{ params("preference::OrpoParams") }}
{% include "shared/preference.wgsl" %}
{% include "shared/pairs.wgsl" %}
@group(0) @binding(5) var<storage, read_write> weights: array<vec2<f32>>;
@group(0) @binding(6) var<storage, read_write> tally: array<vec2<f32>>;

// 1 - exp(x) of x <= 0, by a series where exp(x) is near 1.
fn complement(x: f32) -> f32 {
    var series = 1.0;
    for (var n = 10.0; n > 1.5; n -= 1.0) {
        series = 1.0 + series * x / n;
    }
    return select(1.0 - exp(x), -x * series, x > -0.7);
}

@compute @workgroup_size(64)
fn main(@builtin(local_invocation_index) lane: u32) {
    let count = f32(batch.count);
    let beta = params.beta;
    var mine: array<f32, MEASURES>;
    for (var pair = lane; pair < batch.count; pair += 64u) {
        let lengths = vec2<f32>(predicted(2u * pair), predicted(2u * pair + 1u));
        let means = vec2<f32>(logps[2u * pair], logps[2u * pair + 1u]) / lengths;
        let rest = vec2<f32>(complement(means.x), complement(means.y));
        let odds = (means.x - means.y) - (log(rest.x) - log(rest.y));
        let ratio = surprise(odds);
        let slopes = -beta * sigmoid(-odds) * vec2<f32>(1.0, -1.0) / rest / lengths;
        let nll = nlls[2u * pair] * (count / batch.tokens);
        weights[2u * pair] = vec2<f32>(-slopes.x * (batch.share / count), batch.share / batch.tokens);
        weights[2u * pair + 1u] = vec2<f32>(-slopes.y * (batch.share / count), 0.0);
        mine[LOSS] += nll + beta * ratio;
        mine[NLL] += nll;
        mine[LOG_ODDS_RATIO] -= ratio;
        mine[LOG_ODDS_CHOSEN] += odds;
        tell(&mine, beta * means, means);
    }
    {% include "shared/pairs_end.wgsl" %}
}
