//! Gathering, scattering and scaling of rows, bit for bit.

use tabtune::kernels::rows::{self, DEAD, Params};
use tabtune::reference;

use crate::harness::Harness;

/// Rows of the activation, rows of the block, stride, first index.
const SIZES: [[u32; 4]; 5] =
    [[1, 1, 8, 0], [7, 5, 8, 2], [40, 33, 264, 7], [300, 127, 576, 64], [9, 9, 2056, 1]];

/// Distinct rows in a mixed order, with every fourth one dead, behind `first` that nobody may read.
fn index(all: u32, count: u32, first: u32) -> Vec<u32> {
    let mut order: Vec<u32> = (0..all).collect();
    order.sort_by_key(|row| row * 7919 % 1009);
    let block = (0..count).map(|i| if i % 4 == 3 { DEAD } else { order[i as usize] });
    (0..first).map(|_| 1 << 30).chain(block).collect()
}

#[test]
fn rows_are_moved_and_scaled_as_by_the_twins() {
    for mut h in Harness::each() {
        for [all, count, stride, first] in SIZES {
            let params = Params { count, stride, first };
            let index = index(all, count, first);
            let whole = h.random(1, (all * stride) as usize, -1.0, 1.0);
            let block = h.random(2, (count * stride) as usize, -1.0, 1.0);
            let (whole_in, block_in, index_in) = (h.input(&whole), h.input(&block), h.input_u32(&index));
            let (gathered, scattered) = (h.output(block.len() + 8), h.output(whole.len()));
            let weight = h.random(3, index.len(), -1.0, 1.0);
            let (weight_in, scaled) = (h.input(&weight), h.input(&whole));
            h.run(|rec| {
                rows::scale(rec, params, index_in, weight_in, scaled);
                rows::gather(rec, params, whole_in, index_in, gathered);
                rows::scatter(rec, params, block_in, index_in, scattered);
            });

            let bits = |values: &[f32]| -> Vec<u32> { values.iter().map(|x| x.to_bits()).collect() };
            let mut want = reference::rows::gather(&params, &whole, &index);
            want.extend([f32::from_bits(u32::MAX); 8]);
            assert_eq!(h.read_u32(gathered), bits(&want), "gather {params:?}");
            let mut want = vec![f32::from_bits(u32::MAX); whole.len()];
            reference::rows::scatter(&params, &block, &index, &mut want);
            assert_eq!(h.read_u32(scattered), bits(&want), "scatter {params:?}");
            let mut want = whole;
            reference::rows::scale(&params, &index, &weight, &mut want);
            assert_eq!(h.read_u32(scaled), bits(&want), "scale {params:?}");
        }
    }
}
