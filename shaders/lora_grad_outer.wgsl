// G += Uᵀ·V, the gradient of LoRA's A (U = dT, V = X) or B (U = dY, V = T).
//
// U [M, u_stride] from u_offset, its columns a; V [M, v_stride], its columns b from the v_offset of
// the stacked layer that a belongs to, or none (NONE); G rows of `width` values, row a of a layer at
// its base. A thread owns 8 × 8 of G and sums over all M rows in order, so that accumulation over
// micro-batches and the order of the sum are the same in every run.
struct Params {
    rows: u32,
    u_stride: u32,
    u_offset: u32,
    v_stride: u32,
    height: u32,
    width: u32,
    pad0: u32,
    pad1: u32,
    section_end: vec4<u32>,
    v_offset: vec4<u32>,
    g_base: vec4<u32>,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> u: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> v: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> gradient: array<vec4<f32>>;

@compute @workgroup_size(16)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let index = (group.x + group.y * groups.x) * 16u + thread;
    let blocks = params.width / 8u;
    let a = index / blocks * 8u;
    let b = index % blocks * 8u;
    if a >= params.height { return; }

    var section = 0u;
    var section_start = 0u;
    if a >= params.section_end.x { section = 1u; section_start = params.section_end.x; }
    if a >= params.section_end.y { section = 2u; section_start = params.section_end.y; }
    if params.v_offset[section] == 0xffffffffu { return; }

    let u_base = (params.u_offset + a) / 4u;
    let v_base = (params.v_offset[section] + b) / 4u;
    {% for i in range(8) %}
    var c{{ i }}a = vec4<f32>();
    var c{{ i }}b = vec4<f32>();
    {% endfor %}
    for (var m = 0u; m < params.rows; m++) {
        let ua = u[u_base + m * (params.u_stride / 4u)];
        let ub = u[u_base + m * (params.u_stride / 4u) + 1u];
        let va = v[v_base + m * (params.v_stride / 4u)];
        let vb = v[v_base + m * (params.v_stride / 4u) + 1u];
        {% for lane in ["ua.x", "ua.y", "ua.z", "ua.w", "ub.x", "ub.y", "ub.z", "ub.w"] %}
        c{{ loop.index0 }}a += {{ lane }} * va;
        c{{ loop.index0 }}b += {{ lane }} * vb;
        {% endfor %}
    }
    let g_base = (params.g_base[section] + (a - section_start) * params.width + b) / 4u;
    {% for i in range(8) %}
    gradient[g_base + {{ i }}u * (params.width / 4u)] += c{{ i }}a;
    gradient[g_base + {{ i }}u * (params.width / 4u) + 1u] += c{{ i }}b;
    {% endfor %}
}
