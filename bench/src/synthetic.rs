//! A model's folder whose weights are made up as they are read, so that no size is too large to serve.

use serde_json::{Map, json};
use tabtune::bail;
use tabtune::error::Result;
use tabtune::files::Files;

use crate::options::Base;
use crate::shapes::Shape;

/// `config.json` and `model.safetensors` of a shape. Norm weights are one; other values are random of
/// magnitude 2⁻⁷ to 2⁻⁵ and either sign, a function of their place alone.
pub struct SyntheticFiles {
    dtype: &'static Dtype,
    config: Vec<u8>,
    /// The header's length and the header.
    head: Vec<u8>,
    /// Bytes of all values.
    data_len: u64,
    /// First byte and end of each norm weight among the values.
    norms: Vec<[u64; 2]>,
}

/// How values are written. The random bits that `kept` lets through, with those of `exponent`, are
/// values of the right magnitude in each lane of a word.
struct Dtype {
    name: &'static str,
    bytes: u64,
    kept: u64,
    exponent: u64,
    /// 1.0, in as many bytes.
    one: &'static [u8],
}

const F16: Dtype = Dtype {
    name: "F16",
    bytes: 2,
    kept: 0x87ff_87ff_87ff_87ff,
    exponent: 0x2000_2000_2000_2000,
    one: &0x3c00u16.to_le_bytes(),
};

const F32: Dtype = Dtype {
    name: "F32",
    bytes: 4,
    kept: 0x80ff_ffff_80ff_ffff,
    exponent: 0x3c00_0000_3c00_0000,
    one: &1f32.to_le_bytes(),
};

impl SyntheticFiles {
    /// A model that becomes `base`: in F32, or, to be quantised, in F16.
    pub fn new(shape: &Shape, base: Base) -> Result<Self> {
        let dtype = match base {
            Base::F32 => &F32,
            Base::Nf4 => &F16,
        };
        let mut entries = Map::new();
        let mut norms = Vec::new();
        let mut end = 0u64;
        for (name, of) in shape.architecture()?.checkpoint_tensors() {
            let start = end;
            end += dtype.bytes * of.iter().product::<usize>() as u64;
            if of.len() == 1 {
                norms.push([start, end]);
            }
            entries.insert(name, json!({"dtype": dtype.name, "shape": of, "data_offsets": [start, end]}));
        }
        let header = serde_json::Value::Object(entries).to_string();
        let mut head = (header.len() as u64).to_le_bytes().to_vec();
        head.extend_from_slice(header.as_bytes());
        Ok(SyntheticFiles { dtype, config: shape.config_json().into_bytes(), head, data_len: end, norms })
    }

    /// Bytes `start..start + len` of the values.
    fn values(&self, start: u64, len: usize) -> Vec<u8> {
        // Several values come of one number; the range is cut out of whole ones.
        let first = start / 8;
        let count = (start + len as u64).div_ceil(8) - first;
        let mut bytes = Vec::with_capacity(8 * count as usize);
        for index in first..first + count {
            // Each lane keeps its sign, the lowest bit of its exponent, and its mantissa.
            let lanes = (mixed(index) & self.dtype.kept) | self.dtype.exponent;
            bytes.extend_from_slice(&lanes.to_le_bytes());
        }
        let skipped = (start - 8 * first) as usize;
        bytes.drain(..skipped);
        bytes.truncate(len);
        for &[from, to] in &self.norms {
            let (from, to) = (from.max(start), to.min(start + len as u64));
            for place in from..to {
                bytes[(place - start) as usize] = self.dtype.one[(place % self.dtype.bytes) as usize];
            }
        }
        bytes
    }
}

/// The finaliser of splitmix64.
fn mixed(index: u64) -> u64 {
    let mut z = index.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// `count` random words, the same for the same seed.
pub fn random_words(seed: u64, count: usize) -> impl Iterator<Item = u32> {
    (0..count as u64).map(move |index| (mixed(seed << 32 | index) >> 32) as u32)
}

/// `count` random numbers below `bound`, the same for the same seed.
pub fn random_ids(seed: u64, count: usize, bound: usize) -> Vec<u32> {
    random_words(seed, count).map(|word| word % bound as u32).collect()
}

/// `count` values uniform in ±`range`, the same for the same seed.
pub fn random_values(seed: u64, count: usize, range: f32) -> Vec<f32> {
    let unit = |word: u32| (word >> 8) as f32 / (1u32 << 23) as f32 - 1.0;
    random_words(seed, count).map(|word| range * unit(word)).collect()
}

#[async_trait::async_trait(?Send)]
impl Files for SyntheticFiles {
    async fn size(&self, name: &str) -> Result<Option<u64>> {
        Ok(match name {
            "config.json" => Some(self.config.len() as u64),
            "model.safetensors" => Some(self.head.len() as u64 + self.data_len),
            _ => None,
        })
    }

    async fn read(&self, name: &str, start: u64, len: usize) -> Result<Vec<u8>> {
        let end = start + len as u64;
        match self.size(name).await? {
            Some(size) if end <= size => {}
            _ => bail!(Io, "{name} has no {len} bytes at {start}"),
        }
        if name == "config.json" {
            return Ok(self.config[start as usize..end as usize].to_vec());
        }
        let head_len = self.head.len() as u64;
        let (from, to) = (start.min(head_len), end.min(head_len));
        let mut bytes = self.head[from as usize..to as usize].to_vec();
        bytes.extend(
            self.values(start.max(head_len) - head_len, (end.max(head_len) - start.max(head_len)) as usize),
        );
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shapes::SHAPES;

    #[test]
    fn any_range_is_a_part_of_the_whole() {
        for (base, bytes) in [(Base::Nf4, 2), (Base::F32, 4)] {
            let files = SyntheticFiles::new(&SHAPES[0], base).unwrap();
            let [from, to] = files.norms[0];
            let whole = files.values(0, to as usize + 100);
            let mut norm = whole[from as usize..to as usize].chunks(bytes);
            assert!(norm.all(|value| value == files.dtype.one));
            for (start, len) in [(0, 1), (1, 30), (from - 3, 5), (from + 1, 64), (to - 1, 20)] {
                assert_eq!(
                    files.values(start, len),
                    whole[start as usize..][..len],
                    "{len} bytes at {start}"
                );
            }
        }
    }
}
