// What the attention kernels share: sizes, strides and offsets in elements, all multiples of 4. A dispatch
// takes the rows from first_row on, as many as it has workgroups for.
{{ params("attention::Params") }}

// Stands for minus infinity, which WGSL cannot write; far enough from the end of f32 that products
// inside exp() stay finite, and small enough that exp() of it is 0.
const HIDDEN = -1.0e30;
