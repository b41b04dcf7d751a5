// The objectives of pairs: bindings in the order of `preference::Pairs`, and what is told of every kind of pair.
@group(0) @binding(1) var<storage, read> sequences: array<Sequence>;
@group(0) @binding(2) var<storage, read> batch: Batch;
@group(0) @binding(3) var<storage, read> logps: array<f32>;
@group(0) @binding(4) var<storage, read> nlls: array<f32>;

// What every kind of pair tells: rewards [2] and log-probabilities [2] of the chosen and of the rejected answer.
fn tell(mine: ptr<function, array<f32, MEASURES>>, rewards: vec2<f32>, of_answers: vec2<f32>) {
    (*mine)[REWARDS_CHOSEN] += rewards.x;
    (*mine)[REWARDS_REJECTED] += rewards.y;
    (*mine)[ACCURACIES] += select(0.0, 1.0, rewards.x > rewards.y);
    (*mine)[MARGINS] += rewards.x - rewards.y;
    (*mine)[LOGPS_CHOSEN] += of_answers.x;
    (*mine)[LOGPS_REJECTED] += of_answers.y;
}

// How many tokens of an answer are predicted.
fn predicted(sequence: u32) -> f32 {
    return f32(sequences[sequence].end - sequences[sequence].answer);
}
