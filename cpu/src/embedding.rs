//! Rows of the embedding table by token id.

use core::marker::PhantomData;

use crate::args::Args;
use crate::lanes::{part, rows_together, update};
use crate::params::embedding::Params;
use crate::simd::Vector;
use crate::table::Kernel;

/// How values of the table are stored.
pub trait Stored {
    /// `out` becomes row `row` of the table of operand `index`; its length is a multiple of 8.
    fn widen<V: Vector>(args: &Args, index: usize, row: usize, out: &mut [f32]);
}

pub struct F32;
pub struct F16;
pub struct Bf16;

impl Stored for F32 {
    #[inline(always)]
    fn widen<V: Vector>(args: &Args, index: usize, row: usize, out: &mut [f32]) {
        out.copy_from_slice(&args.input(index)[row * out.len()..][..out.len()]);
    }
}

/// The words of a row of `len` values of 16 bits, by fours.
fn halves<'a>(args: &Args<'a>, index: usize, row: usize, len: usize) -> &'a [[u32; 4]] {
    args.words(index)[row * len / 2..][..len / 2].as_chunks().0
}

impl Stored for F16 {
    #[inline(always)]
    fn widen<V: Vector>(args: &Args, index: usize, row: usize, out: &mut [f32]) {
        let words = halves(args, index, row, out.len());
        for (out, &words) in out.as_chunks_mut().0.iter_mut().zip(words) {
            V::from_f16(words).put(out);
        }
    }
}

impl Stored for Bf16 {
    #[inline(always)]
    fn widen<V: Vector>(args: &Args, index: usize, row: usize, out: &mut [f32]) {
        let words = halves(args, index, row, out.len());
        for (out, &words) in out.as_chunks_mut().0.iter_mut().zip(words) {
            V::from_bf16(words).put(out);
        }
    }
}

/// Operands: ids [rows], table [n_ids, stride], out [rows, stride].
pub struct Forward<S>(PhantomData<S>);

impl<S: Stored> Kernel for Forward<S> {
    fn tasks(args: &Args) -> u32 {
        let params: Params = args.params();
        params.rows.div_ceil(rows_together(params.stride))
    }

    #[inline(always)]
    fn run<V: Vector>(args: &Args, task: u32, _: &mut [f32]) {
        let params: Params = args.params();
        let stride = params.stride as usize;
        for row in part(task, rows_together(params.stride), params.rows) {
            let id = args.words(0)[row].wrapping_sub(params.first_id);
            if id >= params.n_ids {
                continue;
            }
            // SAFETY: Rows of tasks are disjoint.
            let out = unsafe { args.output(2).slice(row * stride..(row + 1) * stride) };
            S::widen::<V>(args, 1, id as usize, out);
            // A scale of one leaves values as they are, bit for bit.
            if params.scale != 1.0 {
                let scale = V::splat(params.scale);
                update([out], [], |[value], []| [scale * value]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{from_words, random, run};

    #[test]
    fn rows_of_the_slab_are_written_and_others_stay() {
        let (first_id, n_ids) = (3, 5);
        let ids = [7, 2, 3, 8, u32::MAX, 5, 3];
        for stride in [8, 72, 4096] {
            let numbers = n_ids as usize * stride;
            let halves = |half: fn(usize) -> u32| -> Vec<f32> {
                from_words(&(0..numbers / 2).map(|i| half(2 * i) | half(2 * i + 1) << 16).collect::<Vec<_>>())
            };
            // Powers of two and three quarters, of either sign.
            let f16 = halves(|i| (i as u32 % 60) << 9 | (i as u32 & 1) << 15);
            let bf16 = halves(|i| (i as u32 % 250) << 7 | 0x40 | (i as u32 & 1) << 15);
            let of_f16 = |i: usize| {
                let (exponent, half) = ((i % 60) as i32 / 2, (i % 60 % 2) as f32);
                let value = match exponent {
                    0 => half * 2f32.powi(-15),
                    _ => (1.0 + half / 2.0) * 2f32.powi(exponent - 15),
                };
                if i % 2 == 1 { -value } else { value }
            };
            let of_bf16 = |i: usize| {
                let exponent = (i % 250) as i32;
                let value = if exponent == 0 { 2f32.powi(-127) } else { 1.5 * 2f32.powi(exponent - 127) };
                if i % 2 == 1 { -value } else { value }
            };
            let f32 = random(1, numbers);
            let wide = |value: &dyn Fn(usize) -> f32| (0..numbers).map(value).collect::<Vec<f32>>();
            let tables =
                [("f32", f32.clone(), f32), ("f16", f16, wide(&of_f16)), ("bf16", bf16, wide(&of_bf16))];
            for scale in [1.0, 0.375] {
                let params = Params { rows: 7, stride: stride as u32, first_id, n_ids, scale };
                let out = random(2, 7 * stride);
                for (name, table, values) in &tables {
                    let name = format!("embedding_forward.{name}");
                    for got in run(&name, &params, &[&from_words(&ids), table, &out]) {
                        for (row, &id) in ids.iter().enumerate() {
                            let own = row * stride..(row + 1) * stride;
                            let want = match id.wrapping_sub(first_id) {
                                id if id < n_ids => {
                                    let values = &values[id as usize * stride..][..stride];
                                    values.iter().map(|value| value * scale).collect()
                                }
                                _ => out[own.clone()].to_vec(),
                            };
                            assert_eq!(got[2][own], want, "{name}, row {row}");
                        }
                    }
                }
            }
        }
    }
}
