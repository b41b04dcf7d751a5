use super::Cut;
use super::gemm;
use crate::params::linear::{NONE, Params};
use crate::params::{NF4_BLOCK, NF4_CODES};
use crate::testing::{assert_close, from_words, levels, random, run, run_at};

/// A weight [rows, depth] as it is stored, and the values that it stands for.
struct Stored {
    words: Vec<f32>,
    scales: Vec<f32>,
    dense: Vec<f32>,
}

const FORMATS: [&str; 5] = ["f32", "f16", "bf16", "nf4", "nf4_any"];

fn stored(format: &str, rows: usize, true_depth: usize) -> Stored {
    let depth = true_depth.next_multiple_of(8);
    let mut bits = random(3, rows * depth).into_iter().map(f32::to_bits);
    let (mut words, mut dense) = (vec![0u32; rows * depth], vec![0.0; rows * depth]);
    let scales: Vec<f32> =
        random(4, (rows * true_depth).div_ceil(NF4_BLOCK)).iter().map(|scale| scale + 1.5).collect();
    for row in 0..rows {
        for k in 0..depth {
            let (at, bits) = (row * depth + k, bits.next().expect("there are as many"));
            let is_padding = k >= true_depth;
            let half = if is_padding { 0 } else { bits >> 16 };
            match format {
                "f32" => {
                    words[at] = if is_padding { 0 } else { bits };
                    dense[at] = f32::from_bits(words[at]);
                }
                "bf16" => {
                    words[at / 2] |= half << (16 * (k % 2));
                    dense[at] = f32::from_bits(half << 16);
                }
                "f16" => {
                    // An exponent of −4 to 3, and any mantissa and sign.
                    let half = if is_padding { 0 } else { half & 0x83ff | (11 + (bits & 7)) << 10 };
                    words[at / 2] |= half << (16 * (k % 2));
                    let magnitude =
                        (1.0 + (half & 1023) as f32 / 1024.0) * 2f32.powi((half >> 10 & 31) as i32 - 15);
                    let sign = if half >> 15 == 0 { 1.0 } else { -1.0 };
                    dense[at] = if is_padding { 0.0 } else { sign * magnitude };
                }
                _ => {
                    // Code 7 is zero.
                    let code = if is_padding { 7 } else { bits >> 8 & 15 };
                    words[at / 8] |= code << (8 * (k / 2 % 4) + 4 * (1 - k % 2));
                    if !is_padding {
                        dense[at] = NF4_CODES[code as usize] * scales[(row * true_depth + k) / NF4_BLOCK];
                    }
                }
            }
        }
    }
    let count = match format {
        "f32" => rows * depth,
        "f16" | "bf16" => rows * depth / 2,
        _ => rows * depth / 8,
    };
    Stored { words: from_words(&words[..count]), scales, dense }
}

fn depths(format: &str) -> &'static [usize] {
    match format {
        "nf4" => &[64, 320],
        "nf4_any" => &[8, 20, 100, 328],
        _ => &[8, 100, 264],
    }
}

fn plain(rows: usize, cols: usize, true_depth: usize) -> Params {
    let depth = true_depth.next_multiple_of(8) as u32;
    Params {
        rows: rows as u32,
        cols: cols as u32,
        depth,
        true_depth: true_depth as u32,
        x_stride: depth + 16,
        x_offset: 8,
        y_stride: cols as u32 + 24,
        y_offset: 16,
        rank: 0,
        t_stride: 0,
        add_residual: 1,
        scale: 0.75,
        section_end: [u32::MAX; 4],
        t_offset: [NONE; 4],
        b_base: [0; 4],
    }
}

/// Two layers with LoRA of rank 8 and one without between them.
fn stacked(rows: usize, true_depth: usize) -> Params {
    Params {
        rank: 8,
        t_stride: 16,
        section_end: [72, 80, 152, u32::MAX],
        t_offset: [0, NONE, 8, NONE],
        b_base: [0, 0, 72 * 8, 0],
        ..plain(rows, 152, true_depth)
    }
}

/// A sum of products in f64, and the sum of their magnitudes.
#[derive(Clone, Copy, Default)]
struct Sum(f64, f64);

impl Sum {
    fn add(&mut self, a: f32, b: f32, scale: f32) {
        let product = f64::from(a) * f64::from(b) * f64::from(scale);
        self.0 += product;
        self.1 += product.abs();
    }
}

