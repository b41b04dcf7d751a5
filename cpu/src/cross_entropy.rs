//! Cross-entropy of a block of labelled rows: with its gradient over the logits of the whole vocabulary, or chunk by
//! chunk with the gradient of the rows that the logits are a product of.

use crate::args::Args;
use crate::lanes::{ln, part, rows_together, update};
use crate::params::cross_entropy::{ChunkParams, DEAD, FinishParams, LossesParams, Params, SUMMARY_WORDS};
use crate::simd::Vector;
use crate::table::Kernel;

/// The greatest of `row`, and whether all are finite.
#[inline(always)]
fn peak<V: Vector>(row: &[f32]) -> (f32, bool) {
    let (eights, rest) = row.as_chunks::<8>();
    let (blocks, more) = eights.as_chunks::<4>();
    // Nothing times zero is zero but what is finite.
    let (mut peaks, mut zeros) = ([V::splat(f32::NEG_INFINITY); 4], [V::zero(); 4]);
    for block in blocks {
        for (i, eight) in block.iter().enumerate() {
            let x = V::of(eight);
            peaks[i] = peaks[i].max(x);
            zeros[i] = x.mul_add(V::zero(), zeros[i]);
        }
    }
    for eight in more {
        let x = V::of(eight);
        peaks[0] = peaks[0].max(x);
        zeros[0] = x.mul_add(V::zero(), zeros[0]);
    }
    let mut peak = peaks[0].max(peaks[1]).max(peaks[2].max(peaks[3])).greatest();
    let mut is_finite = ((zeros[0] + zeros[1]) + (zeros[2] + zeros[3])).sum() == 0.0;
    for &x in rest {
        peak = if x > peak { x } else { peak };
        is_finite &= x.is_finite();
    }
    (peak, is_finite)
}

/// Adds the exponentials of eight logits to `sum`, which take the logits' places where that is wanted.
#[inline(always)]
fn grow<V: Vector, const REPLACES: bool>(eight: &mut [f32; 8], peak: V, sum: V) -> V {
    let grown = (V::of(eight) - peak).exp();
    if REPLACES {
        grown.put(eight);
    }
    sum + grown
}

/// The sum of exp(logit − `peak`) over the logits of `row`, which are replaced by these where that is wanted.
#[inline(always)]
fn exponentials<V: Vector, const REPLACES: bool>(row: &mut [f32], peak: f32) -> f32 {
    let peak = V::splat(peak);
    let (eights, rest) = row.as_chunks_mut::<8>();
    let (blocks, more) = eights.as_chunks_mut::<4>();
    let mut sums = [V::zero(); 4];
    for block in blocks {
        for (i, eight) in block.iter_mut().enumerate() {
            sums[i] = grow::<V, REPLACES>(eight, peak, sums[i]);
        }
    }
    for eight in more {
        sums[0] = grow::<V, REPLACES>(eight, peak, sums[0]);
    }
    let mut last = [f32::NEG_INFINITY; 8];
    last.iter_mut().zip(&*rest).for_each(|(lane, &logit)| *lane = logit);
    sums[1] = grow::<V, true>(&mut last, peak, sums[1]);
    if REPLACES {
        rest.iter_mut().zip(last).for_each(|(logit, lane)| *logit = lane);
    }
    ((sums[0] + sums[1]) + (sums[2] + sums[3])).sum()
}

#[inline(always)]
fn multiply<V: Vector>(values: &mut [f32], factor: f32) {
    let factor = V::splat(factor);
    update([values], [], |[value]: [V; 1], []| [value * factor]);
}

/// Operands: targets, row_weight, logits [rows, stride], row_loss.
pub struct ForwardBackward;

impl Kernel for ForwardBackward {
    fn tasks(args: &Args) -> u32 {
        let params: Params = args.params();
        params.rows.div_ceil(rows_together(params.stride))
    }

    #[inline(always)]
    fn run<V: Vector>(args: &Args, task: u32, _: &mut [f32]) {
        let params: Params = args.params();
        let (stride, vocab) = (params.stride as usize, params.vocab as usize);
        for row in part(task, rows_together(params.stride), params.rows) {
            let at = params.first as usize + row;
            let (target, weight) = (args.words(0)[at], args.input(1)[at]);
            // SAFETY: Rows of tasks are disjoint.
            let (logits, loss) = unsafe {
                (
                    args.output(2).slice(row * stride..(row + 1) * stride),
                    &mut args.output(3).slice(at..at + 1)[0],
                )
            };
            let (logits, pads) = logits.split_at_mut(vocab);
            pads.fill(0.0);
            if target == DEAD {
                *loss = 0.0;
                logits.fill(0.0);
                continue;
            }
            let (peak, is_finite) = peak::<V>(logits);
            if !is_finite || target >= params.vocab {
                *loss = f32::NAN;
                logits.fill(f32::NAN);
                continue;
            }
            let below = peak - logits[target as usize];
            let total = exponentials::<V, true>(logits, peak);
            *loss = below + ln(total);
            multiply::<V>(logits, weight / total);
            logits[target as usize] -= weight;
        }
    }
}

/// Before the first chunk: far below every logit, but finite.
const LOWEST: f32 = -3.0e38;

/// Operands: targets, before [rows, 4], logits [rows, stride], sums [rows, width], after [rows, 4].
pub struct Chunk;

