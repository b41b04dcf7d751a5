//! The products with an NF4 weight as one would first write them: one invocation for each result, which
//! walks over the inner dimension and decodes each value where it meets it. What tiling gains is
//! measured against these.

use bytemuck::{Pod, Zeroable};
use tabtune::device::Device;
use tabtune::format::NF4_CODES;
use tabtune::gpu::{Dispatches, grid};
use tabtune::kernels::linear::Weight;
use tabtune::memory::{Tensor, read, write};

/// M, N and K.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Params {
    rows: u32,
    cols: u32,
    depth: u32,
    pad: u32,
}

const SHARED: &str = "
struct Params { rows: u32, cols: u32, depth: u32, pad: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> inp: array<f32>;
@group(0) @binding(2) var<storage, read> codes: array<u32>;
@group(0) @binding(3) var<storage, read> scales: array<f32>;
@group(0) @binding(4) var<storage, read> table: array<f32>;
@group(0) @binding(5) var<storage, read_write> out: array<f32>;

// The value of code `k % 8` of a word: two codes to a byte, the even one in its high half.
fn decoded(word: u32, k: u32) -> f32 {
    let shift = k % 8u / 2u * 8u + 4u - k % 2u * 4u;
    return table[(word >> shift) & 15u];
}
";

const FORWARD: &str = "
@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) thread: u32) {
    let index = (group.x + group.y * groups.x) * 64u + thread;
    let m = index / params.cols;
    let n = index % params.cols;
    if m >= params.rows {
        return;
    }
    var sum = 0.0;
    for (var k = 0u; k < params.depth; k += 8u) {
        let place = n * params.depth + k;
        let word = codes[place / 8u];
        let scale = scales[place / 64u];
        for (var i = 0u; i < 8u; i++) {
            sum += inp[m * params.depth + k + i] * decoded(word, i) * scale;
        }
    }
    out[index] = sum;
}";

const BACKWARD: &str = "
@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) thread: u32) {
    let index = (group.x + group.y * groups.x) * 64u + thread;
    let m = index / params.depth;
    let k = index % params.depth;
    if m >= params.rows {
        return;
    }
    var sum = 0.0;
    for (var n = 0u; n < params.cols; n++) {
        let place = n * params.depth + k;
        sum += inp[m * params.cols + n] * decoded(codes[place / 8u], k) * scales[place / 64u];
    }
    out[index] = sum;
}";

/// Makes the kernels known to `gpu`.
pub fn add_shaders(device: &Device) {
    device.gpu().expect("it is one").add_shader("bench_naive_forward", format!("{SHARED}{FORWARD}"));
    device.gpu().expect("it is one").add_shader("bench_naive_backward", format!("{SHARED}{BACKWARD}"));
}

/// The values of NF4's codes, which [`forward`] and [`backward`] look up in `table`.
pub fn table() -> [f32; 16] {
    NF4_CODES
}

/// Adds Y = X·Wᵀ for an NF4 weight [N, K] whose K is a multiple of 64; X [M, K], Y [M, N].
pub fn forward(
    out: &mut Dispatches,
    [m, n, k]: [usize; 3],
    x: Tensor,
    weight: Weight,
    table: Tensor,
    y: Tensor,
) {
    add(out, "bench_naive_forward", [m, n, k], m * n, [x, table, y], weight);
}

/// Adds dX = dY·W for an NF4 weight [N, K] whose K is a multiple of 64; dY [M, N], dX [M, K].
pub fn backward(
    out: &mut Dispatches,
    [m, n, k]: [usize; 3],
    dy: Tensor,
    weight: Weight,
    table: Tensor,
    dx: Tensor,
) {
    add(out, "bench_naive_backward", [m, n, k], m * k, [dy, table, dx], weight);
}

fn add(
    out: &mut Dispatches,
    shader: &str,
    [m, n, k]: [usize; 3],
    results: usize,
    [inp, table, result]: [Tensor; 3],
    weight: Weight,
) {
    let params = Params { rows: m as u32, cols: n as u32, depth: k as u32, pad: 0 };
    let bindings = [read(inp), read(weight.values), read(weight.scales), read(table), write(result)];
    out.dispatch(shader, &params, &bindings, grid(results.div_ceil(64)), 2 * (m * n * k) as u64);
}
