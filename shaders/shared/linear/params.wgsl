{{ params("linear::Params") }}

// Marks a stacked layer without LoRA.
const NONE = 0xffffffffu;
