//! The linear kernels against their twins, for every tile and weight format.

use tabtune::format::Nf4Quantizer;
use tabtune::format::WeightFormat;
use tabtune::kernels::linear::{self, NONE, Panel, Params, Tile, Weight};
use tabtune::kernels::lora_grad::{self, Along};
use tabtune::model::{NF4_ZERO, padded_codes};
use tabtune::reference;

use crate::gpu::gpu;
use crate::harness::{By, Harness, assert_close_scaled, random, to_f32, to_f64};

/// A weight on the GPU and the dense values it stands for, rows padded to a multiple of 8.
struct TestWeight {
    weight: Weight,
    dense: Vec<f32>,
}

fn upload(h: &mut Harness, format: WeightFormat, seed: u64, rows: usize, true_depth: usize) -> TestWeight {
    let depth = true_depth.next_multiple_of(8);
    let values = random(seed, rows * true_depth, -1.0, 1.0);
    let pad = |values: &[f32]| -> Vec<f32> {
        let row =
            |row: &[f32]| row.iter().copied().chain(std::iter::repeat(0.0)).take(depth).collect::<Vec<_>>();
        values.chunks(true_depth).flat_map(row).collect()
    };
    let halves = |to_bits: fn(f32) -> u16, to_f32: fn(u16) -> f32| {
        let bits: Vec<u16> = pad(&values).iter().map(|&value| to_bits(value)).collect();
        let words: Vec<u32> =
            bits.chunks(2).map(|pair| u32::from(pair[0]) | u32::from(pair[1]) << 16).collect();
        (words, bits.iter().map(|&bits| to_f32(bits)).collect::<Vec<f32>>())
    };
    match format {
        WeightFormat::F32 => {
            let dense = pad(&values);
            let values = h.input(&dense);
            TestWeight { weight: Weight::f32(values), dense }
        }
        WeightFormat::F16 | WeightFormat::Bf16 => {
            let (words, dense) = if format == WeightFormat::F16 {
                halves(|v| half::f16::from_f32(v).to_bits(), |bits| half::f16::from_bits(bits).to_f32())
            } else {
                halves(|v| half::bf16::from_f32(v).to_bits(), |bits| half::bf16::from_bits(bits).to_f32())
            };
            let values = h.input_u32(&words);
            TestWeight { weight: Weight::new(format, values, values), dense }
        }
        WeightFormat::Nf4 | WeightFormat::Nf4Any => {
            let mut quantizer = Nf4Quantizer::new(&[rows, true_depth]);
            quantizer.push(&values);
            let tensor = quantizer.finish().expect("the tensor is whole");
            let dense = pad(&tensor.dequantize());
            let words: Vec<u32> = bytemuck::pod_collect_to_vec(&padded_codes(&tensor, true_depth, NF4_ZERO));
            let values = h.input_u32(&words);
            let scales = h.input(&tensor.absmax);
            TestWeight { weight: Weight::new(format, values, scales), dense }
        }
        _ => upload_random(h, format, seed, rows, true_depth),
    }
}

/// A weight of any codes and scales that the format may have.
fn upload_random(
    h: &mut Harness,
    format: WeightFormat,
    seed: u64,
    rows: usize,
    true_depth: usize,
) -> TestWeight {
    let depth = true_depth.next_multiple_of(8);
    let [value, scale] = format.layout().random;
    let words = |seed: u64, count: usize, of: fn(u32, usize) -> u32| -> Vec<u32> {
        let random = random(seed, count, 1.0, 2.0).into_iter().map(|x| x.to_bits() << 9);
        // Of a random f32 between one and two the mantissa's bits are random.
        random.enumerate().map(|(number, word)| of(word ^ word.rotate_left(13), number)).collect()
    };
    let mut values = words(seed, rows * format.row_words(depth), value);
    let scales = words(seed + 1000, format.scale_words(rows, true_depth), scale);
    if true_depth < depth {
        zero_padding(format, &mut values, depth, true_depth);
    }
    let params = Params { true_depth: true_depth as u32, ..Params::plain(rows, rows, depth) };
    let dense = reference::linear::decode(&params, format, &values, &scales);
    let (values, scales) = (h.input_u32(&values), h.input_u32(&scales));
    TestWeight { weight: Weight::new(format, values, scales), dense }
}

