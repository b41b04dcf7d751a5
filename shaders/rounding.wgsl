//! variant weight: bf16 f16
// out[i] = the value of 16 bits that is nearest to inp[i], and of two that are as near the one whose last bit is zero
//
// inp [n] f32, out [n] bf16 or f16, the first of two in the low half of a word; n a multiple of 4. What is beyond the greatest
// f16 becomes infinite. All is done on bits: the conversions of WGSL may round to either side and flush what is subnormal.
//
// An invocation owns four values.
{% from "shared/each_element.wgsl" import each_element %}
{{ params("rounding::Params") }}
@group(0) @binding(1) var<storage, read> inp: array<vec4<u32>>;
@group(0) @binding(2) var<storage, read_write> out: array<vec2<u32>>;

// The whole number nearest to bits / 2^shift, and of two the even one; shift above 0.
fn nearest(bits: vec4<u32>, shift: vec4<u32>) -> vec4<u32> {
    let middle = vec4(1u) << (shift - 1u);
    return (bits + middle - 1u + ((bits >> shift) & vec4(1u))) >> shift;
}

fn rounded(bits: vec4<u32>) -> vec4<u32> {
    let magnitude = bits & vec4(0x7fffffffu);
    let is_nan = magnitude > vec4(0x7f800000u);
{% if weight == "bf16" %}
    // A NaN keeps one of its lowest bits set, lest it became infinite.
    return select(nearest(bits, vec4(16u)), (bits >> vec4(16u)) | vec4(0x40u), is_nan);
{% else %}
    // Exponents of f16 are less by 112, and anything above is infinite.
    let normal = min(nearest(magnitude - vec4(112u << 23u), vec4(13u)), vec4(0x7c00u));
    // Below 2^-14 the bits of f16 count units of 2^-24; below 2^-26 there are none.
    let exponent = min(magnitude >> vec4(23u), vec4(112u));
    let whole = (magnitude & vec4(0x7fffffu)) | vec4(0x800000u);
    let subnormal = nearest(whole, min(126u - exponent, vec4(25u)));
    let nan = ((magnitude >> vec4(13u)) & vec4(0x3ffu)) | vec4(0x7e00u);
    let value = select(select(normal, subnormal, magnitude < vec4(113u << 23u)), nan, is_nan);
    return ((bits >> vec4(16u)) & vec4(0x8000u)) | value;
{% endif %}
}

{% call each_element("params.n / 4u") %}
    let values = rounded(inp[index]);
    out[index] = values.xz | (values.yw << vec2(16u));
{% endcall %}
