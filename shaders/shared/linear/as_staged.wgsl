// How the tiles lay weights into workgroup memory: `is_half` says whether as f16.
{% if is_half %}
alias Staged = vec4<f16>;

// The nearest f16, the even one of two that are as near. Rounded by its bits, since each GPU rounds a conversion its
// own way, some always towards zero; of the result a conversion changes nothing. Below 2^-14 GPUs may give zero.
fn nearest_f16(w: vec4<f32>) -> vec4<f32> {
    let bits = bitcast<vec4<u32>>(w);
    let even = (bits >> vec4<u32>(13u)) & vec4<u32>(1u);
    return bitcast<vec4<f32>>((bits + even + vec4<u32>(0xfffu)) & vec4<u32>(0xffffe000u));
}

fn staged(w: vec4<f32>) -> Staged {
    return Staged(nearest_f16(w));
}
{% else %}
alias Staged = vec4<f32>;

fn staged(w: vec4<f32>) -> Staged {
    return w;
}
{% endif %}