/// Makes the codes past a row's end zero, which is the code of zero in the formats that have padding.
fn zero_padding(format: WeightFormat, values: &mut [u32], depth: usize, true_depth: usize) {
    let row_bytes = 4 * format.row_words(depth);
    for row in bytemuck::cast_slice_mut::<u32, u8>(values).chunks_exact_mut(row_bytes) {
        if format == WeightFormat::Int8 {
            row[true_depth..].fill(0);
            continue;
        }
        for k in true_depth..depth {
            row[k / 2] &= if k % 2 == 0 { 0x0f } else { 0xf0 };
        }
    }
}

/// The row norms ‖x row‖·‖w row‖ that errors are measured by.
fn norms(x: &[f32], x_width: usize, w: &[f32], w_width: usize) -> Vec<f32> {
    let norm = |row: &[f32]| row.iter().map(|v| v * v).sum::<f32>().sqrt();
    let w_norms: Vec<f32> = w.chunks(w_width).map(norm).collect();
    x.chunks(x_width).flat_map(|row| w_norms.iter().map(move |w| norm(row) * w + 1e-3)).collect()
}

/// The tiles that run here: on Mesa's CPU adapter all of them, but for cooperative matrices of 16 × 16; and
/// for any at all before Mesa 26.
fn tiles() -> Vec<Tile> {
    let (device, mut tiles) = (gpu(), Tile::ALL.to_vec());
    tiles.retain(|tile| tile.runs_on(device.summary()));
    let is_cooperative = |tile: &&Tile| matches!(tile, Tile::Cooperative8 | Tile::Cooperative16);
    let most = Tile::ALL.iter().filter(|tile| !is_cooperative(tile)).count();
    let others = tiles.iter().filter(|tile| !is_cooperative(tile)).count();
    assert!(!device.summary().is_software || others == most, "a CPU adapter without subgroups of 8 or f16");
    tiles
}

/// All that computes products here.
fn runners() -> Vec<By> {
    tiles().into_iter().map(By::Tile).chain([By::Processor]).collect()
}

/// The formats that products are checked with here. Mesa's CPU adapter takes seconds to compile a tile for GPUs, so
/// there it has one format of each kind: what reads a format is the same text in all tiles, and the other tiles have
/// all of them.
fn formats(by: By) -> impl Iterator<Item = WeightFormat> {
    let is_slow = |tile| matches!(tile, Tile::Subgroup4 | Tile::Shared32 | Tile::Shared64 | Tile::Shared128);
    let is_slow_here = matches!(by, By::Tile(tile) if is_slow(tile)) && gpu().summary().is_software;
    // What a tile does not read is decoded alike for each of them.
    let suits = move |format: WeightFormat| match by {
        By::Tile(tile) => tile.suits(format) && (tile.reads(format) || tile == Tile::Direct),
        By::Processor => true,
    };
    let kinds = [WeightFormat::F16, WeightFormat::Nf4, WeightFormat::Q4K];
    let is_checked = move |format| !is_slow_here || kinds.contains(&format);
    WeightFormat::ALL.into_iter().filter(move |&format| suits(format) && is_checked(format))
}

fn depths(format: WeightFormat) -> &'static [usize] {
    match format {
        WeightFormat::Nf4Any | WeightFormat::Fp4Any => &[8, 20, 72, 100, 136],
        _ => match format.layout().block {
            1 => &[8, 64, 100, 136],
            32 => &[32, 96],
            64 => &[64, 192],
            _ => &[256, 512],
        },
    }
}

#[test]
fn forward_matches_its_twin_for_every_format_tile_and_awkward_size() {
    for by in runners() {
        for format in formats(by) {
            for (case, &true_depth) in depths(format).iter().enumerate() {
                for (rows, cols) in [(1, 8), (3, 72), (8, 64), (13, 56), (65, 136)] {
                    let mut h = Harness::by(by);
                    let mut w = upload(&mut h, format, case as u64, cols, true_depth);
                    // Fewer rows have a kernel of their own, which rounds nothing.
                    if by.is_half() && rows >= 8 {
                        reference::linear::round_to_f16(&mut w.dense);
                    }
                    let depth = true_depth.next_multiple_of(8);
                    let x = random(7, rows * depth, -1.0, 1.0);
                    let residual = random(8, rows * cols, -1.0, 1.0);
                    let params = Params {
                        true_depth: true_depth as u32,
                        add_residual: 1,
                        scale: 0.75,
                        ..Params::plain(rows, cols, depth)
                    };
                    let (x_in, residual_in) = (h.input(&x), h.input(&residual));
                    let y = h.output(rows * cols);
                    h.run(|rec| linear::forward(rec, params, x_in, w.weight, None, Some(residual_in), y));
                    let mut want = vec![0.0; rows * cols];
                    let (x64, w64, r64) = (to_f64(&x), to_f64(&w.dense), to_f64(&residual));
                    reference::linear::forward(&params, &x64, &w64, None, Some(&r64), &mut want);
                    let name = format!("forward {format:?} {by:?} M={rows} N={cols} K={true_depth}");
                    assert_close_scaled(
                        &name,
                        &h.read(y),
                        &to_f32(&want),
                        &norms(&x, depth, &w.dense, depth),
                        2e-6,
                    );
                }
            }
        }
    }
}

