//! Adafactor against its twin.

use tabtune::kernels::Recorder;
use tabtune::kernels::adafactor::{self, Hyper, Piece, Shared, TILE, TILE_SUMS, Table, Tables, Update};
use tabtune::memory::Tensor;
use tabtune::reference;
use tabtune::reference::adafactor::Matrix;

use crate::harness::{Harness, assert_close_scaled, to_f32, to_f64};

/// Values of each of the two buffers.
const BUFFERS: [usize; 2] = [170_000, 20_000];
/// What lies where no matrix is.
const OUTSIDE: f32 = 7.0;

/// A matrix and where it lies.
struct Laid {
    size: [usize; 2],
    pieces: Vec<Piece>,
}

impl Laid {
    /// The buffer and the place there of each value.
    fn places(&self) -> Vec<[usize; 2]> {
        let rows = self.pieces.iter().flat_map(|piece| (0..piece.rows).map(move |row| (piece, row)));
        let values = rows.flat_map(|(piece, row)| (0..piece.cols).map(move |col| (piece, row, col)));
        values.map(|(piece, row, col)| [piece.segment, piece.first + row * piece.stride + col]).collect()
    }
}

/// A matrix of several tiles, one that lies in both buffers, a long one, a wide one, one of less than a tile, a vector and
/// one that lies in both buffers.
fn matrices() -> Vec<Laid> {
    let piece = |segment, first, stride, rows, cols| Piece { segment, first, stride, rows, cols };
    vec![
        Laid { size: [130, 203], pieces: vec![piece(0, 0, 208, 130, 203)] },
        Laid { size: [101, 61], pieces: vec![piece(0, 28_000, 64, 70, 61), piece(1, 64, 64, 31, 61)] },
        Laid { size: [5000, 6], pieces: vec![piece(0, 34_048, 16, 5000, 6)] },
        Laid { size: [6, 2000], pieces: vec![piece(0, 120_000, 2000, 6, 2000)] },
        Laid { size: [3, 4], pieces: vec![piece(1, 8000, 8, 3, 4)] },
        Laid { size: [1, 1001], pieces: vec![piece(1, 9000, 1, 1, 1001)] },
        Laid { size: [1, 90], pieces: vec![piece(1, 12_000, 1, 1, 72), piece(0, 160_000, 1, 1, 18)] },
    ]
}

/// All that the kernels of a step are called with.
struct Step {
    shared: Shared,
    tiles: Vec<Table>,
    lines: Table,
    matrices: Table,
    tile_count: usize,
    decays: bool,
    grads: Vec<Tensor>,
    params: Vec<Tensor>,
}

impl Step {
    fn record(&self, rec: &mut Recorder) {
        let Step { shared, tiles, lines, matrices, tile_count, decays, grads, params } = self;
        let sums = rec.transient(tile_count * TILE_SUMS);
        for (&tiles, &grad) in tiles.iter().zip(grads) {
            adafactor::squares(rec, tiles, grad, shared.stats, sums);
        }
        adafactor::moments(rec, *lines, *shared, sums);
        let partials = rec.transient(*tile_count);
        for (&tiles, &grad) in tiles.iter().zip(grads) {
            adafactor::ratios(rec, tiles, *shared, grad, partials);
        }
        let scales = rec.transient(matrices.count);
        adafactor::scales(rec, *matrices, *shared, partials, scales);
        for ((&tiles, &grad), &param) in tiles.iter().zip(grads).zip(params) {
            adafactor::update(rec, *shared, Update { tiles, decays: *decays, grad, scales, param });
        }
    }
}

fn table<T: bytemuck::Pod>(h: &mut Harness, entries: &[T]) -> Table {
    Table { count: entries.len(), entries: h.input_u32(bytemuck::cast_slice(entries)) }
}

/// The buffers with the values of all matrices in their places.
fn laid_out(all: &[Laid], values: &[Vec<f32>], outside: f32) -> Vec<Vec<f32>> {
    let mut buffers = BUFFERS.map(|len| vec![outside; len]).to_vec();
    for (laid, values) in all.iter().zip(values) {
        // Padding up to whole eights is zero.
        for piece in &laid.pieces {
            for row in 0..piece.rows {
                let start = piece.first + row * piece.stride;
                buffers[piece.segment][start..start + piece.cols.next_multiple_of(8)].fill(0.0);
            }
        }
        for ([buffer, at], &value) in laid.places().into_iter().zip(values) {
            buffers[buffer][at] = value;
        }
    }
    buffers
}

