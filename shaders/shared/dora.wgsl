// What DoRA's kernels have in common: where columns find their magnitudes and norms.
{{ params("dora::Params") }}

// Marks a stacked layer without LoRA.
const NONE = 0xffffffffu;

struct Layer {
    number: u32,
    start: u32,
}

// The stacked layer that has a column, and where it begins.
fn layer_of(column: u32) -> Layer {
    {% set column = "column" %}
    {% include "shared/section.wgsl" %}
    return Layer(section, section_start);
}

// The quad of magnitudes and norms of a layer's column.
fn quad_of(layer: Layer, column: u32) -> u32 {
    return (params.b_base[layer.number] / params.rank + column - layer.start) / 4u;
}