#[test]
fn inputs_beyond_the_range_of_f16_lose_nothing() {
    let (rows, cols, depth) = (65, 72, 64);
    let params = Params::plain(rows, cols, depth);
    for by in runners() {
        for magnitude in [1e-20, 1e8] {
            let mut h = Harness::by(by);
            // A format that the tile does not round.
            let format = if by.is_half() { WeightFormat::F16 } else { WeightFormat::Nf4 };
            let w = upload(&mut h, format, 1, cols, depth);
            let (x, dy) = (random(2, rows * depth, -1.0, 1.0), random(3, rows * cols, -1.0, 1.0));
            let scaled = |values: &[f32]| values.iter().map(|v| v * magnitude).collect::<Vec<_>>();
            let (x_in, dy_in) = (h.input(&scaled(&x)), h.input(&scaled(&dy)));
            let (y, dx) = (h.output(rows * cols), h.output(rows * depth));
            h.run(|rec| {
                linear::forward(rec, params, x_in, w.weight, None, None, y);
                linear::backward(rec, params, dy_in, w.weight, None, None, dx);
            });
            let (x64, dy64, w64) = (to_f64(&x), to_f64(&dy), to_f64(&w.dense));
            let check = |name: &str, out, want: &[f64], length: usize| {
                let got: Vec<f32> = h.read(out).into_iter().map(|v: f32| v / magnitude).collect();
                let scales = vec![(length as f32).sqrt(); want.len()];
                assert_close_scaled(
                    &format!("{name} {by:?} {magnitude:e}"),
                    &got,
                    &to_f32(want),
                    &scales,
                    2e-6,
                );
            };
            let mut want = vec![0.0; rows * cols];
            reference::linear::forward(&params, &x64, &w64, None, None, &mut want);
            check("forward", y, &want, depth);
            let mut want = vec![0.0; rows * depth];
            reference::linear::backward(&params, &dy64, &w64, None, None, &mut want);
            check("backward", dx, &want, cols);
        }
    }
}

#[test]
fn backward_matches_its_twin_for_every_format_tile_and_awkward_size() {
    for by in runners() {
        for format in formats(by) {
            for (case, &true_depth) in depths(format).iter().enumerate() {
                for (rows, cols) in [(1, 8), (8, 64), (13, 56), (65, 136)] {
                    let mut h = Harness::by(by);
                    let mut w = upload(&mut h, format, case as u64, cols, true_depth);
                    if by.is_half() {
                        reference::linear::round_to_f16(&mut w.dense);
                    }
                    let depth = true_depth.next_multiple_of(8);
                    let dy = random(7, rows * cols, -1.0, 1.0);
                    let residual = random(8, rows * depth, -1.0, 1.0);
                    let params = Params {
                        true_depth: true_depth as u32,
                        add_residual: 1,
                        ..Params::plain(rows, cols, depth)
                    };
                    let (dy_in, residual_in) = (h.input(&dy), h.input(&residual));
                    let dx = h.output(rows * depth);
                    h.run(|rec| linear::backward(rec, params, dy_in, w.weight, None, Some(residual_in), dx));
                    let mut want = vec![0.0; rows * depth];
                    let (dy64, w64, r64) = (to_f64(&dy), to_f64(&w.dense), to_f64(&residual));
                    reference::linear::backward(&params, &dy64, &w64, None, Some(&r64), &mut want);
                    let columns: Vec<f32> = (0..depth)
                        .flat_map(|k| (0..cols).map(move |n| (n, k)))
                        .map(|(n, k)| w.dense[n * depth + k])
                        .collect();
                    let name = format!("backward {format:?} {by:?} M={rows} N={cols} K={true_depth}");
                    assert_close_scaled(
                        &name,
                        &h.read(dx),
                        &to_f32(&want),
                        &norms(&dy, cols, &columns, cols),
                        2e-6,
                    );
                }
            }
        }
    }
}

