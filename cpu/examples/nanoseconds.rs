//! What each kernel takes on one thread, for an element or for a pair of a row and a key that it sees.
//!
//! `cargo run --release -p tabtune-cpu --example nanoseconds [NAME]` takes the kernels whose names begin with NAME.

use std::time::{Duration, Instant};

use tabtune_cpu::params::{
    adamw, attention, cross_entropy, dropout, embedding, glu, grad_norm, head_norm, kv_append, rms_norm,
    rope, rows,
};
use tabtune_cpu::{Call, Level, Operand, SCRATCH, index, run, tasks};

/// Rows of an activation and their width, as SmolLM2-135M has them in a row of 512 tokens.
const ROWS: usize = 512;
const WIDTH: usize = 576;
const VOCAB: usize = 49_152;

struct Bench {
    wanted: String,
    level: Level,
}

impl Bench {
    /// Prints the time of a call by `elements`. Operands hold small values and are as long as said, in values.
    fn time<P>(&self, name: &str, params: P, elements: usize, operands: &mut [Vec<f32>]) {
        if !name.starts_with(&self.wanted) {
            return;
        }
        let bound: Vec<Operand> = operands
            .iter_mut()
            .map(|values| Operand { start: values.as_mut_ptr().cast(), bytes: 4 * values.len() })
            .collect();
        let call = Call {
            kernel: index(name).expect("a kernel's name"),
            params: std::ptr::from_ref(&params).cast(),
            operands: bound.as_ptr(),
            count: bound.len() as u32,
        };
        let mut scratch = vec![0.0; SCRATCH];
        // SAFETY: The call's parts live here.
        let count = unsafe { tasks(&call) };
        // The best of each task, since other work of the machine seldom hits the same one every time.
        let mut best = vec![Duration::MAX; count as usize];
        let start = Instant::now();
        while start.elapsed() < Duration::from_millis(400) {
            for (task, best) in (0..).zip(&mut best) {
                let begin = Instant::now();
                // SAFETY: As above; tasks run one after another.
                unsafe { run(self.level, &call, task, &mut scratch) };
                *best = begin.elapsed().min(*best);
            }
        }
        let nanoseconds = best.iter().sum::<Duration>().as_nanos() as f64;
        println!(
            "{name:32} {:8.3} ns  {count:4} tasks of {:6.1} µs",
            nanoseconds / elements as f64,
            nanoseconds / 1000.0 / f64::from(count)
        );
    }
}

fn values(count: usize) -> Vec<f32> {
    (0..count).map(|i| ((i * 2_654_435_761) >> 7 & 0xffff) as f32 / 32768.0 - 1.0).collect()
}

fn words(words: impl Iterator<Item = u32>) -> Vec<f32> {
    words.map(f32::from_bits).collect()
}

fn elementwise(bench: &Bench) {
    let n = 1 << 20;
    let hyper = [0.999, 0.01, 0.9, 0.1, 0.999, 0.001, 0.03, 1e-8].repeat(2);
    let positive = values(n).iter().map(|x| x * x).collect();
    let mut operands = [values(n), vec![1.0; 4], hyper, values(n), values(n), positive];
    bench.time("adamw", adamw::Params { n: n as u32, decays: 1 }, n, &mut operands);
    let params = dropout::Params { n: n as u32, stream: 1, threshold: 1 << 29, scale: 1.125 };
    bench.time("dropout_forward", params, n, &mut [vec![0.0], values(n), values(n)]);
    bench.time("dropout_backward_add", params, n, &mut [vec![0.0], values(n), values(n)]);
    bench.time(
        "grad_norm_squares",
        grad_norm::SquaresParams { n: n as u32, first: 0 },
        n,
        &mut [values(n), values(n)],
    );
    bench.time(
        "grad_norm_loss_sum",
        grad_norm::LossSumParams { n: 4096 },
        4096,
        &mut [values(4096), values(1)],
    );
    let params = glu::Params { rows: ROWS as u32, cols: 1536, width: 1536, up: 1536, stride: 3072 };
    let n = ROWS * 1536;
    for act in ["silu", "gelu_tanh"] {
        bench.time(&format!("glu_forward.{act}"), params, n, &mut [values(2 * n), values(n)]);
        // In place, so that values go to zero; what they are does not change the time.
        bench.time(&format!("glu_backward.{act}"), params, n, &mut [values(n), values(2 * n)]);
    }
}