/// What the columns `offset..offset + width` of `got` should be; the others stay as they were in `before`.
fn check(
    name: &str,
    got: &[f32],
    before: &[f32],
    [stride, offset, width]: [usize; 3],
    want: impl Fn(usize, usize) -> Sum,
) {
    let sum = |i: usize| match (i / stride, (i % stride).wrapping_sub(offset)) {
        (row, col) if col < width => want(row, col),
        _ => Sum(f64::from(before[i]), 0.0),
    };
    let (want, norms): (Vec<f64>, Vec<f64>) =
        (0..got.len()).map(sum).map(|Sum(sum, norm)| (sum, norm)).unzip();
    assert_close(name, got, &want, &norms, 1e-6);
}

#[test]
fn forward_is_right_for_every_format_and_awkward_size() {
    for format in FORMATS {
        for &true_depth in depths(format) {
            for rows in [1, 2, 3, 7, 65, 130] {
                for params in
                    [plain(rows, 8, true_depth), plain(rows, 72, true_depth), stacked(rows, true_depth)]
                {
                    forward(format, &params);
                }
            }
        }
    }
}

fn forward(format: &str, params: &Params) {
    let [rows, cols, depth, rank] =
        [params.rows, params.cols, params.depth, params.rank].map(|size| size as usize);
    let [xs, ys, ts] = [params.x_stride, params.y_stride, params.t_stride].map(|size| size as usize);
    let [xo, yo] = [params.x_offset, params.y_offset].map(|size| size as usize);
    let w = stored(format, cols, params.true_depth as usize);
    let (x, residual, y) = (random(1, rows * xs), random(2, rows * ys), random(5, rows * ys));
    let (t, b) = (random(6, rows * ts.max(1)), random(7, 2 * 72 * 8));
    let name = format!("linear_forward.{format}");
    for operands in run(&name, params, &[&x, &w.words, &w.scales, &t, &b, &residual, &y]) {
        check(&format!("{name} {params:?}"), &operands[6], &y, [ys, yo, cols], |row, col| {
            let mut sum = Sum::default();
            (0..depth).for_each(|k| sum.add(x[row * xs + xo + k], w.dense[col * depth + k], params.scale));
            let index = params.section_end.iter().filter(|&&end| col >= end as usize).count();
            if rank > 0 && params.t_offset[index] != NONE {
                let start = if index == 0 { 0 } else { params.section_end[index - 1] as usize };
                let t = &t[row * ts + params.t_offset[index] as usize..];
                let b = &b[params.b_base[index] as usize + (col - start) * rank..];
                (0..rank).for_each(|r| sum.add(t[r], b[r], 1.0));
            }
            sum.add(residual[row * ys + yo + col], 1.0, 1.0);
            sum
        });
    }
}

#[test]
fn backward_is_right_for_every_format_and_awkward_size() {
    for format in FORMATS {
        for &true_depth in depths(format) {
            for rows in [1, 3, 7, 65] {
                for params in [plain(rows, 8, true_depth), stacked(rows, true_depth)] {
                    backward(format, &Params { rank: params.t_stride, ..params });
                }
            }
        }
    }
}

fn backward(format: &str, params: &Params) {
    let [rows, cols, depth, rank] =
        [params.rows, params.cols, params.depth, params.rank].map(|size| size as usize);
    let [xs, ys, ts] = [params.x_stride, params.y_stride, params.t_stride].map(|size| size as usize);
    let [xo, yo] = [params.x_offset, params.y_offset].map(|size| size as usize);
    let w = stored(format, cols, params.true_depth as usize);
    let (dy, residual, dx) = (random(1, rows * ys), random(2, rows * xs), random(5, rows * xs));
    let (dt, a) = (random(6, rows * ts.max(1)), random(7, rank.max(1) * depth));
    let name = format!("linear_backward.{format}");
    for operands in run(&name, params, &[&dy, &w.words, &w.scales, &dt, &a, &residual, &dx]) {
        check(&format!("{name} {params:?}"), &operands[6], &dx, [xs, xo, depth], |row, k| {
            let mut sum = Sum::default();
            (0..cols)
                .for_each(|col| sum.add(dy[row * ys + yo + col], w.dense[col * depth + k], params.scale));
            (0..rank).for_each(|r| sum.add(dt[row * ts + r], a[r * depth + k], 1.0));
            sum.add(residual[row * xs + xo + k], 1.0, 1.0);
            sum
        });
    }
}

