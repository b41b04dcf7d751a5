//! GFLOP/s of the products on one thread: `cargo run --release -p tabtune-cpu --example gemm`.

use std::time::Instant;

use tabtune_cpu::params::linear::{NONE, Params};
use tabtune_cpu::{Call, Level, Operand, SCRATCH, index, run, tasks};

fn plain(rows: usize, cols: usize, depth: usize) -> Params {
    let [rows, cols, depth] = [rows, cols, depth].map(|size| size as u32);
    Params {
        rows,
        cols,
        depth,
        true_depth: depth,
        x_stride: depth,
        x_offset: 0,
        y_stride: cols,
        y_offset: 0,
        rank: 0,
        t_stride: 0,
        add_residual: 0,
        scale: 1.0,
        section_end: [u32::MAX; 4],
        t_offset: [NONE; 4],
        b_base: [0; 4],
    }
}

fn main() {
    let shapes = [
        (512, 512, 512),
        (512, 2048, 2048),
        (256, 1536, 576),
        (128, 576, 576),
        (4, 2048, 2048),
        (1, 2048, 2048),
    ];
    let kernels = [
        "linear_forward.f32",
        "linear_forward.nf4",
        "linear_forward.f16",
        "linear_backward.f32",
        "linear_backward.nf4",
    ];
    for (rows, cols, depth) in shapes {
        for kernel in kernels {
            let Some(kernel_index) = index(kernel) else { continue };
            for level in [Level::Unfused, Level::Fused] {
                let params = plain(rows, cols, depth);
                let wide = cols.max(depth);
                let mut values: Vec<u32> = (0..wide * wide).map(|i| (i as f32).sin().to_bits()).collect();
                let mut x: Vec<f32> = (0..rows * wide).map(|i| (i as f32).cos()).collect();
                let mut y = vec![0.0f32; rows * wide];
                let of = |start: *mut f32, len: usize| Operand { start: start.cast(), bytes: 4 * len };
                let x_operand = of(x.as_mut_ptr(), x.len());
                let w_operand = of(values.as_mut_ptr().cast(), values.len());
                let operands = [
                    x_operand,
                    w_operand,
                    w_operand,
                    x_operand,
                    x_operand,
                    x_operand,
                    of(y.as_mut_ptr(), y.len()),
                ];
                let call = Call {
                    kernel: kernel_index,
                    params: std::ptr::from_ref(&params).cast(),
                    operands: operands.as_ptr(),
                    count: operands.len() as u32,
                };
                let mut scratch = vec![0.0; SCRATCH];
                // The best of each task, because other programs take turns with a long product.
                // SAFETY: The operands live here and are as long as the shapes say.
                let mut best = vec![f64::INFINITY; unsafe { tasks(&call) } as usize];
                let start = Instant::now();
                while start.elapsed().as_millis() < 400 {
                    for (task, best) in best.iter_mut().enumerate() {
                        let one = Instant::now();
                        // SAFETY: As above.
                        unsafe { run(level, &call, task as u32, &mut scratch) };
                        *best = best.min(one.elapsed().as_secs_f64());
                    }
                }
                let best: f64 = best.into_iter().sum();
                let flops = 2.0 * (rows * cols * depth) as f64;
                println!(
                    "{rows} x {cols} x {depth} {kernel} {}: {:.1} GFLOP/s, {:.3} ms",
                    level.name(),
                    flops / best / 1e9,
                    best * 1e3
                );
            }
        }
    }
}
