//! Damage to files: some of it as bytes, some of it as the counts, offsets and texts that headers are made of.

/// SplitMix64 (Steele et al. 2014).
pub struct Draw(pub u64);

impl Draw {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }

    fn of<'a, T>(&mut self, list: &'a [T]) -> &'a T {
        &list[self.below(list.len())]
    }
}

/// Numbers at which counts, lengths and offsets go wrong.
const NUMBERS: [u64; 20] = [
    0,
    1,
    2,
    7,
    8,
    9,
    31,
    32,
    33,
    255,
    256,
    0xffff,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
    0x1_0000_0000,
    0x7fff_ffff_ffff_ffff,
    0x8000_0000_0000_0000,
    0xffff_ffff_ffff_ffe0,
    u64::MAX,
];

/// Pieces of JSON.
const TEXTS: [&str; 24] = [
    "0",
    "-1",
    "1e999",
    "-0.0",
    "18446744073709551615",
    "18446744073709551616",
    "9007199254740993",
    "null",
    "true",
    "[]",
    "{}",
    "[",
    "{",
    "]",
    "}",
    "\"",
    ",",
    ":",
    "\\u0000",
    "\\ud800",
    "[[[[[[[[[[[[[[[[",
    "[0,0,0,0,0,0,0,0,0,0,0,0]",
    "\"\"",
    "(.*)*",
];

/// A file out of one of `corpus`, with one to eight kinds of damage.
pub fn damaged(draw: &mut Draw, corpus: &[Vec<u8>]) -> Vec<u8> {
    let mut file = draw.of(corpus).clone();
    for _ in 0..1 + draw.below(3) * draw.below(4) {
        damage(draw, &mut file, corpus);
    }
    file
}

fn damage(draw: &mut Draw, file: &mut Vec<u8>, corpus: &[Vec<u8>]) {
    let at = draw.below(file.len() + 1);
    let longest = 1 << draw.below(8);
    let end = (at + 1 + draw.below(longest)).min(file.len());
    match draw.below(10) {
        0 => file.truncate(at),
        1 if at < file.len() => file[at] ^= 1 << draw.below(8),
        2 => drop(file.drain(at..end)),
        3 => {
            let copied = file[at..end].to_vec();
            let to = draw.below(file.len() + 1);
            file.splice(to..to, copied);
        }
        4 => {
            let other = draw.of(corpus);
            let from = draw.below(other.len() + 1);
            let until = (from + draw.below(64)).min(other.len());
            file.splice(at..end, other[from..until].iter().copied());
        }
        5 | 6 => {
            // A number of one to eight bytes in the place of what is there, or near to what is there.
            let width = 1 << draw.below(4);
            if let Some(place) = file.get_mut(at..at + width) {
                let mut word = [0; 8];
                word[..width].copy_from_slice(place);
                let near = u64::from_le_bytes(word).wrapping_add(draw.below(5) as u64).wrapping_sub(2);
                let number = if draw.below(3) == 0 { near } else { *draw.of(&NUMBERS) };
                place.copy_from_slice(&number.to_le_bytes()[..width]);
            }
        }
        7 => drop(file.splice(at..at, draw.of(&TEXTS).bytes())),
        8 => {
            // A number in a text.
            let Some(start) = file[at..].iter().position(u8::is_ascii_digit).map(|found| at + found) else {
                return;
            };
            let digits = file[start..].iter().take_while(|byte| byte.is_ascii_digit()).count();
            let number = draw.of(&NUMBERS).to_string();
            file.splice(start..start + digits, number.bytes());
        }
        _ => {
            let count = 1 << draw.below(12);
            let byte = file.get(at).copied().unwrap_or(0);
            file.splice(at..at, std::iter::repeat_n(byte, count));
        }
    }
}