#[test]
fn narrow_products_and_decoded_weights_are_right() {
    for (rows, cols, depth) in [(1, 8, 8), (3, 16, 264), (130, 48, 72)] {
        let params = Params { add_residual: 0, ..plain(rows, cols, depth) };
        let w = stored("f32", cols, depth);
        let (xs, ys) = (params.x_stride as usize, params.y_stride as usize);
        let (x, y) = (random(1, rows * xs), random(2, rows * ys));
        for operands in run("linear_narrow", &params, &[&x, &w.words, &y]) {
            check("linear_narrow", &operands[2], &y, [ys, 16, cols], |row, col| {
                let mut sum = Sum::default();
                (0..depth).for_each(|k| sum.add(x[row * xs + 8 + k], w.dense[col * depth + k], params.scale));
                sum
            });
        }
    }
    for format in &FORMATS[1..] {
        for &true_depth in depths(format) {
            let w = stored(format, 40, true_depth);
            let out = vec![0.0; w.dense.len()];
            let params = plain(1, 40, true_depth);
            for operands in run(&format!("linear_decode.{format}"), &params, &[&out, &w.words, &w.scales]) {
                assert_eq!(operands[0], w.dense, "{format} of depth {true_depth}");
            }
        }
    }
}

/// How much of the time so many workers have work, each of whom takes the next task when it has done one.
fn share_of_work(cut: &Cut, workers: usize) -> f64 {
    let mut done = vec![0; workers];
    for part in (0..cut.tasks()).map(|task| cut.part(task)) {
        *done.iter_mut().min().expect("there are workers") += part.rows.len() * part.cols.len();
    }
    let most = done.iter().max().expect("there are workers");
    done.iter().sum::<usize>() as f64 / (workers * most) as f64
}

/// Rows, columns and inner dimension of products: of layers and the head of SmolLM2-135M at 128 tokens and of other widths
/// at more, of LoRA's sides, and of one row.
const PRODUCTS: [[usize; 3]; 20] = [
    [128, 3072, 576],
    [128, 576, 3072],
    [128, 576, 1536],
    [128, 960, 576],
    [128, 576, 576],
    [128, 49_152, 576],
    [80, 576, 49_152],
    [512, 512, 512],
    [512, 1536, 512],
    [1000, 2048, 2048],
    [128, 16, 576],
    [128, 48, 576],
    [128, 16, 1536],
    [3072, 16, 128],
    [960, 16, 128],
    [576, 16, 128],
    [16, 576, 128],
    [48, 576, 128],
    [1, 576, 576],
    [1, 3072, 576],
];

#[test]
fn products_are_divided_evenly() {
    for [rows, cols, inner] in PRODUCTS {
        let cut = Cut::of(rows, cols, inner);
        for (workers, least) in [(2, 0.93), (4, 0.88)] {
            let share = share_of_work(&cut, workers);
            assert!(
                share > least,
                "{rows} × {cols} × {inner}: {workers} workers are busy {share:.3} of the time"
            );
        }
    }
}

#[test]
fn each_result_is_of_one_task_and_little_is_packed_again() {
    for [rows, cols, inner] in PRODUCTS {
        let cut = Cut::of(rows, cols, inner);
        let mut covered = vec![0u8; rows * cols];
        for part in (0..cut.tasks()).map(|task| cut.part(task)) {
            assert!(part.rows.start % 8 == 0 && part.cols.start % 8 == 0 && part.cols.len() <= gemm::COLS);
            for row in part.rows {
                covered[row * cols..][part.cols.clone()].iter_mut().for_each(|count| *count += 1);
            }
        }
        assert!(covered.iter().all(|&count| count == 1), "{rows} × {cols} × {inner}: not each result once");
        // What tasks pack, by what they multiply; and what it would be in the largest tasks.
        let (down, across) = cut.grid();
        let packed = (rows * across + cols * down) as f64 / (rows * cols) as f64;
        let least = 1.0 / rows.min(480) as f64 + 1.0 / cols.min(128) as f64;
        assert!(packed < 2.0 * least, "{rows} × {cols} × {inner}: {packed:.3} is packed, of {least:.3}");
    }
}

#[test]
fn rows_of_a_product_do_not_depend_on_how_it_is_cut() {
    let (cols, depth) = (144, 576);
    let w = stored("f32", cols, depth);
    let product = |level, rows: usize| {
        let params = Params { x_stride: depth as u32, x_offset: 0, ..plain(rows, cols, depth) };
        let (x, y) = (random(1, rows * depth), vec![0.0; rows * params.y_stride as usize]);
        let operands = run_at(level, "linear_forward.f32", &params, &[&x, &w.words, &x, &x, &x, &y, &y]);
        operands[6].clone()
    };
    for level in levels() {
        let (few, many) = (product(level, 9), product(level, 700));
        assert_eq!(few[..], many[..few.len()]);
    }
}
