//! Rows of the embedding table by token id, and their gradient.

use core::marker::PhantomData;

use crate::args::Args;
use crate::lanes::{part, rows_together, update};
use crate::linear::weight::{Format, Weight};
use crate::params::embedding::Params;
use crate::simd::Vector;
use crate::table::Kernel;

/// Operands: ids [rows], values and scales of the table [n_ids, depth], out [rows, depth].
pub struct Forward<F>(PhantomData<F>);

impl<F: Format> Kernel for Forward<F> {
    fn tasks(args: &Args) -> u32 {
        let params: Params = args.params();
        params.rows.div_ceil(rows_together(params.depth))
    }

    #[inline(always)]
    fn run<V: Vector>(args: &Args, task: u32, _: &mut [f32]) {
        let params: Params = args.params();
        let depth = params.depth as usize;
        let sizes = [params.n_ids, params.depth, params.depth];
        let table = Weight::new::<F>(args.words(1), args.words(2), sizes);
        for row in part(task, rows_together(params.depth), params.rows) {
            let id = args.words(0)[row].wrapping_sub(params.first_id);
            if id >= params.n_ids {
                continue;
            }
            // SAFETY: Rows of tasks are disjoint.
            let out = unsafe { args.output(3).slice(row * depth..(row + 1) * depth) };
            for (i, out) in out.as_chunks_mut::<8>().0.iter_mut().enumerate() {
                F::eight::<V>(&table, id as usize, 8 * i).put(out);
            }
            // A scale of one leaves values as they are, bit for bit.
            if params.scale != 1.0 {
                let scale = V::splat(params.scale);
                update([out], [], |[value], []| [scale * value]);
            }
        }
    }
}

/// Operands: ids [rows], order [rows], dout [rows, depth], dtable [n_ids, depth].
pub struct Backward;

impl Kernel for Backward {
    fn tasks(args: &Args) -> u32 {
        let params: Params = args.params();
        params.rows.div_ceil(rows_together(params.depth))
    }

    #[inline(always)]
    fn run<V: Vector>(args: &Args, task: u32, _: &mut [f32]) {
        let params: Params = args.params();
        let depth = params.depth as usize;
        let scale = V::splat(params.scale);
        let ids = args.words(0);
        let order = &args.words(1)[..params.rows as usize];
        let id_at = |place: usize| order.get(place).and_then(|&row| ids.get(row as usize)).copied();
        for place in part(task, rows_together(params.depth), params.rows) {
            let Some(id) = id_at(place) else { continue };
            let row = id.wrapping_sub(params.first_id) as usize;
            let is_first = place == 0 || id_at(place - 1) != Some(id);
            if row >= params.n_ids as usize || !is_first {
                continue;
            }
            // SAFETY: An id has one first place, so its row is that of one task.
            let sums = unsafe { args.output(3).slice(row * depth..(row + 1) * depth) };
            for next in (place..).take_while(|&next| id_at(next) == Some(id)) {
                let dout = &args.input(2)[order[next] as usize * depth..][..depth];
                update([&mut *sums], [dout], |[sum], [dout]: [V; 1]| [scale.mul_add(dout, sum)]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_close, from_words, random, run};

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
                let params = Params { rows: 7, depth: stride as u32, first_id, n_ids, scale };
                let out = random(2, 7 * stride);
                for (name, table, values) in &tables {
                    let name = format!("embedding_forward.{name}");
                    for got in run(&name, &params, &[&from_words(&ids), table, table, &out]) {
                        for (row, &id) in ids.iter().enumerate() {
                            let own = row * stride..(row + 1) * stride;
                            let want = match id.wrapping_sub(first_id) {
                                id if id < n_ids => {
                                    let values = &values[id as usize * stride..][..stride];
                                    values.iter().map(|value| value * scale).collect()
                                }
                                _ => out[own.clone()].to_vec(),
                            };
                            assert_eq!(got[3][own], want, "{name}, row {row}");
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn rows_of_an_id_add_up_in_the_table() {
        let ids = [3, 0, 7, 3, 4, 3];
        // The last row has no gradient.
        let order = [1, 0, 3, 4, 2, u32::MAX];
        for depth in [8, 72, 4096] {
            let params = Params { rows: 6, depth: depth as u32, first_id: 3, n_ids: 3, scale: 0.5 };
            let (dout, before) = (random(1, 6 * depth), random(2, 3 * depth));
            let mut want: Vec<f64> = before.iter().map(|&x| f64::from(x)).collect();
            for (row, to) in [(0, 0), (3, 0), (4, 1)] {
                for c in 0..depth {
                    want[to * depth + c] += 0.5 * f64::from(dout[row * depth + c]);
                }
            }
            for got in
                run("embedding_backward", &params, &[&from_words(&ids), &from_words(&order), &dout, &before])
            {
                assert_close("dtable", &got[3], &want, &vec![1.0; 3 * depth], 1e-6);
            }
        }
    }
}