#[test]
fn narrow_products_match_their_twin() {
    for by in runners() {
        for (rows, cols, depth) in [(8, 8, 8), (33, 24, 136), (70, 32, 64), (9, 200, 72)] {
            let mut h = Harness::by(by);
            let (x, w) = (random(1, rows * depth, -1.0, 1.0), random(2, cols * depth, -1.0, 1.0));
            let (x_in, w_in, y) = (h.input(&x), h.input(&w), h.output(rows * cols));
            let params = Params { scale: 0.5, ..Params::plain(rows, cols, depth) };
            h.run(|rec| linear::narrow(rec, params, x_in, w_in, y));
            let mut want = vec![0.0; rows * cols];
            reference::linear::forward(&params, &to_f64(&x), &to_f64(&w), None, None, &mut want);
            let name = format!("narrow {by:?} M={rows} N={cols} K={depth}");
            assert_close_scaled(&name, &h.read(y), &to_f32(&want), &norms(&x, depth, &w, depth), 2e-6);
        }
    }
}

/// Three stacked layers of which the middle one has no LoRA, as with target_modules q_proj, v_proj.
fn stacked(rows: usize, depth: usize, rank: usize) -> Params {
    Params {
        rank: rank as u32,
        t_stride: 2 * rank as u32,
        section_end: [48, 72, 104, u32::MAX],
        t_offset: [0, NONE, rank as u32, NONE],
        b_base: [0, 0, 48 * rank as u32, 0],
        ..Params::plain(rows, 104, depth)
    }
}

#[test]
fn panels_and_lora_gradients_of_stacked_layers_match_their_twins() {
    for by in runners() {
        for (rows, rank, depth) in [(1, 8, 64), (5, 16, 72), (9, 8, 64), (70, 24, 72), (9, 512, 64)] {
            let mut h = Harness::by(by);
            // A format that the tile does not round, and whose blocks fill its rows.
            let format = if by.is_half() || depth % 64 != 0 { WeightFormat::F16 } else { WeightFormat::Nf4 };
            let w = upload(&mut h, format, 3, 104, depth);
            let params = stacked(rows, depth, rank);
            let x = random(1, rows * depth, -1.0, 1.0);
            let t = random(2, rows * 2 * rank, -1.0, 1.0);
            let a = random(3, 2 * rank * depth, -1.0, 1.0);
            let b = random(4, 80 * rank, -1.0, 1.0);
            let dy = random(5, rows * 104, -1.0, 1.0);
            let start = random(6, 80 * rank, -1.0, 1.0);
            let (x_in, t_in, a_in, b_in, dy_in) =
                (h.input(&x), h.input(&t), h.input(&a), h.input(&b), h.input(&dy));
            let (y, dx, dt) = (h.output(rows * 104), h.output(rows * depth), h.output(rows * 2 * rank));
            let start_a = random(7, 2 * rank * depth, -1.0, 1.0);
            let (db, da) = (h.input(&start), h.input(&start_a));
            let backward = Params { rank: params.t_stride, ..params };
            let outer = lora_grad::Params {
                rows: rows as u32,
                u_stride: 104,
                u_offset: 0,
                v_stride: params.t_stride,
                height: 104,
                width: rank as u32,
                scale: 1.0,
                pad: 0,
                section_end: params.section_end,
                v_offset: params.t_offset,
                g_base: params.b_base,
            };
            let of_a = lora_grad::Params {
                u_stride: params.t_stride,
                v_stride: params.depth,
                height: params.t_stride,
                width: params.depth,
                scale: -0.75,
                section_end: [u32::MAX; 4],
                v_offset: [0; 4],
                g_base: [0; 4],
                ..outer
            };
            h.run(|rec| {
                linear::forward(rec, params, x_in, w.weight, Some(Panel { t: t_in, factor: b_in }), None, y);
                let panel = Panel { t: t_in, factor: a_in };
                linear::backward(rec, backward, dy_in, w.weight, Some(panel), None, dx);
                lora_grad::t(rec, params, 3, dy_in, b_in, dt);
                lora_grad::outer(rec, Along::U, outer, dy_in, t_in, db);
                lora_grad::outer(rec, Along::V, of_a, t_in, x_in, da);
            });
            let (x64, t64, a64, b64, dy64, w64) =
                (to_f64(&x), to_f64(&t), to_f64(&a), to_f64(&b), to_f64(&dy), to_f64(&w.dense));
            let check = |name: &str, tensor, want: &[f64], length: usize| {
                let name = format!("{name} {by:?} M={rows} R={rank}");
                let scales = vec![(length as f32).sqrt(); want.len()];
                assert_close_scaled(&name, &h.read(tensor), &to_f32(want), &scales, 2e-6);
            };
            let mut want = vec![0.0; rows * 104];
            let panel = reference::linear::Panel { t: &t64[..], factor: &b64[..] };
            reference::linear::forward(&params, &x64, &w64, Some(panel), None, &mut want);
            check("forward with panel", y, &want, depth + rank);
            let mut want = vec![0.0; rows * depth];
            let panel = reference::linear::Panel { t: &t64[..], factor: &a64[..] };
            reference::linear::backward(&backward, &dy64, &w64, Some(panel), None, &mut want);
            check("backward with panel", dx, &want, 104 + 2 * rank);
            let mut want = vec![0.0; rows * 2 * rank];
            reference::lora_grad::t(&params, 3, &dy64, &b64, &mut want);
            check("lora_grad_t", dt, &want, 48);
            let mut want = to_f64(&start);
            reference::lora_grad::outer(&outer, &dy64, &t64, &mut want);
            check("gradient of B", db, &want, rows + 1);
            let mut want = to_f64(&start_a);
            reference::lora_grad::outer(&of_a, &t64, &x64, &mut want);
            check("gradient of A", da, &want, rows + 1);
        }
    }
}

