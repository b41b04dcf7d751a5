// A frozen weight W [N, K], read the way it is stored: load_weight gives eight consecutive values of
// a row, load_quad four.
//
// `params.depth` is K rounded up to a multiple of 8; the values past K are zero. The including
// shader sets `weight` to the format and `decode` to how NF4 finds the value of a code:
//   tree     by selects;
//   memory   in a table in workgroup memory, after fill_nf4_table and a barrier;
//   pairs    in a private table of all pairs of values;
//   lanes    in a table that 8 invocations of a subgroup hold, two values each, after fill_nf4_table.

struct Eight {
    a: vec4<f32>,
    b: vec4<f32>,
}

{% if weight == "nf4" or weight == "nf4_any" %}
// Four bits a value, the even element in the high nibble of its byte; one f32 scale for each 64
// consecutive values of the row-major matrix (Dettmers et al. 2023, "QLoRA", appendix E).
@group(0) @binding(2) var<storage, read> codes: array<u32>;
@group(0) @binding(3) var<storage, read> scales: array<f32>;

{% set nf4 = ["-1.0", "-0.6961928009986877", "-0.5250730514526367", "-0.39491748809814453", "-0.28444138169288635", "-0.18477343022823334", "-0.09105003625154495", "0.0", "0.07958029955625534", "0.16093020141124725", "0.24611230194568634", "0.33791524171829224", "0.44070982933044434", "0.5626170039176941", "0.7229568362236023", "1.0"] %}
// A branch-free tree: an indexed constant array is several times slower on every adapter tried.
fn nf4_by_tree(codes: vec4<u32>) -> vec4<f32> {
    let b0 = (codes & vec4<u32>(1u)) != vec4<u32>(0u);
    let b1 = (codes & vec4<u32>(2u)) != vec4<u32>(0u);
    let b2 = (codes & vec4<u32>(4u)) != vec4<u32>(0u);
    let b3 = (codes & vec4<u32>(8u)) != vec4<u32>(0u);
    {% for i in range(8) %}
    let p{{ i }} = select(vec4<f32>({{ nf4[2 * i] }}), vec4<f32>({{ nf4[2 * i + 1] }}), b0);
    {% endfor %}
    {% for i in range(4) %}
    let q{{ i }} = select(p{{ 2 * i }}, p{{ 2 * i + 1 }}, b1);
    {% endfor %}
    return select(select(q0, q1, b2), select(q2, q3, b2), b3);
}

{% if decode == "pairs" %}
// By the byte of codes. Every invocation has a table of its own, since on SwiftShader a barrier costs
// more than its 512 stores. Shifts go lane by lane there, so one for two values is worth the size.
var<private> nf4_pairs: array<vec2<f32>, 256> = array<vec2<f32>, 256>(
    {% for high in nf4 %}
    {% for low in nf4 %}
    vec2<f32>({{ high }}, {{ low }}),
    {% endfor %}
    {% endfor %}
);
{% elif decode == "memory" %}
var<workgroup> nf4_table: array<f32, 16>;

fn fill_nf4_table(thread: u32, threads: u32) {
    for (var i = thread; i < 16u; i += threads) {
        nf4_table[i] = nf4_by_tree(vec4<u32>(i)).x;
    }
}

fn nf4(codes: vec4<u32>) -> vec4<f32> {
    return vec4<f32>(nf4_table[codes.x], nf4_table[codes.y], nf4_table[codes.z], nf4_table[codes.w]);
}
{% elif decode == "lanes" %}
var<private> nf4_low: f32;
var<private> nf4_high: f32;

fn fill_nf4_table(thread: u32, threads: u32) {
    let mine = nf4_by_tree(vec4<u32>(thread, thread + 8u, 0u, 0u));
    nf4_low = mine.x;
    nf4_high = mine.y;
}

fn nf4_of(code: u32) -> f32 {
    let lane = code & 7u;
    return select(subgroupShuffle(nf4_low, lane), subgroupShuffle(nf4_high, lane), code > 7u);
}

fn nf4(codes: vec4<u32>) -> vec4<f32> {
    return vec4<f32>(nf4_of(codes.x), nf4_of(codes.y), nf4_of(codes.z), nf4_of(codes.w));
}
{% elif decode == "tree" %}
fn nf4(codes: vec4<u32>) -> vec4<f32> {
    return nf4_by_tree(codes);
}
{% endif %}

// The values of the low two bytes of a word, before their scale.
fn nf4_quad(word: u32) -> vec4<f32> {
    {% if decode == "pairs" %}
    return vec4<f32>(nf4_pairs[word & 255u], nf4_pairs[(word >> 8u) & 255u]);
    {% else %}
    return nf4((vec4<u32>(word) >> vec4<u32>(4u, 0u, 12u, 8u)) & vec4<u32>(15u));
    {% endif %}
}

{% if weight == "nf4_any" %}
// Where 64 does not divide K, a block runs on from one row into the next, so consecutive values may
// lie in two blocks.
fn scales_of(first: u32) -> vec4<f32> {
    let split = vec4<u32>(64u - first % 64u);
    let low = vec4<f32>(scales[first / 64u]);
    let high = vec4<f32>(scales[(first + 3u) / 64u]);
    return select(low, high, vec4<u32>(0u, 1u, 2u, 3u) >= split);
}
{% endif %}

// Eight values before their scale.
fn load_codes(row: u32, k8: u32) -> Eight {
    let word = codes[row * (params.depth / 8u) + k8];
    return Eight(nf4_quad(word), nf4_quad(word >> 16u));
}

fn load_weight(row: u32, k8: u32) -> Eight {
    let eight = load_codes(row, k8);
    {% if weight == "nf4" %}
    let scale = scales[row * (params.depth / 64u) + k8 / 8u];
    return Eight(eight.a * scale, eight.b * scale);
    {% else %}
    let first = row * params.true_depth + k8 * 8u;
    return Eight(eight.a * scales_of(first), eight.b * scales_of(first + 4u));
    {% endif %}
}

fn load_quad(row: u32, k4: u32) -> vec4<f32> {
    let quad = nf4_quad(codes[row * (params.depth / 8u) + k4 / 2u] >> (16u * (k4 & 1u)));
    {% if weight == "nf4" %}
    return quad * scales[row * (params.depth / 64u) + k4 / 16u];
    {% else %}
    return quad * scales_of(row * params.true_depth + k4 * 4u);
    {% endif %}
}
{% elif weight == "f32" %}
@group(0) @binding(2) var<storage, read> values: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> unused_scales: array<f32>;

fn load_weight(row: u32, k8: u32) -> Eight {
    let index = row * (params.depth / 4u) + k8 * 2u;
    return Eight(values[index], values[index + 1u]);
}

fn load_quad(row: u32, k4: u32) -> vec4<f32> {
    return values[row * (params.depth / 4u) + k4];
}
{% else %}
// Two 16-bit values a word, the first in the low half.
@group(0) @binding(2) var<storage, read> values: array<vec4<u32>>;
@group(0) @binding(3) var<storage, read> unused_scales: array<f32>;

{% include "shared/widen.wgsl" %}

fn load_weight(row: u32, k8: u32) -> Eight {
    let words = values[row * (params.depth / 8u) + k8];
    return Eight(widen(halves(words.xy)), widen(halves(words.zw)));
}

fn load_quad(row: u32, k4: u32) -> vec4<f32> {
    let words = values[row * (params.depth / 8u) + k4 / 2u];
    return widen(halves(select(words.xy, words.zw, (k4 & 1u) == 1u)));
}
{% endif %}
