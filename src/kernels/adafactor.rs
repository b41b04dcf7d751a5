//! The update of Adafactor (Shazeer and Stern 2018, arXiv:1804.04235) with a learning rate from outside and without a first
//! moment, as transformers makes it for `optim: "adafactor"`.
//!
//! Of a matrix it keeps the moments of its rows and of its columns, from which that of a value is estimated, and the
//! whole matrix decides how far it moves. Matrices are therefore cut into [`Tile`]s, and five kernels walk tables of them,
//! so that their number is that of buffers and not of matrices: [`squares`], [`moments`], [`ratios`], [`scales`], [`update`].
//!
//! A vector, of which the reference keeps a moment for each value, is a matrix of one row: the moments of its columns are
//! those of its values, and that of the row goes out again where it is divided by its own mean.

use bytemuck::{Pod, Zeroable};

use super::lower::Sizes;
use super::recorder::{Kernel, Recorder};
use crate::gpu::{Dispatch, grid};
use crate::memory::{Tensor, read, write};

/// Rows and columns of a tile.
pub const TILE: usize = 64;
/// Sums of a tile: of its rows, then of its columns.
pub const TILE_SUMS: usize = 2 * TILE;

/// Up to [`TILE`] rows and columns of a matrix.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct Tile {
    /// Its first value in the buffer, a multiple of 8.
    pub first: u32,
    /// Values from row to row, a multiple of 8 where there is more than one row.
    pub stride: u32,
    pub rows: u32,
    /// A multiple of 8: past the matrix lie zeros.
    pub cols: u32,
    /// Where the moments of its rows begin.
    pub row_moments: u32,
    /// Where the moments of its columns begin.
    pub col_moments: u32,
    /// Its place among the tiles of all buffers.
    pub number: u32,
    /// Its matrix.
    pub matrix: u32,
}

/// The moments of rows or of columns that lie in the same tiles.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct Line {
    /// Where their sums in the first tile begin.
    pub first: u32,
    /// From those sums to the ones in the next tile.
    pub step: u32,
    pub tiles: u32,
    /// Where the moments begin.
    pub moments: u32,
    /// How many there are, [`TILE`] at most.
    pub len: u32,
    /// Values that each is the mean of.
    pub values: u32,
}

/// A matrix as a whole.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct Matrix {
    /// Where the moments of its rows begin.
    pub row_moments: u32,
    /// How many lie there, those of rows that it has not among them, which are zero.
    pub row_places: u32,
    pub rows: u32,
    pub cols: u32,
    /// The number of its first tile; the others follow.
    pub first_tile: u32,
    pub tiles: u32,
}

