//! What the tests of kernels share. What they call is the library as the engine links it, not this crate as compiled for tests.

use tabtune_cpu::{Call, Level, Operand, SCRATCH, index, run as run_task, tasks};

/// Behind every operand, to notice who writes there.
const GUARD: f32 = -123.5;

/// The flavours of SIMD that this machine has.
pub fn levels() -> Vec<Level> {
    [Level::Unfused, Level::Fused].into_iter().filter(|level| *level <= Level::best()).collect()
}

/// Evenly distributed values in −1..1, the same for the same seed.
pub fn random(seed: u64, count: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    };
    // The first values of like seeds are alike.
    (0..count + 8).map(|_| next()).skip(8).collect()
}

/// Words as f32 operands have them, bit for bit.
pub fn from_words(words: &[u32]) -> Vec<f32> {
    words.iter().map(|&word| f32::from_bits(word)).collect()
}

/// The operands after a call of kernel `name`, once for each flavour of SIMD. Tasks run last first, since their order
/// means nothing.
pub fn run<P>(name: &str, params: &P, operands: &[&[f32]]) -> Vec<Vec<Vec<f32>>> {
    levels().into_iter().map(|level| run_at(level, name, params, operands)).collect()
}

/// The operands after a call of kernel `name` with one flavour of SIMD.
pub fn run_at<P>(level: Level, name: &str, params: &P, operands: &[&[f32]]) -> Vec<Vec<f32>> {
    let mut copies: Vec<Vec<f32>> =
        operands.iter().map(|values| [values, &[GUARD; 8][..]].concat()).collect();
    let bound: Vec<Operand> = copies
        .iter_mut()
        .map(|copy| Operand { start: copy.as_mut_ptr().cast(), bytes: 4 * (copy.len() - 8) })
        .collect();
    let call = Call {
        kernel: index(name).unwrap_or_else(|| panic!("no kernel {name}")),
        params: std::ptr::from_ref(params).cast(),
        operands: bound.as_ptr(),
        count: bound.len() as u32,
    };
    let mut scratch = vec![f32::NAN; SCRATCH];
    // SAFETY: The call's parts live here, and its tasks run one after another.
    unsafe {
        for task in (0..tasks(&call)).rev() {
            run_task(level, &call, task, &mut scratch);
        }
    }
    for copy in &mut copies {
        let guard = copy.split_off(copy.len() - 8);
        assert_eq!(guard, [GUARD; 8], "{name} wrote past an operand");
    }
    copies
}

/// Panics unless each value is within `bound` times its `norm` of what is wanted.
pub fn assert_close(name: &str, got: &[f32], want: &[f64], norms: &[f64], bound: f64) {
    assert_eq!(got.len(), want.len(), "{name}: lengths");
    for (i, ((&got, &want), &norm)) in got.iter().zip(want).zip(norms).enumerate() {
        let error = (f64::from(got) - want).abs();
        assert!(error <= bound * norm, "{name}: value {i} is {got}, but should be {want} (norm {norm})");
    }
}
