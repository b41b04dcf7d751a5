//! variant tile: direct subgroup4 subgroup8 shared32 shared64 shared128 half64 half128 cooperative8 cooperative16
//! variant weight: nf4 nf4_any f32 f16 bf16 fp4 fp4_any int8 q8_0 q4_0 q4_1 q5_0 q5_1 q4_k q5_k q6_k
//! without half64 half128 cooperative8 cooperative16: f32 bf16
//! without direct subgroup4 half64 half128 cooperative8 cooperative16 shared32 shared128: fp4 fp4_any int8 q8_0 q4_0 q4_1 q5_0 q5_1 q4_k q5_k q6_k
//! native: subgroup8 cooperative8 cooperative16
// Y = scale · X·Wᵀ + T·Bᵀ + residual: a frozen linear layer with its LoRA panel.
//
// X [M, K] rows of x_stride from x_offset; W [N, K] in its stored format (shared/weight.wgsl);
// T [M, t_stride] = X·Aᵀ of the layers stacked in W; B [N, R] of each stacked layer at its base;
// residual and Y [M, N] rows of y_stride from y_offset. K and N are multiples of 8, R too.
// Columns below section_end.x belong to the first stacked layer, and so on; t_offset is where its
// T begins, or NONE for a layer without LoRA. All arithmetic is f32; the half tiles and the
// cooperative ones round W to f16.
{% set input, input_stride, input_offset = "x", "params.x_stride", "params.x_offset" %}
{% set output, output_stride, output_offset = "y", "params.y_stride", "params.y_offset" %}
{% set inner, across = "params.depth", "params.cols" %}
{% set is_transposed = false %}
{% set t, factor = "t", "lora_b" %}
{% set panel = "shared/linear/panel_forward.wgsl" %}
{% include "shared/linear/main.wgsl" %}
