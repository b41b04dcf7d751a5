// Of rated answer i, with r = logps - reference and kl = max(0, mean of kl_logps - kl_reference), which has no gradient:
//     loss = desirable_weight   * (1 - s(beta * (r - kl)))        where the answer is to be wished for
//          = undesirable_weight * (1 - s(beta * (kl - r)))        where it is not; s is the logistic function
// tally  += the mean loss and kl; rewards beta * r and log-probabilities as means over the answers of either kind, where
//           there are such, and the difference of both rewards where there are both
// weights = by answer, - d(share * mean loss) / d(logp), 0
//
// One workgroup, see shared/preference.wgsl.
{{ params("preference::KtoParams") }}
{% include "shared/preference.wgsl" %}
@group(0) @binding(1) var<storage, read> sequences: array<Sequence>;
@group(0) @binding(2) var<storage, read> batch: Batch;
@group(0) @binding(3) var<storage, read> logps: array<f32>;
@group(0) @binding(4) var<storage, read> references: array<f32>;
@group(0) @binding(5) var<storage, read> kl_logps: array<f32>;
@group(0) @binding(6) var<storage, read> kl_references: array<f32>;
@group(0) @binding(7) var<storage, read_write> weights: array<vec2<f32>>;
@group(0) @binding(8) var<storage, read_write> tally: array<vec2<f32>>;

// Answers that are rated one by one have no accuracies: the place counts those to be wished for.
const GOOD = ACCURACIES;

@compute @workgroup_size(64)
fn main(@builtin(local_invocation_index) lane: u32) {
    let count = f32(batch.count);
    var mine: array<f32, MEASURES>;
    for (var i = lane; i < batch.count; i += 64u) {
        mine[KL] += kl_logps[i] - kl_references[i];
    }
    of_lane[lane] = mine;
    workgroupBarrier();
    let kl = max(total(KL) / count, 0.0);
    workgroupBarrier();

    mine = array<f32, MEASURES>();
    for (var i = lane; i < batch.count; i += 64u) {
        let is_good = sequences[i].is_good == 1u;
        let sign = select(-1.0, 1.0, is_good);
        let weight = select(params.undesirable_weight, params.desirable_weight, is_good);
        let ratio = logps[i] - references[i];
        let z = params.beta * sign * (ratio - kl);
        let slope = -weight * sigmoid(z) * sigmoid(-z) * params.beta * sign;
        weights[i] = vec2<f32>(-slope * (batch.share / count), 0.0);
        mine[GOOD] += f32(sequences[i].is_good);
        mine[LOSS] += weight * sigmoid(-z);
        mine[select(REWARDS_REJECTED, REWARDS_CHOSEN, is_good)] += params.beta * ratio;
        mine[select(LOGPS_REJECTED, LOGPS_CHOSEN, is_good)] += logps[i];
    }
    of_lane[lane] = mine;
    workgroupBarrier();
    if (lane == 0u) {
        let good = total(GOOD);
        let bad = count - good;
        tally[LOSS] += vec2<f32>(total(LOSS) / count, 1.0);
        tally[KL] += vec2<f32>(kl, 1.0);
        let rewards = vec2<f32>(total(REWARDS_CHOSEN) / good, total(REWARDS_REJECTED) / bad);
        if (good > 0.0) {
            tally[REWARDS_CHOSEN] += vec2<f32>(rewards.x, 1.0);
            tally[LOGPS_CHOSEN] += vec2<f32>(total(LOGPS_CHOSEN) / good, 1.0);
        }
        if (bad > 0.0) {
            tally[REWARDS_REJECTED] += vec2<f32>(rewards.y, 1.0);
            tally[LOGPS_REJECTED] += vec2<f32>(total(LOGPS_REJECTED) / bad, 1.0);
        }
        if (good > 0.0 && bad > 0.0) {
            tally[MARGINS] += vec2<f32>(rewards.x - rewards.y, 1.0);
        }
    }
}