/// The moments of a matrix on the device, of its rows and of its columns, as its lines have them.
fn moments_of(tables: &Tables, number: usize, moments: &[f32]) -> [Vec<f32>; 2] {
    let adafactor::Matrix { row_moments, row_places, tiles, .. } = tables.matrices[number];
    let bands = row_places / TILE as u32;
    let end = row_moments + (bands + tiles / bands) * TILE as u32;
    let of = |range: std::ops::Range<u32>| {
        let lines = tables.lines.iter().filter(|line| range.contains(&line.moments));
        let places = lines.flat_map(|line| line.moments..line.moments + line.len);
        places.map(|place| moments[place as usize]).collect()
    };
    [of(row_moments..row_moments + row_places), of(row_moments + row_places..end)]
}

#[test]
fn ten_steps_are_those_of_the_twin() {
    let all = matrices();
    let mut tables = Tables::default();
    all.iter().for_each(|laid| tables.add(laid.size, &laid.pieces));
    for mut h in Harness::each() {
        let mut want: Vec<Matrix<f64>> = Vec::new();
        for (laid, seed) in all.iter().zip(1..) {
            let [rows, cols] = laid.size;
            let param = to_f64(&h.random(seed, rows * cols, -1.0, 1.0));
            want.push(Matrix { param, of_rows: vec![0.0; rows], of_cols: vec![0.0; cols] });
        }
        let wanted = |want: &[Matrix<f64>]| {
            let values: Vec<Vec<f32>> = want.iter().map(|matrix| to_f32(&matrix.param)).collect();
            laid_out(&all, &values, OUTSIDE)
        };
        let params: Vec<Tensor> = wanted(&want).iter().map(|buffer| h.input(buffer)).collect();
        let moments = h.input(&vec![0.0; tables.moment_count]);
        let tiles: Vec<Table> = tables.tiles.iter().map(|tiles| table(&mut h, tiles)).collect();
        let (lines, of_matrices) = (table(&mut h, &tables.lines), table(&mut h, &tables.matrices));
        for step in 1..=10u32 {
            // Matrices have gradients of their own sizes, one near the root of what is added to squares. The wide one has
            // none at first, and of each that has rows the second never has any.
            let mut grads = Vec::new();
            for (number, (laid, size)) in
                all.iter().zip([1.0, 1e-6, 1e-2, 1e-3, 1e-14, 1e2, 1e-4]).enumerate()
            {
                let [rows, cols] = laid.size;
                let size = if number == 3 && step < 3 { 0.0 } else { size };
                let mut grad = h.random(u64::from(step) * 16 + number as u64, rows * cols, -size, size);
                grad.iter_mut().skip(cols).take(cols).for_each(|value| *value = 0.0);
                grads.push(grad);
            }
            // The sixth gradient is not finite. Now the step before was applied, now it was not, which decides between two
            // updates.
            let stats = [2.0, 0.5, f32::from(u8::from(step != 6)), f32::from(u8::from(step % 3 == 0))];
            let hyper = [step, step + 5].map(|step| Hyper::at_step(0.1 / f64::from(step), 0.25, step));
            let shared =
                Shared { stats: h.input(&stats), hyper: h.input(bytemuck::cast_slice(&hyper)), moments };
            let recorded = Step {
                shared,
                tiles: tiles.clone(),
                lines,
                matrices: of_matrices,
                tile_count: tables.tile_count,
                decays: step % 4 != 0,
                grads: laid_out(&all, &grads, f32::NAN).iter().map(|grad| h.input(grad)).collect(),
                params: params.clone(),
            };
            h.run(|rec| recorded.record(rec));
            for (grad, want) in grads.iter().zip(&mut want) {
                let stats = stats.map(f64::from);
                reference::adafactor::update(recorded.decays, &to_f64(grad), &stats, &hyper, want);
            }
        }
        for (param, want) in params.iter().zip(wanted(&want)) {
            // Padding and what lies outside of all matrices are as they were.
            let scales: Vec<f32> = want.iter().map(|value| value.abs() + 1.0).collect();
            assert_close_scaled("param", &h.read(*param), &want, &scales, 4e-6);
        }
        let got = h.read(moments);
        for (number, want) in want.iter().enumerate() {
            let name = format!("moments of {:?}", all[number].size);
            let [of_rows, of_cols] = moments_of(&tables, number, &got);
            let (want_rows, want_cols) = (to_f32(&want.of_rows), to_f32(&want.of_cols));
            assert_close_scaled(&name, &of_rows, &want_rows, &want_rows, 4e-6);
            assert_close_scaled(&name, &of_cols, &want_cols, &want_cols, 4e-6);
        }
    }
}
