{{ params("lora_grad::Params") }}
// Marks a stacked layer without LoRA.
const NONE = 0xffffffffu;
@group(0) @binding(1) var<storage, read> u: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> v: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> gradient: array<vec4<f32>>;
