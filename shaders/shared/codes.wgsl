// Four bits a value, the even element in the high nibble of its byte; one f32 scale for each 64 consecutive values of the
// row-major matrix. The including file sets `values_of_codes`.
{% set of_scale = 0 if weight in ["nf4_any", "fp4_any"] else 8 %}
@group(0) @binding(2) var<storage, read> codes: array<u32>;
@group(0) @binding(3) var<storage, read> scales: array<f32>;

// A branch-free tree: an indexed constant array is several times slower on every adapter tried.
fn by_tree(codes: vec4<u32>) -> vec4<f32> {
    let b0 = (codes & vec4<u32>(1u)) != vec4<u32>(0u);
    let b1 = (codes & vec4<u32>(2u)) != vec4<u32>(0u);
    let b2 = (codes & vec4<u32>(4u)) != vec4<u32>(0u);
    let b3 = (codes & vec4<u32>(8u)) != vec4<u32>(0u);
    {% for i in range(8) %}
    let p{{ i }} = select(vec4<f32>({{ values_of_codes[2 * i] }}), vec4<f32>({{ values_of_codes[2 * i + 1] }}), b0);
    {% endfor %}
    {% for i in range(4) %}
    let q{{ i }} = select(p{{ 2 * i }}, p{{ 2 * i + 1 }}, b1);
    {% endfor %}
    return select(select(q0, q1, b2), select(q2, q3, b2), b3);
}

{% if decode == "pairs" %}
// By the byte of codes. Every invocation has a table of its own, since on SwiftShader a barrier costs
// more than its 512 stores. Shifts go lane by lane there, so one for two values is worth the size.
var<private> code_pairs: array<vec2<f32>, 256> = array<vec2<f32>, 256>(
    {% for high in values_of_codes %}
    {% for low in values_of_codes %}
    vec2<f32>({{ high }}, {{ low }}),
    {% endfor %}
    {% endfor %}
);
{% elif decode == "memory" %}
var<workgroup> code_table: array<f32, 16>;

fn fill_code_table(thread: u32, threads: u32) {
    for (var i = thread; i < 16u; i += threads) {
        code_table[i] = by_tree(vec4<u32>(i)).x;
    }
}

fn values_of(codes: vec4<u32>) -> vec4<f32> {
    return vec4<f32>(code_table[codes.x], code_table[codes.y], code_table[codes.z], code_table[codes.w]);
}
{% elif decode == "lanes" %}
var<private> low_code: f32;
var<private> high_code: f32;

fn fill_code_table(thread: u32, threads: u32) {
    let mine = by_tree(vec4<u32>(thread, thread + 8u, 0u, 0u));
    low_code = mine.x;
    high_code = mine.y;
}

fn value_of(code: u32) -> f32 {
    let lane = code & 7u;
    return select(subgroupShuffle(low_code, lane), subgroupShuffle(high_code, lane), code > 7u);
}

fn values_of(codes: vec4<u32>) -> vec4<f32> {
    return vec4<f32>(value_of(codes.x), value_of(codes.y), value_of(codes.z), value_of(codes.w));
}
{% elif decode == "tree" %}
fn values_of(codes: vec4<u32>) -> vec4<f32> {
    return by_tree(codes);
}
{% endif %}

// The values of the low two bytes of a word, before their scale.
fn quad_of(word: u32) -> vec4<f32> {
    {% if decode == "pairs" %}
    return vec4<f32>(code_pairs[word & 255u], code_pairs[(word >> 8u) & 255u]);
    {% else %}
    return values_of((vec4<u32>(word) >> vec4<u32>(4u, 0u, 12u, 8u)) & vec4<u32>(15u));
    {% endif %}
}

{% if not of_scale %}
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
    return Eight(quad_of(word), quad_of(word >> 16u));
}

{% if of_scale %}
alias Scale = f32;

fn load_scale(row: u32, k8: u32) -> Scale {
    return scales[row * (params.depth / 64u) + k8 / 8u];
}

fn load_scaled(row: u32, k8: u32, scale: Scale) -> Eight {
    let eight = load_codes(row, k8);
    return Eight(eight.a * scale, eight.b * scale);
}

fn load_weight(row: u32, k8: u32) -> Eight {
    return load_scaled(row, k8, load_scale(row, k8));
}
{% else %}
fn load_weight(row: u32, k8: u32) -> Eight {
    let eight = load_codes(row, k8);
    let first = row * params.true_depth + k8 * 8u;
    return Eight(eight.a * scales_of(first), eight.b * scales_of(first + 4u));
}
{% endif %}

fn load_quad(row: u32, k4: u32) -> vec4<f32> {
    let quad = quad_of(codes[row * (params.depth / 8u) + k4 / 2u] >> (16u * (k4 & 1u)));
    {% if of_scale %}
    return quad * scales[row * (params.depth / 64u) + k4 / 16u];
    {% else %}
    return quad * scales_of(row * params.true_depth + k4 * 4u);
    {% endif %}
}
