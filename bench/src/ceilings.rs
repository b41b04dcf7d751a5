//! What the adapter can do at most, measured in the same run as all that is compared with it.

use bytemuck::{Pod, Zeroable};
use serde_json::json;
use tabtune::device::{Device, Store};
use tabtune::error::Result;
use tabtune::gpu::{Dispatches, grid};
use tabtune::memory::{Class, read, write};

use crate::open;
use crate::output::{Output, Table, digits, rounded};
use crate::timing::{Competitor, Times, race};

/// The limits that a kernel meets.
#[derive(Clone, Copy, Debug)]
pub struct Ceilings {
    /// Floating-point operations a second in f32, where a multiplication and an addition are two.
    pub flops: f64,
    /// Bytes a second, read and written together.
    pub bytes: f64,
    /// Seconds of a dispatch that does nothing, among many in one submit.
    pub dispatch: f64,
}

/// Turns of every measurement; the best counts, because nothing makes a limit look too high.
const TURNS: usize = 7;
const LOOPS: usize = 4096;
const THREADS: usize = 64;
/// Buffers of this many bytes are far beyond any cache, and as much as one binding takes.
const COPY_BYTES: usize = 128 << 20;
const EMPTY: usize = 1000;

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Factors {
    x: f32,
    y: f32,
}

impl Ceilings {
    /// Measures on a device of its own, which goes away with its buffers.
    pub async fn measure(output: &Output<'_>) -> Result<Self> {
        let device = open().await?;
        output.note("measuring what the adapter can do at most");
        let ceilings = Ceilings {
            flops: peak_flops(&device).await?,
            bytes: copy_bandwidth(&device).await?,
            dispatch: empty_dispatch(&device).await?,
        };
        output.result(
            "ceilings",
            json!({
                "gflops": rounded(ceilings.flops / 1e9),
                "copy_gbps": rounded(ceilings.bytes / 1e9),
                "empty_dispatch_us": rounded(ceilings.dispatch * 1e6),
                "has_timestamps": device.summary().has_timestamps,
                "subgroup_sizes": device.summary().subgroup_sizes,
            }),
        );
        let mut table = Table::new(format!("ceilings of {}", output.adapter()), &["limit", "measured"]);
        table.row(vec!["f32 multiply-add, GFLOP/s".into(), digits(ceilings.flops / 1e9)]);
        table.row(vec!["copy, GB/s read and written".into(), digits(ceilings.bytes / 1e9)]);
        table.row(vec!["empty dispatch, µs".into(), digits(ceilings.dispatch * 1e6)]);
        output.table(table);
        Ok(ceilings)
    }

    /// Whether `flops` operations take longer than `bytes` bytes.
    pub fn is_bound_by_flops(&self, flops: u64, bytes: u64) -> bool {
        flops as f64 / self.flops >= bytes as f64 / self.bytes
    }

    /// The least seconds that `flops` operations on `bytes` bytes can take.
    pub fn seconds(&self, flops: u64, bytes: u64) -> f64 {
        (flops as f64 / self.flops).max(bytes as f64 / self.bytes)
    }
}

/// Chains of multiply-adds in registers, in a few forms, each of which suits other compilers.
async fn peak_flops(device: &Device) -> Result<f64> {
    // Enough to fill a GPU, and on a CPU no more than it does in a fraction of a second.
    let groups = if device.summary().is_software { 64 } else { 8192 };
    let mut store = Store::new(device);
    let out = store.keep(Class::Other, "peak", groups * THREADS * 4)?;
    let mut competitors = Vec::new();
    let mut flops = Vec::new();
    for chains in [8, 16] {
        for form in ["fma(A, x, y)", "A * x + y"] {
            let name = format!("bench_peak.{chains}.{form}");
            device.gpu().expect("it is one").add_shader(&name, peak_shader(chains, form));
            let operations = (groups * THREADS) as u64 * (LOOPS * chains * 4 * 2) as u64;
            let add = |dispatches: &mut Dispatches| {
                dispatches.dispatch(
                    name,
                    &Factors { x: 0.999, y: 0.001 },
                    &[write(out)],
                    grid(groups),
                    operations,
                );
            };
            competitors.push(Competitor::of_dispatches(device, &store, add).await?);
            flops.push(operations as f64);
        }
    }
    let times = race(device, &competitors, TURNS).await?;
    Ok(times.iter().zip(flops).map(|(times, flops)| flops / times.best).fold(0.0, f64::max))
}

fn peak_shader(chains: usize, form: &str) -> String {
    let each = |line: &dyn Fn(usize) -> String| (0..chains).map(line).collect::<Vec<_>>().join("\n");
    let start = each(&|i| format!("var a{i} = vec4<f32>(f32(id.x) + {i}.0);"));
    let steps = each(&|i| format!("a{i} = {};", form.replace('A', &format!("a{i}"))));
    let sum = (0..chains).map(|i| format!("a{i}")).collect::<Vec<_>>().join(" + ");
    format!(
        "struct Params {{ x: f32, y: f32 }}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> out: array<vec4<f32>>;
@compute @workgroup_size({THREADS})
fn main(@builtin(global_invocation_id) id: vec3<u32>) {{
let x = vec4<f32>(params.x);
let y = vec4<f32>(params.y);
{start}
for (var i = 0u; i < {LOOPS}u; i++) {{
{steps}
}}
out[id.x] = {sum};
}}"
    )
}

const COPY: &str = "
struct Params { x: f32, y: f32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> source: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> copy: array<vec4<f32>>;
@compute @workgroup_size(256)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    copy[id.x] = source[id.x];
}";

async fn copy_bandwidth(device: &Device) -> Result<f64> {
    let mut store = Store::new(device);
    let from = store.keep(Class::Other, "copy from", COPY_BYTES / 4)?;
    let to = store.keep(Class::Other, "copy to", COPY_BYTES / 4)?;
    device.gpu().expect("it is one").add_shader("bench_copy", COPY);
    let add = |dispatches: &mut Dispatches| {
        let params = Factors { x: 0.0, y: 0.0 };
        dispatches.dispatch("bench_copy", &params, &[read(from), write(to)], grid(COPY_BYTES / 16 / 256), 0);
    };
    let copy = [Competitor::of_dispatches(device, &store, add).await?];
    let times = race(device, &copy, TURNS).await?;
    Ok(2.0 * COPY_BYTES as f64 / times[0].best)
}

const TRIVIAL: &str = "
struct Params { x: f32, y: f32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> out: array<f32>;
@compute @workgroup_size(1)
fn main() {
    out[0] = params.x;
}";

/// By the wall clock: a longer run less a shorter one, which leaves out what a submit costs.
async fn empty_dispatch(device: &Device) -> Result<f64> {
    let mut store = Store::new(device);
    let out = store.keep(Class::Other, "trivial", 4)?;
    device.gpu().expect("it is one").add_shader("bench_trivial", TRIVIAL);
    let add = |dispatches: &mut Dispatches| {
        for _ in 0..EMPTY {
            dispatches.dispatch("bench_trivial", &Factors { x: 1.0, y: 0.0 }, &[write(out)], grid(1), 0);
        }
    };
    let empty = Competitor::of_dispatches(device, &store, add).await?;
    empty.wall_seconds(device, 1).await;
    let mut differences = Vec::new();
    for _ in 0..TURNS {
        let short = empty.wall_seconds(device, 1).await;
        let long = 3.0 * empty.wall_seconds(device, 3).await;
        differences.push((long - short) / (2 * EMPTY) as f64);
    }
    device.check()?;
    Ok(Times::of(differences).median)
}
