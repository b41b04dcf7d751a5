// What objectives over answers share: what is known of these, and sums over the answers in a fixed order.
//
// A workgroup of 64 does it all. Each invocation takes every 64th pair, or rated answer, and adds up its measures; then the
// first one adds up those of all.
{{ host_struct("preference::Sequence") }}
{{ host_struct("preference::Batch") }}

const MEASURES = 11u;
const LOSS = 0u;
const REWARDS_CHOSEN = 1u;
const REWARDS_REJECTED = 2u;
const ACCURACIES = 3u;
const MARGINS = 4u;
const LOGPS_CHOSEN = 5u;
const LOGPS_REJECTED = 6u;
const NLL = 7u;
const LOG_ODDS_RATIO = 8u;
const LOG_ODDS_CHOSEN = 9u;
const KL = 10u;

var<workgroup> of_lane: array<array<f32, MEASURES>, 64>;

// 1 / (1 + exp(-x)), of which neither end overflows.
fn sigmoid(x: f32) -> f32 {
    let small = exp(-abs(x));
    return select(small, 1.0, x >= 0.0) / (1.0 + small);
}

// -log(sigmoid(x))
fn surprise(x: f32) -> f32 {
    return max(-x, 0.0) + log(1.0 + exp(-abs(x)));
}

// The sum of a measure over all invocations, after a barrier.
fn total(measure: u32) -> f32 {
    var sum = 0.0;
    for (var lane = 0u; lane < 64u; lane++) {
        sum += of_lane[lane][measure];
    }
    return sum;
}
