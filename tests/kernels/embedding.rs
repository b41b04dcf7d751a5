//! Embedding rows by id, bit for bit, in every table format.

use half::{bf16, f16};
use tabtune::kernels::embedding::{self, Params};
use tabtune::reference;

use crate::harness::Harness;

/// Tokens, width, vocabulary.
const SIZES: [[u32; 3]; 5] = [[1, 1, 1], [5, 8, 3], [17, 20, 31], [64, 576, 97], [131, 2049, 7]];

/// Two 16-bit values to a word, the first in the low half.
fn packed(halves: &[u16]) -> Vec<u32> {
    halves.chunks_exact(2).map(|pair| u32::from(pair[0]) | u32::from(pair[1]) << 16).collect()
}

/// The words of a table of 16-bit or 32-bit values, and the values as f32.
fn table(weight: &str, values: &[f32]) -> (Vec<u32>, Vec<f32>) {
    match weight {
        "f32" => (values.iter().map(|x| x.to_bits()).collect(), values.to_vec()),
        "f16" => {
            let halves: Vec<f16> = values.iter().map(|&x| f16::from_f32(x)).collect();
            let bits: Vec<u16> = halves.iter().map(|x| x.to_bits()).collect();
            (packed(&bits), halves.iter().map(|x| x.to_f32()).collect())
        }
        "bf16" => {
            let halves: Vec<bf16> = values.iter().map(|&x| bf16::from_f32(x)).collect();
            let bits: Vec<u16> = halves.iter().map(|x| x.to_bits()).collect();
            (packed(&bits), halves.iter().map(|x| x.to_f32()).collect())
        }
        _ => panic!("no format {weight}"),
    }
}

#[test]
fn two_slabs_give_every_row() {
    for mut h in Harness::each() {
        // The last scale is Gemma's for a width of 640: the root in BF16.
        for (weight, scale) in
            [("f32", 1.0), ("f16", 1.0), ("bf16", 1.0), ("f16", 12.0), ("bf16", 25.25), ("f32", 25.25)]
        {
            for [rows, width, vocab] in SIZES {
                let stride = width.next_multiple_of(8);
                let mut values = h.random(1, (vocab * stride) as usize, -0.1, 0.1);
                values.chunks_exact_mut(stride as usize).for_each(|row| row[width as usize..].fill(0.0));
                let ids: Vec<u32> = (0..rows).map(|row| row * 7919 % vocab).collect();
                let (ids_in, out) = (h.input_u32(&ids), h.output(((rows + 1) * stride) as usize));
                let mut want = vec![f32::from_bits(u32::MAX); ((rows + 1) * stride) as usize];
                let cut = vocab / 3;
                for slab in [0..cut, cut..vocab] {
                    let params =
                        Params { rows, stride, first_id: slab.start, n_ids: slab.len() as u32, scale };
                    let part = &values[(slab.start * stride) as usize..(slab.end * stride) as usize];
                    let (words, decoded) = table(weight, part);
                    let table_in = h.input_u32(&words);
                    h.run(|rec| embedding::forward(rec, weight, params, ids_in, table_in, out));
                    reference::embedding::forward(&params, &ids, &decoded, &mut want);
                }
                let want: Vec<u32> = want.iter().map(|x| x.to_bits()).collect();
                assert_eq!(h.read_u32(out), want, "{weight} times {scale}, {rows} of {vocab} x {width}");
            }
        }
    }
}

#[test]
fn ids_outside_the_slab_write_nothing() {
    for mut h in Harness::each() {
        let params = Params { rows: 4, stride: 8, first_id: 10, n_ids: 2, scale: 1.0 };
        let (ids, table) = (h.input_u32(&[9, 11, 12, u32::MAX]), h.input(&[2.5; 16]));
        let out = h.output(32);
        h.run(|rec| embedding::forward(rec, "f32", params, ids, table, out));
        let got = h.read_u32(out);
        assert!(got[8..16].iter().all(|&bits| bits == 2.5f32.to_bits()));
        assert!(got[..8].iter().chain(&got[16..]).all(|&bits| bits == u32::MAX));
    }
}

/// Every finite number of either format: subnormals and both zeros among them.
#[test]
fn sixteen_bit_formats_decode_exactly() {
    type Format = (&'static str, fn(u16) -> f32);
    let formats: [Format; 2] =
        [("f16", |bits| f16::from_bits(bits).to_f32()), ("bf16", |bits| bf16::from_bits(bits).to_f32())];
    for (format, value) in formats {
        let mut h = Harness::new();
        let finite: Vec<u16> = (0..=u16::MAX).filter(|&bits| value(bits).is_finite()).collect();
        let rows = finite.len() as u32 / 8;
        let params = Params { rows, stride: 8, first_id: 0, n_ids: rows, scale: 1.0 };
        let ids: Vec<u32> = (0..rows).collect();
        let (ids, table, out) = (h.input_u32(&ids), h.input_u32(&packed(&finite)), h.output(finite.len()));
        h.run(|rec| embedding::forward(rec, format, params, ids, table, out));
        let want: Vec<u32> = finite.iter().map(|&bits| value(bits).to_bits()).collect();
        assert_eq!(h.read_u32(out), want, "{format}");
    }
}