impl Kernel for Chunk {
    fn tasks(args: &Args) -> u32 {
        let params: ChunkParams = args.params();
        params.rows.div_ceil(rows_together(params.stride))
    }

    #[inline(always)]
    fn run<V: Vector>(args: &Args, task: u32, _: &mut [f32]) {
        let params: ChunkParams = args.params();
        let [stride, vocab, width] = [params.stride, params.vocab, params.width].map(|size| size as usize);
        let is_first = params.first_id == 0;
        for row in part(task, rows_together(params.stride), params.rows) {
            let target = args.words(0)[params.first as usize + row];
            let known = match is_first {
                true => [LOWEST.to_bits(), 0, 0, 0],
                false => args.words(1).as_chunks::<SUMMARY_WORDS>().0[row],
            };
            // SAFETY: Rows of tasks are disjoint.
            let (logits, after) = unsafe {
                let words = row * SUMMARY_WORDS..(row + 1) * SUMMARY_WORDS;
                (args.output(2).slice(row * stride..(row + 1) * stride), args.output(4).slice(words))
            };
            let (logits, pads) = logits.split_at_mut(vocab);
            pads.fill(0.0);
            let (of_chunk, is_finite) = peak::<V>(logits);
            let known_peak = f32::from_bits(known[0]);
            let peak = if of_chunk > known_peak { of_chunk } else { known_peak };
            let rescale = V::splat(known_peak - peak).exp().to_array()[0];
            // A target below `first_id` wraps to a number past every chunk.
            let logit = logits.get(target.wrapping_sub(params.first_id) as usize);
            let logit = logit.map_or(known[2], |logit| logit.to_bits());
            let is_broken = known[3] | u32::from(!is_finite);
            // Without a width nobody wants the new logits, which would be the most that is written.
            let own = match width {
                0 => exponentials::<V, false>(logits, peak),
                _ => exponentials::<V, true>(logits, peak),
            };
            let total = f32::from_bits(known[1]) * rescale + own;
            if width > 0 && (target == DEAD || is_broken != 0) {
                logits.fill(0.0);
            }
            // Most chunks leave the maximum of a row as it is.
            if width > 0 && !is_first && rescale != 1.0 {
                // SAFETY: Rows of tasks are disjoint.
                multiply::<V>(unsafe { args.output(3).slice(row * width..(row + 1) * width) }, rescale);
            }
            let words = [peak.to_bits(), total.to_bits(), logit, is_broken];
            after.iter_mut().zip(words).for_each(|(after, word)| *after = f32::from_bits(word));
        }
    }
}

/// Operands: targets, row_weight, summaries [rows, 4], sums [rows, width], rows [rows, width], row_loss.
pub struct Finish;

impl Kernel for Finish {
    fn tasks(args: &Args) -> u32 {
        let params: FinishParams = args.params();
        params.rows.div_ceil(rows_together(params.width))
    }

    #[inline(always)]
    fn run<V: Vector>(args: &Args, task: u32, _: &mut [f32]) {
        let params: FinishParams = args.params();
        let width = params.width as usize;
        for row in part(task, rows_together(params.width), params.rows) {
            let at = params.first as usize + row;
            let (target, weight) = (args.words(0)[at], V::splat(args.input(1)[at]));
            let [peak, total, logit, is_broken] = args.words(2).as_chunks::<SUMMARY_WORDS>().0[row];
            let [peak, total, logit] = [peak, total, logit].map(f32::from_bits);
            let own = row * width..(row + 1) * width;
            // SAFETY: Rows of tasks are disjoint.
            let (out, loss) =
                unsafe { (args.output(4).slice(own.clone()), &mut args.output(5).slice(at..at + 1)[0]) };
            if target == DEAD {
                *loss = 0.0;
                out.fill(0.0);
            } else if is_broken != 0 || target >= params.vocab {
                *loss = f32::NAN;
                out.fill(f32::NAN);
            } else {
                *loss = (peak - logit) + ln(total);
                let total = V::splat(total);
                update([out], [&args.input(3)[own]], |[of_target], [sum]: [V; 1]| {
                    [(sum / total - of_target) * weight]
                });
            }
        }
    }
}

/// Operands: targets, summaries [rows, 4], row_loss, row_miss.
pub struct Losses;

impl Kernel for Losses {
    fn tasks(_: &Args) -> u32 {
        1
    }

    #[inline(always)]
    fn run<V: Vector>(args: &Args, _: u32, _: &mut [f32]) {
        let params: LossesParams = args.params();
        let own = params.first as usize..(params.first + params.rows) as usize;
        let (targets, summaries) =
            (&args.words(0)[own.clone()], args.words(1).as_chunks::<SUMMARY_WORDS>().0);
        // SAFETY: There is one task.
        let [losses, misses] = [2, 3].map(|operand| unsafe { args.output(operand).slice(own.clone()) });
        for (row, (loss, miss)) in losses.iter_mut().zip(misses).enumerate() {
            let [peak, total, logit, is_broken] = summaries[row];
            let [peak, total, logit] = [peak, total, logit].map(f32::from_bits);
            (*loss, *miss) = if targets[row] == DEAD {
                (0.0, 0.0)
            } else if is_broken != 0 || targets[row] >= params.vocab {
                (f32::NAN, f32::NAN)
            } else {
                ((peak - logit) + ln(total), f32::from(logit != peak))
            };
        }
    }
}

#[cfg(test)]
mod tests;
