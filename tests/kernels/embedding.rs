//! Embedding rows by id, bit for bit, in every table format, and their gradient.

use half::{bf16, f16};
use tabtune::format::Packed;
use tabtune::format::WeightFormat::{self, Bf16, F16, F32};
use tabtune::kernels::embedding::{self, Params};
use tabtune::kernels::linear::Weight;
use tabtune::reference;

use crate::harness::{Harness, assert_close_scaled, to_f32, to_f64};

/// Tokens, width, vocabulary.
const SIZES: [[u32; 3]; 5] = [[1, 1, 1], [5, 8, 3], [17, 20, 31], [64, 576, 97], [131, 2049, 7]];

/// Two 16-bit values to a word, the first in the low half.
fn packed(halves: &[u16]) -> Vec<u32> {
    halves.chunks_exact(2).map(|pair| u32::from(pair[0]) | u32::from(pair[1]) << 16).collect()
}

/// The words of a table of 16-bit or 32-bit values, and the values as f32.
fn table(format: WeightFormat, values: &[f32]) -> (Vec<u32>, Vec<f32>) {
    match format {
        WeightFormat::F16 => {
            let halves: Vec<f16> = values.iter().map(|&x| f16::from_f32(x)).collect();
            let bits: Vec<u16> = halves.iter().map(|x| x.to_bits()).collect();
            (packed(&bits), halves.iter().map(|x| x.to_f32()).collect())
        }
        WeightFormat::Bf16 => {
            let halves: Vec<bf16> = values.iter().map(|&x| bf16::from_f32(x)).collect();
            let bits: Vec<u16> = halves.iter().map(|x| x.to_bits()).collect();
            (packed(&bits), halves.iter().map(|x| x.to_f32()).collect())
        }
        _ => (values.iter().map(|x| x.to_bits()).collect(), values.to_vec()),
    }
}

#[test]
fn two_slabs_give_every_row() {
    for mut h in Harness::each() {
        // The last scale is Gemma's for a width of 640: the root in BF16.
        for (format, scale) in [(F32, 1.0), (F16, 1.0), (Bf16, 1.0), (F16, 12.0), (Bf16, 25.25), (F32, 25.25)]
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
                        Params { rows, depth: stride, first_id: slab.start, n_ids: slab.len() as u32, scale };
                    let part = &values[(slab.start * stride) as usize..(slab.end * stride) as usize];
                    let (words, decoded) = table(format, part);
                    let table_in = h.input_u32(&words);
                    let table_in = Weight::new(format, table_in, table_in);
                    h.run(|rec| embedding::forward(rec, params, ids_in, table_in, out));
                    reference::embedding::forward(&params, &ids, &decoded, &mut want);
                }
                let want: Vec<u32> = want.iter().map(|x| x.to_bits()).collect();
                assert_eq!(h.read_u32(out), want, "{format:?} times {scale}, {rows} of {vocab} x {width}");
            }
        }
    }
}

#[test]
fn ids_outside_the_slab_write_nothing() {
    for mut h in Harness::each() {
        let params = Params { rows: 4, depth: 8, first_id: 10, n_ids: 2, scale: 1.0 };
        let (ids, table) = (h.input_u32(&[9, 11, 12, u32::MAX]), h.input(&[2.5; 16]));
        let out = h.output(32);
        h.run(|rec| embedding::forward(rec, params, ids, Weight::f32(table), out));
        let got = h.read_u32(out);
        assert!(got[8..16].iter().all(|&bits| bits == 2.5f32.to_bits()));
        assert!(got[..8].iter().chain(&got[16..]).all(|&bits| bits == u32::MAX));
    }
}

