// What the gradients of keys and values are given; attention_backward_kv.wgsl says what lies in it.
{% include "shared/attention/params.wgsl" %}

@group(0) @binding(1) var<storage, read> qkv: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> dout: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> lse: array<f32>;
@group(0) @binding(4) var<storage, read> delta: array<f32>;
@group(0) @binding(5) var<storage, read> last: array<u32>;
@group(0) @binding(6) var<storage, read_write> dqkv: array<vec4<f32>>;
