//! variant tile: direct subgroup4 subgroup8 shared32 shared64 shared128 half64 half128 cooperative8 cooperative16
//! variant weight: nf4 nf4_any f32 f16 bf16 fp4 fp4_any int8 q8_0 q4_0 q4_1 q5_0 q5_1 q4_k q5_k q6_k
//! without half64 half128 cooperative8 cooperative16: f32 bf16
//! without direct subgroup4 half64 half128 cooperative8 cooperative16 shared32 shared128: fp4 fp4_any int8 q8_0 q4_0 q4_1 q5_0 q5_1 q4_k q5_k q6_k
//! native: subgroup8 cooperative8 cooperative16
// dX = scale · dY·W + dT·A + residual: the gradient of a frozen linear layer's input, with its LoRA panel.
//
// dY [M, N] rows of y_stride from y_offset; W [N, K] in its stored format (shared/weight.wgsl),
// read as the forward pass reads it, so no transposed copy exists; dT [M, t_stride] and A
// [t_stride, K], R rows for each stacked layer with LoRA; residual and dX [M, K] rows of x_stride
// from x_offset. `rank` is t_stride, or 0 without LoRA. All arithmetic is f32; the half
// tiles and the cooperative ones round W to f16.
{% set input, input_stride, input_offset = "dy", "params.y_stride", "params.y_offset" %}
{% set output, output_stride, output_offset = "dx", "params.x_stride", "params.x_offset" %}
{% set inner, across = "params.cols", "params.depth" %}
{% set is_transposed = true %}
{% set t, factor = "dt", "lora_a" %}
{% set panel = "shared/linear/panel_backward.wgsl" %}
{% include "shared/linear/main.wgsl" %}
