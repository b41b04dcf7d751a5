//! Y += L·R by blocks: both operands are packed into scratch, 256 of the inner dimension at a time, and multiplied
//! by tiles of results that stay in registers.
//!
//! A result is a chain of products in order of the inner dimension for each 256 of it, added to what is there. So its
//! bits depend neither on the tile nor on how a call is cut.

use core::ops::Range;

use crate::args::Output;
use crate::simd::Vector;

/// What is packed of the inner dimension at a time, so that a panel of R stays in the first cache.
pub const DEPTH: usize = 256;
/// Rows of L and columns of R that are packed at a time: whole tiles, and whole blocks of 8.
pub const ROWS: usize = 120;
pub const COLS: usize = 128;

/// Rows of a tile, and its columns in vectors: twelve sums, and what is multiplied, in the sixteen registers of x64.
#[cfg(target_arch = "wasm32")]
const TILE: (usize, usize) = (6, 1);
#[cfg(not(target_arch = "wasm32"))]
const TILE: (usize, usize) = (6, 2);

/// A matrix in blocks of 8 × 8. Its outer dimension is that of the product's results.
pub trait Blocks {
    /// Whether the rows of a block lie along the outer dimension, and the lanes along the inner one.
    const OUTER_MAJOR: bool;

    /// The block that begins at these places, multiples of 8. What lies past the matrix is zero.
    fn block<V: Vector>(&self, outer: usize, inner: usize) -> [V; 8];
}

/// Where a product goes.
#[derive(Clone, Copy)]
pub struct Target<'a> {
    pub y: Output<'a>,
    /// Added to the product; laid as Y is.
    pub residual: Option<&'a [f32]>,
    /// Row 0's column 0.
    pub offset: usize,
    pub stride: usize,
    /// Whether the product is added to what Y holds.
    pub adds: bool,
    /// Multiplies the product.
    pub scale: f32,
}

/// The results that a call of [`multiply`] makes, multiples of 8 but for the last row.
#[derive(Clone)]
pub struct Part {
    pub rows: Range<usize>,
    pub cols: Range<usize>,
}

/// Y[part] = scale·L·R + residual, plus Y itself where the target says so.
#[inline(always)]
pub fn multiply<V: Vector>(
    target: &Target,
    part: &Part,
    inner: usize,
    left: &impl Blocks,
    right: &impl Blocks,
    scratch: &mut [f32],
) {
    let (packed_left, packed_right) = scratch.split_at_mut(ROWS * DEPTH);
    for cols in pieces(&part.cols, COLS) {
        for depths in pieces(&(0..inner), DEPTH) {
            V::outlined(
                #[inline(always)]
                || pack_right::<V>(right, &cols, &depths, packed_right),
            );
            for rows in pieces(&part.rows, ROWS) {
                V::outlined(
                    #[inline(always)]
                    || pack_left::<V>(left, &rows, &depths, packed_left),
                );
                let adds = target.adds || depths.start > 0;
                let residual = if adds { None } else { target.residual };
                let target = Target { adds, residual, ..*target };
                let depth = depths.len().next_multiple_of(8);
                tiles::<V>(&target, &rows, &cols, depth, packed_left, packed_right);
            }
        }
    }
}

/// `range` in pieces of `size`.
fn pieces(range: &Range<usize>, size: usize) -> impl Iterator<Item = Range<usize>> {
    let end = range.end;
    range.clone().step_by(size).map(move |start| start..end.min(start + size))
}

/// Row i of L goes to the values from i·[`DEPTH`] on.
#[inline(always)]
fn pack_left<V: Vector>(left: &impl Blocks, rows: &Range<usize>, depths: &Range<usize>, out: &mut [f32]) {
    pack_blocks::<V, _>(left, rows, depths, true, |row, depth| row * DEPTH + depth, DEPTH, out);
}

/// Columns go in panels of a tile's width, each of which has its values of one inner index beside each other.
#[inline(always)]
fn pack_right<V: Vector>(right: &impl Blocks, cols: &Range<usize>, depths: &Range<usize>, out: &mut [f32]) {
    let width = 8 * TILE.1;
    let place = |col: usize, depth: usize| col / width * width * DEPTH + depth * width + col % width;
    pack_blocks::<V, _>(right, cols, depths, false, place, width, out);
}

#[inline(always)]
fn pack_blocks<V: Vector, B: Blocks>(
    blocks: &B,
    outers: &Range<usize>,
    inners: &Range<usize>,
    outer_major: bool,
    place: impl Fn(usize, usize) -> usize,
    pitch: usize,
    out: &mut [f32],
) {
    for outer in outers.clone().step_by(8) {
        for inner in inners.clone().step_by(8) {
            let block = blocks.block::<V>(outer, inner);
            let block = if B::OUTER_MAJOR == outer_major { block } else { V::transposed(block) };
            let start = place(outer - outers.start, inner - inners.start);
            let out = &mut out[start..start + 7 * pitch + 8];
            for (i, row) in block.into_iter().enumerate() {
                // SAFETY: Row i ends at 8 values past i times the pitch.
                unsafe { row.store(out.as_mut_ptr().add(i * pitch)) };
            }
        }
    }
}