/// Every finite number of either format: subnormals and both zeros among them.
#[test]
fn sixteen_bit_formats_decode_exactly() {
    type Format = (WeightFormat, fn(u16) -> f32);
    let formats: [Format; 2] =
        [(F16, |bits| f16::from_bits(bits).to_f32()), (Bf16, |bits| bf16::from_bits(bits).to_f32())];
    for (format, value) in formats {
        let mut h = Harness::new();
        let finite: Vec<u16> = (0..=u16::MAX).filter(|&bits| value(bits).is_finite()).collect();
        let rows = finite.len() as u32 / 8;
        let params = Params { rows, depth: 8, first_id: 0, n_ids: rows, scale: 1.0 };
        let ids: Vec<u32> = (0..rows).collect();
        let (ids, table, out) = (h.input_u32(&ids), h.input_u32(&packed(&finite)), h.output(finite.len()));
        let table = Weight::new(format, table, table);
        h.run(|rec| embedding::forward(rec, params, ids, table, out));
        let want: Vec<u32> = finite.iter().map(|&bits| value(bits).to_bits()).collect();
        assert_eq!(h.read_u32(out), want, "{format:?}");
    }
}

/// Codes and scales of any bits, which the formats of GGUF decode exactly too.
#[test]
fn quantized_tables_give_the_values_of_their_twins() {
    let (rows, depth, n_ids) = (9, 512, 40);
    let ids: Vec<u32> = (0..rows).map(|row| row * 17 % n_ids).collect();
    for mut h in Harness::each() {
        for format in embedding::FORMATS.into_iter().filter(|format| format.is_quantized()) {
            let sizes = [n_ids as usize * format.row_words(depth), format.scale_words(n_ids as usize, depth)];
            let mut words = sizes.into_iter().zip(format.layout().random).map(|(count, of)| -> Vec<u32> {
                let random = h.random(count as u64, count, 1.0, 2.0).into_iter().map(|x| x.to_bits() << 9);
                random.enumerate().map(|(number, word)| of(word ^ word.rotate_left(13), number)).collect()
            });
            let [values, scales] = [words.next().expect("values"), words.next().expect("scales")];
            let packed = Packed { values: &values, scales: &scales, depth, true_depth: depth };
            let value = |id: usize, k| (format.layout().value)(&packed, id, k);
            let want: Vec<u32> = ids
                .iter()
                .flat_map(|&id| (0..depth).map(move |k| (id as usize, k)))
                .map(|(id, k)| value(id, k).to_bits())
                .collect();
            let table = Weight::new(format, h.input_u32(&values), h.input_u32(&scales));
            let (ids, out) = (h.input_u32(&ids), h.output(want.len()));
            let params = Params { rows, depth: depth as u32, first_id: 0, n_ids, scale: 1.0 };
            h.run(|rec| embedding::forward(rec, params, ids, table, out));
            assert_eq!(h.read_u32(out), want, "{format:?}");
        }
    }
}

#[test]
fn the_gradient_of_a_table_is_its_twin() {
    for mut h in Harness::each() {
        for scale in [1.0, 25.25] {
            for [rows, width, vocab] in SIZES {
                let stride = width.next_multiple_of(8);
                let dout = h.random(1, (rows * stride) as usize, -1.0, 1.0);
                let ids: Vec<u32> = (0..rows).map(|row| row * row * 31 % vocab).collect();
                // The last row has no gradient, unless it is the only one.
                let mut order: Vec<u32> = (0..rows.saturating_sub(1).max(1)).collect();
                order.sort_by_key(|&row| ids[row as usize]);
                order.resize(rows as usize, u32::MAX);
                let (ids_in, order_in, dout_in) = (h.input_u32(&ids), h.input_u32(&order), h.input(&dout));
                let cut = vocab / 3;
                for slab in [0..cut, cut..vocab] {
                    let params =
                        Params { rows, depth: stride, first_id: slab.start, n_ids: slab.len() as u32, scale };
                    let before = h.random(2, slab.len() * stride as usize, -1.0, 1.0);
                    // A row more than there are ids.
                    let dtable = h.input(&[before.clone(), vec![7.0; stride as usize]].concat());
                    h.run(|rec| embedding::backward(rec, params, ids_in, order_in, dout_in, dtable));

                    let mut want = to_f64(&before);
                    reference::embedding::backward(&params, &ids, &order, &to_f64(&dout), &mut want);
                    let got = h.read(dtable);
                    assert!(got[want.len()..].iter().all(|&value| value == 7.0));
                    let scales = vec![scale * (rows as f32).sqrt(); want.len()];
                    let name = format!("{rows} of {vocab} x {width}");
                    assert_close_scaled(&name, &got[..want.len()], &to_f32(&want), &scales, 1e-6);
                }
            }
        }
    }
}
