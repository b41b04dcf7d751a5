// What is bound beside Params and the weight; the including shader sets the names, as for shared/linear/main.wgsl.
@group(0) @binding(1) var<storage, read> {{ input }}: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read> {{ t }}: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read> {{ factor }}: array<vec4<f32>>;
@group(0) @binding(6) var<storage, read> residual: array<vec4<f32>>;
@group(0) @binding(7) var<storage, read_write> {{ output }}: array<vec4<f32>>;