fn by_rows(bench: &Bench) {
    let n = ROWS * WIDTH;
    let params = rms_norm::Params { rows: ROWS as u32, cols: WIDTH as u32, stride: WIDTH as u32, eps: 1e-5 };
    let row = || values(WIDTH);
    let forward = || vec![values(n), row(), values(n), values(ROWS)];
    bench.time("rms_norm_forward.plain", params, n, &mut forward());
    bench.time("rms_norm_forward.residual", params, n, &mut [forward(), vec![values(n)]].concat());
    let backward = || vec![values(n), values(n), row(), values(ROWS), values(n)];
    bench.time("rms_norm_backward.plain", params, n, &mut backward());
    bench.time("rms_norm_backward.residual", params, n, &mut [backward(), vec![values(n)]].concat());
    for (name, bits) in [("f32", 32), ("f16", 16), ("bf16", 16)] {
        let params = embedding::Params {
            rows: ROWS as u32,
            depth: WIDTH as u32,
            first_id: 0,
            n_ids: 4096,
            scale: 1.0,
        };
        let table = vec![0.0; 4096 * WIDTH * bits / 32];
        let ids = words((0..ROWS as u32).map(|row| row * 2654 % 4096));
        bench.time(&format!("embedding_forward.{name}"), params, n, &mut [ids, table, values(1), values(n)]);
    }
    let params = rows::Params { count: ROWS as u32, stride: WIDTH as u32, first: 0 };
    let index = || words((0..ROWS as u32).rev());
    bench.time("rows_gather", params, n, &mut [values(n), index(), values(n)]);
    bench.time("rows_scatter", params, n, &mut [values(n), index(), values(n)]);
    let (stride, n) = (960, ROWS * 960);
    let params = head_norm::Params {
        rows: ROWS as u32,
        stride,
        q_offset: 0,
        k_offset: 576,
        q_heads: 9,
        kv_heads: 3,
        head_dim: 64,
        eps: 1e-5,
    };
    bench.time("head_norm_forward", params, n, &mut [values(n), values(64), values(64), values(n)]);
    bench.time("head_norm_backward", params, n, &mut [values(n), values(64), values(64), values(n)]);
    let params = rope::Params {
        rows: ROWS as u32,
        stride,
        q_offset: 0,
        k_offset: 576,
        q_heads: 9,
        kv_heads: 3,
        head_dim: 64,
        rotary_dim: 64,
        sign: 1.0,
        table_stride: 32,
    };
    let positions = words(0..ROWS as u32);
    let mut operands = [values(n), positions.clone(), vec![0.6; ROWS * 32], vec![0.8; ROWS * 32]];
    bench.time("rope", params, ROWS * 12 * 64, &mut operands);
    let params = kv_append::Params {
        rows: ROWS as u32,
        qkv_stride: stride,
        k_offset: 576,
        v_offset: 768,
        kv_width: 192,
        cache_stride: 384,
    };
    bench.time("kv_append", params, ROWS * 384, &mut [values(n), positions, values(ROWS * 384)]);
}

fn losses(bench: &Bench) {
    let rows = 32;
    let n = rows * VOCAB;
    let params =
        cross_entropy::Params { rows: rows as u32, vocab: VOCAB as u32, stride: VOCAB as u32, first: 0 };
    let targets = || words((0..rows as u32).map(|row| row * 1000));
    let mut operands = [targets(), values(rows), values(n), values(rows)];
    bench.time("cross_entropy_forward_backward", params, n, &mut operands);
    let params = cross_entropy::ChunkParams {
        rows: rows as u32,
        vocab: 8192,
        stride: 8192,
        first: 0,
        first_id: 8192,
        width: WIDTH as u32,
    };
    let summaries = || [1.0, 2.0, 3.0, 0.0].repeat(rows);
    let mut operands = [targets(), summaries(), values(rows * 8192), values(rows * WIDTH), summaries()];
    bench.time("cross_entropy_chunk", params, rows * 8192, &mut operands);
    let params =
        cross_entropy::FinishParams { rows: rows as u32, vocab: VOCAB as u32, width: WIDTH as u32, first: 0 };
    let sums = || values(rows * WIDTH);
    let mut operands = [targets(), values(rows), summaries(), sums(), sums(), values(rows)];
    bench.time("cross_entropy_finish", params, rows * WIDTH, &mut operands);
}

fn attend(bench: &Bench, rows: usize, [q_heads, kv_heads, head_dim]: [usize; 3]) {
    println!(
        "attention of {rows} rows, {q_heads} and {kv_heads} heads of {head_dim}: for a row, a key and a query head"
    );
    let stride = (q_heads + 2 * kv_heads) * head_dim;
    let width = q_heads * head_dim;
    let params = attention::Params {
        rows: rows as u32,
        q_stride: stride as u32,
        q_offset: 0,
        kv_stride: stride as u32,
        k_offset: width as u32,
        v_offset: (width + kv_heads * head_dim) as u32,
        out_stride: width as u32,
        q_heads: q_heads as u32,
        kv_heads: kv_heads as u32,
        head_dim: head_dim as u32,
        scale: 0.125,
        first_row: 0,
    };
    let spans = || words((0..rows as u32).flat_map(|row| [0, row + 1]));
    let last = words((0..rows).map(|_| rows as u32));
    let pairs = rows * (rows + 1) / 2 * q_heads;
    let qkv = || values(rows * stride);
    let out = || values(rows * width);
    let heads = || values(rows * q_heads);
    bench.time("attention_forward", params, pairs, &mut [qkv(), qkv(), spans(), out(), heads()]);
    let mut operands = [qkv(), out(), out(), heads(), spans(), heads(), qkv()];
    bench.time("attention_backward_q", params, pairs, &mut operands);
    let mut operands = [qkv(), out(), heads(), heads(), last, qkv()];
    bench.time("attention_backward_kv", params, pairs, &mut operands);
    let params = attention::Params { rows: 1, ..params };
    let mut operands = [qkv(), qkv(), words([0, rows as u32].into_iter()), out(), heads()];
    bench.time("attention_decode", params, rows * q_heads, &mut operands);
}

fn main() {
    let wanted = std::env::args().nth(1).unwrap_or_default();
    for level in [Level::Unfused, Level::best()] {
        println!("{}", level.name());
        let bench = Bench { wanted: wanted.clone(), level };
        elementwise(&bench);
        by_rows(&bench);
        losses(&bench);
        attend(&bench, 512, [9, 3, 64]);
        attend(&bench, 128, [9, 3, 64]);
        attend(&bench, 512, [8, 8, 32]);
        attend(&bench, 512, [32, 8, 128]);
    }
}