/// The tiles of one packed block: a function of its own, which all products share.
fn tiles<V: Vector>(
    target: &Target,
    rows: &Range<usize>,
    cols: &Range<usize>,
    depth: usize,
    left: &[f32],
    right: &[f32],
) {
    assert!(left.len() >= rows.len().next_multiple_of(8) * DEPTH && depth <= DEPTH);
    V::outlined(
        #[inline(always)]
        || {
            for col in cols.clone().step_by(8 * TILE.1) {
                let panel = &right[(col - cols.start) * DEPTH..][..8 * TILE.1 * depth];
                let width = (cols.end - col).div_ceil(8).min(TILE.1);
                for row in rows.clone().step_by(TILE.0) {
                    let left = &left[(row - rows.start) * DEPTH..];
                    let tile = Tile { left: left.as_ptr(), right: panel.as_ptr(), depth, target, row, col };
                    let height = TILE.0.min(rows.end - row);
                    // SAFETY: The operands are long enough: the assertion above, and the panel's length.
                    unsafe {
                        match width {
                            1 => tile.of_height::<V, 1>(height),
                            _ => tile.of_height::<V, { TILE.1 }>(height),
                        }
                    }
                }
            }
        },
    );
}

const UNROLL: usize = 4;

/// Adds the products of so many inner indices. Every place is a constant from the start, because only then do loads in
/// WebAssembly carry it, which V8 asks for before it pairs them.
macro_rules! steps {
    ($left:ident, $right:ident, $sums:ident, $R:ident, $C:ident, $($step:literal)*) => {
        $(if $step < UNROLL {
            let across = [V::load($right.add(8 * $step * TILE.1)), if $C > 1 { V::load($right.add(8 * $step * TILE.1 + 8)) } else { V::zero() }];
            row!($left, across, $sums, $R, $C, $step, 0);
            row!($left, across, $sums, $R, $C, $step, 1);
            row!($left, across, $sums, $R, $C, $step, 2);
            row!($left, across, $sums, $R, $C, $step, 3);
            row!($left, across, $sums, $R, $C, $step, 4);
            row!($left, across, $sums, $R, $C, $step, 5);
            row!($left, across, $sums, $R, $C, $step, 6);
            row!($left, across, $sums, $R, $C, $step, 7);
        })*
    };
}

macro_rules! row {
    ($left:ident, $across:ident, $sums:ident, $R:ident, $C:ident, $step:literal, $row:literal) => {
        if $row < $R {
            let value = V::splat(*$left.add($row * DEPTH + $step));
            $sums[$row % $R][0] = value.mul_add($across[0], $sums[$row % $R][0]);
            if $C > 1 {
                $sums[$row % $R][1 % $C] = value.mul_add($across[1], $sums[$row % $R][1 % $C]);
            }
        }
    };
}

/// One tile: packed rows from `left` on, a packed panel, and its first result.
struct Tile<'a> {
    left: *const f32,
    right: *const f32,
    depth: usize,
    target: &'a Target<'a>,
    row: usize,
    col: usize,
}

impl Tile<'_> {
    #[inline(always)]
    unsafe fn of_height<V: Vector, const C: usize>(&self, height: usize) {
        // SAFETY: The caller promises that the operands are long enough.
        unsafe {
            match height {
                1 => self.run::<V, 1, C>(),
                2 => self.run::<V, 2, C>(),
                3 => self.run::<V, 3, C>(),
                4 => self.run::<V, 4, C>(),
                5 => self.run::<V, 5, C>(),
                6 => self.run::<V, 6, C>(),
                7 => self.run::<V, 7, C>(),
                _ => self.run::<V, 8, C>(),
            }
        }
    }

    /// `R` rows and `C` vectors of results.
    #[inline(always)]
    unsafe fn run<V: Vector, const R: usize, const C: usize>(&self) {
        let mut sums = [[V::zero(); C]; R];
        let (mut left, mut right) = (self.left, self.right);
        for _ in 0..self.depth / UNROLL {
            // SAFETY: `depth` is a multiple of 8, and so much of both is packed.
            unsafe {
                steps!(left, right, sums, R, C, 0 1 2 3);
                left = left.add(UNROLL);
                right = right.add(UNROLL * 8 * TILE.1);
            }
        }
        let target = self.target;
        let scale = V::splat(target.scale);
        for (r, sums) in sums.into_iter().enumerate() {
            let start = target.offset + (self.row + r) * target.stride + self.col;
            // SAFETY: A task has its results to itself.
            let y = unsafe { target.y.slice(start..start + 8 * C) };
            for (c, sum) in sums.into_iter().enumerate() {
                let y = &mut y.as_chunks_mut::<8>().0[c];
                let sum = match (target.adds, target.residual) {
                    (true, _) => sum.mul_add(scale, V::of(y)),
                    (false, Some(residual)) => {
                        let residual =
                            residual[start + 8 * c..].first_chunk().expect("the residual is as long");
                        sum.mul_add(scale, V::of(residual))
                    }
                    (false, None) => sum * scale,
                };
                sum.put(y);
            }
        }
    }
}