/// Of all kernels but [`update`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
pub struct Params {
    /// Entries of the table.
    pub count: u32,
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
pub struct UpdateParams {
    /// Tiles.
    pub count: u32,
    /// 1 where weight decay shrinks the values, else 0.
    pub decays: u32,
}

/// What changes from step to step, written to a storage buffer before each. Computed in f64 and rounded once.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Pod, Zeroable)]
pub struct Hyper {
    /// 1 − learning rate · weight decay.
    pub decay: f32,
    pub learning_rate: f32,
    /// 1 − step^−0.8.
    pub beta2: f32,
    pub one_minus_beta2: f32,
    /// What is added to squares.
    pub eps: f32,
}

impl Hyper {
    /// The values for the update that is the `step`th, counted from 1.
    pub fn at_step(learning_rate: f64, weight_decay: f64, step: u32) -> Self {
        let beta2 = 1.0 - f64::from(step).powf(-0.8);
        Hyper {
            decay: (1.0 - learning_rate * weight_decay) as f32,
            learning_rate: learning_rate as f32,
            beta2: beta2 as f32,
            one_minus_beta2: (1.0 - beta2) as f32,
            eps: 1e-30,
        }
    }
}

/// Where whole rows of a matrix lie, or values of a vector, which is one row.
#[derive(Clone, Copy, Debug)]
pub struct Piece {
    /// The buffer.
    pub segment: usize,
    /// As [`Tile`] has them.
    pub first: usize,
    pub stride: usize,
    pub rows: usize,
    /// Without padding.
    pub cols: usize,
}

/// The tables of some matrices, whose moments lie one behind another in one tensor.
#[derive(Clone, Debug, Default)]
pub struct Tables {
    /// Of each buffer.
    pub tiles: Vec<Vec<Tile>>,
    pub lines: Vec<Line>,
    pub matrices: Vec<Matrix>,
    /// Tiles of all buffers.
    pub tile_count: usize,
    /// Moments of all matrices.
    pub moment_count: usize,
}

/// The lengths of what `len` is cut into.
fn cut(len: usize) -> impl Iterator<Item = usize> {
    (0..len).step_by(TILE).map(move |start| TILE.min(len - start))
}

impl Tables {
    /// Adds a matrix of `rows` and `cols`, whose pieces lie one below another, or side by side where it has one row.
    pub fn add(&mut self, [rows, cols]: [usize; 2], pieces: &[Piece]) {
        let is_vector = rows == 1;
        let heights: Vec<usize> = match is_vector {
            true => vec![1],
            false => pieces.iter().flat_map(|piece| cut(piece.rows)).collect(),
        };
        let widths: Vec<usize> = match is_vector {
            true => pieces.iter().flat_map(|piece| cut(piece.cols)).collect(),
            false => cut(cols).collect(),
        };
        let (down, across) = (heights.len(), widths.len());
        let first_tile = self.tile_count;
        let row_moments = self.moment_count;
        let col_moments = row_moments + down * TILE;
        let matrix = self.matrices.len() as u32;

        let (mut top, mut left) = (0, 0);
        for piece in pieces {
            let is_whole = |values: usize| values.is_multiple_of(8);
            let is_laid_out = is_whole(piece.first) && (piece.rows == 1 || is_whole(piece.stride));
            assert!(is_laid_out, "rows begin at a multiple of 8 values");
            if self.tiles.len() <= piece.segment {
                self.tiles.resize(piece.segment + 1, Vec::new());
            }
            let [piece_down, piece_across] = [piece.rows, piece.cols].map(|len| len.div_ceil(TILE));
            for (y, x) in (0..piece_down).flat_map(|y| (0..piece_across).map(move |x| (y, x))) {
                let (band, column) = (top + y, left + x);
                self.tiles[piece.segment].push(Tile {
                    first: (piece.first + y * TILE * piece.stride + x * TILE) as u32,
                    stride: piece.stride as u32,
                    rows: heights[band] as u32,
                    cols: widths[column].next_multiple_of(8) as u32,
                    row_moments: (row_moments + band * TILE) as u32,
                    col_moments: (col_moments + column * TILE) as u32,
                    number: (first_tile + band * across + column) as u32,
                    matrix,
                });
            }
            match is_vector {
                true => left += piece_across,
                false => top += piece_down,
            }
        }
        for (band, &height) in heights.iter().enumerate() {
            self.lines.push(Line {
                first: ((first_tile + band * across) * TILE_SUMS) as u32,
                step: TILE_SUMS as u32,
                tiles: across as u32,
                moments: (row_moments + band * TILE) as u32,
                len: height as u32,
                values: cols as u32,
            });
        }
        for (column, &width) in widths.iter().enumerate() {
            self.lines.push(Line {
                first: ((first_tile + column) * TILE_SUMS + TILE) as u32,
                step: (across * TILE_SUMS) as u32,
                tiles: down as u32,
                moments: (col_moments + column * TILE) as u32,
                len: width.next_multiple_of(8) as u32,
                values: rows as u32,
            });
        }
        self.matrices.push(Matrix {
            row_moments: row_moments as u32,
            row_places: (down * TILE) as u32,
            rows: rows as u32,
            cols: cols as u32,
            first_tile: first_tile as u32,
            tiles: (down * across) as u32,
        });
        self.tile_count += down * across;
        self.moment_count += (down + across) * TILE;
    }
}

/// A table on the device.
#[derive(Clone, Copy, Debug)]
pub struct Table {
    pub count: usize,
    pub entries: Tensor,
}

impl Table {
    fn params(self) -> Params {
        Params { count: self.count as u32 }
    }
}

/// What all kernels of a step share.
#[derive(Clone, Copy, Debug)]
pub struct Shared {
    /// From [`super::grad_norm::finish`].
    pub stats: Tensor,
    /// Two [`Hyper`]: for where the step before this one was not applied, and for where it was.
    pub hyper: Tensor,
    /// Of rows and columns, as [`Tables`] lays them out.
    pub moments: Tensor,
}

/// Writes the sums of the squares of the clipped gradient in each of `tiles`, [`TILE_SUMS`] for each, to `sums`.
pub fn squares(rec: &mut Recorder, tiles: Table, grad: Tensor, stats: Tensor, sums: Tensor) {
    let bindings = [read(grad), read(stats), read(tiles.entries), write(sums)];
    rec.call(Kernel::AdafactorSquares, &tiles.params(), &bindings);
}

/// Updates the moments of `lines` from the sums of all tiles, or changes nothing where the gradient is not finite.
pub fn moments(rec: &mut Recorder, lines: Table, shared: Shared, sums: Tensor) {
    let Shared { stats, hyper, moments } = shared;
    let bindings = [read(sums), read(stats), read(hyper), read(lines.entries), write(moments)];
    rec.call(Kernel::AdafactorMoments, &lines.params(), &bindings);
}

/// Writes to `partials`, one for each of `tiles`, the sum of the squares of the clipped gradient over the moments of its
/// rows and columns.
pub fn ratios(rec: &mut Recorder, tiles: Table, shared: Shared, grad: Tensor, partials: Tensor) {
    let Shared { stats, moments, .. } = shared;
    let bindings = [read(grad), read(stats), read(tiles.entries), read(moments), write(partials)];
    rec.call(Kernel::AdafactorRatios, &tiles.params(), &bindings);
}

/// Writes to `scales` what the ratios in each of `matrices` are multiplied with, of whose tiles `partials` has the sums.
pub fn scales(rec: &mut Recorder, matrices: Table, shared: Shared, partials: Tensor, scales: Tensor) {
    let Shared { stats, hyper, moments } = shared;
    let bindings =
        [read(partials), read(stats), read(hyper), read(matrices.entries), read(moments), write(scales)];
    rec.call(Kernel::AdafactorScales, &matrices.params(), &bindings);
}

/// The tensors of [`update`] besides the shared ones.
#[derive(Clone, Copy, Debug)]
pub struct Update {
    pub tiles: Table,
    pub decays: bool,
    pub grad: Tensor,
    pub scales: Tensor,
    pub param: Tensor,
}

/// Updates the values of the tiles, or changes nothing where the gradient is not finite.
pub fn update(rec: &mut Recorder, shared: Shared, update: Update) {
    let Shared { stats, hyper, moments } = shared;
    let Update { tiles, decays, grad, scales, param } = update;
    let params = UpdateParams { count: tiles.count as u32, decays: u32::from(decays) };
    let bindings = [
        read(grad),
        read(stats),
        read(hyper),
        read(tiles.entries),
        read(moments),
        read(scales),
        write(param),
    ];
    rec.call(Kernel::AdafactorUpdate, &params, &bindings);
}

/// Operations of a tile, of which each value takes so many.
fn work(tiles: u32, each: u64) -> ([u32; 3], u64) {
    (grid(tiles as usize), each * u64::from(tiles) * (TILE * TILE) as u64)
}

pub(super) fn lower_squares(call: &Sizes<'_>) -> Dispatch {
    call.dispatch("adafactor_squares", |params: &Params| work(params.count, 4))
}

pub(super) fn lower_moments(call: &Sizes<'_>) -> Dispatch {
    call.dispatch("adafactor_moments", |params: &Params| {
        (grid(params.count as usize), 8 * u64::from(params.count) * TILE as u64)
    })
}

pub(super) fn lower_ratios(call: &Sizes<'_>) -> Dispatch {
    call.dispatch("adafactor_ratios", |params: &Params| work(params.count, 5))
}

pub(super) fn lower_scales(call: &Sizes<'_>) -> Dispatch {
    call.dispatch("adafactor_scales", |params: &Params| {
        (grid(params.count as usize), 4 * u64::from(params.count) * TILE as u64)
    })
}

pub(super) fn lower_update(call: &Sizes<'_>) -> Dispatch {
    call.dispatch("adafactor_update", |params: &UpdateParams| work(params.count, 6))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_of_a_matrix_lie_below_one_another_and_those_of_a_vector_side_by_side() {
        let mut tables = Tables::default();
        let piece = |segment, first, rows, cols| Piece { segment, first, stride: 80, rows, cols };
        tables.add([70, 75], &[piece(0, 0, 66, 75), piece(1, 8, 4, 75)]);
        tables.add([1, 30], &[piece(1, 800, 1, 20), piece(0, 8000, 1, 10)]);

        let places = |segment: usize| -> Vec<[u32; 5]> {
            let tiles = tables.tiles[segment].iter();
            tiles.map(|tile| [tile.number, tile.first, tile.rows, tile.cols, tile.matrix]).collect()
        };
        let of_first = [[0, 0, 64, 64, 0], [1, 64, 64, 16, 0], [2, 5120, 2, 64, 0], [3, 5184, 2, 16, 0]];
        assert_eq!(places(0), [&of_first[..], &[[7, 8000, 1, 16, 1]]].concat());
        assert_eq!(places(1), [[4, 8, 4, 64, 0], [5, 72, 4, 16, 0], [6, 800, 1, 24, 1]]);

        let lines: Vec<[u32; 6]> = tables
            .lines
            .iter()
            .map(|line| [line.first, line.step, line.tiles, line.moments, line.len, line.values])
            .collect();
        let rows = [[0, 128, 2, 0, 64, 75], [256, 128, 2, 64, 2, 75], [512, 128, 2, 128, 4, 75]];
        let cols = [[64, 256, 3, 192, 64, 70], [192, 256, 3, 256, 16, 70]];
        let of_vector = [[768, 128, 2, 320, 1, 30], [832, 256, 1, 384, 24, 1], [960, 256, 1, 448, 16, 1]];
        assert_eq!(lines, [&rows[..], &cols, &of_vector].concat());

        let [matrix, vector] = tables.matrices[..] else { panic!("two were added") };
        let want = Matrix { row_moments: 0, row_places: 192, rows: 70, cols: 75, first_tile: 0, tiles: 6 };
        assert_eq!(matrix, want);
        let want = Matrix { row_moments: 320, row_places: 64, rows: 1, cols: 30, first_tile: 6, tiles: 2 };
        assert_eq!(vector, want);
        assert_eq!((tables.tile_count, tables.moment_count), (8, 512));
    }
}