#[test]
fn decoding_into_scratch_is_exact() {
    for format in WeightFormat::ALL.into_iter().filter(|&format| format != WeightFormat::F32) {
        for &true_depth in depths(format) {
            let (cols, depth) = (56, true_depth.next_multiple_of(8));
            let mut h = Harness::new();
            let w = upload(&mut h, format, 5, cols, true_depth);
            let params = Params { true_depth: true_depth as u32, ..Params::plain(1, cols, depth) };
            let out = h.output(cols * depth);
            h.run(|rec| linear::decode(rec, params, w.weight, out));
            let (words, scales) = (h.read_u32(w.weight.values), h.read_u32(w.weight.scales));
            let twin = reference::linear::decode(&params, format, &words, &scales);
            assert_eq!(twin, w.dense, "the twin of {format:?} K={true_depth}");
            assert_eq!(h.read(out), twin, "{format:?} K={true_depth}");
        }
    }
}

/// Of columns of wider rows, as those of one of several products are, added to what is there.
#[test]
fn the_gradient_of_a_whole_weight_is_the_sum_over_rows() {
    for by in runners() {
        for (rows, cols, depth) in [(1, 8, 8), (5, 24, 72), (70, 104, 64)] {
            let mut h = Harness::by(by);
            let (stride, offset, scale) = (cols + 24, 16, -0.75);
            let params = Params {
                y_stride: stride as u32,
                y_offset: offset as u32,
                scale,
                ..Params::plain(rows, cols, depth)
            };
            let dy = random(1, rows * stride, -1.0, 1.0);
            let x = random(2, rows * depth, -1.0, 1.0);
            let before = random(3, cols * depth, -1.0, 1.0);
            let (dy_in, x_in, gradient) = (h.input(&dy), h.input(&x), h.input(&before));
            h.run(|rec| lora_grad::weight(rec, params, dy_in, x_in, gradient));
            let want: Vec<f32> = (0..cols * depth)
                .map(|at| {
                    let (n, k) = (at / depth, at % depth);
                    let of_row =
                        |m: usize| f64::from(dy[m * stride + offset + n]) * f64::from(x[m * depth + k]);
                    (f64::from(before[at]) + f64::from(scale) * (0..rows).map(of_row).sum::<f64>()) as f32
                })
                .collect();
            let name = format!("dW {by:?} M={rows} N={cols} K={depth}");
            let scales = vec![(rows as f32).sqrt(); want.len()];
            assert_close_scaled(&name, &h.read(gradient), &want, &scales, 2e-6);
        }
    }
}
