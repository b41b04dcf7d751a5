//! Scales that are quantised themselves against their twin, to the bit.

use tabtune::format::{WeightFormat, double_quantize};
use tabtune::kernels::linear::{self, Weight};
use tabtune::kernels::nested_scales::{self, Params};
use tabtune::reference;

use crate::harness::Harness;

#[test]
fn scales_are_those_of_bitsandbytes_to_the_bit() {
    for mut h in Harness::each() {
        for (rows, blocks) in [(8usize, 6usize), (40, 9), (64, 64), (24, 172), (16, 256), (8, 300)] {
            let mut absmax = h.random(1, rows * blocks, 0.001, 0.2);
            let nested = double_quantize(&mut absmax).rows(blocks, 0..rows);
            let params = Params::new(rows, 64 * blocks);
            assert_eq!(reference::nested_scales::expand::<f32>(&params, &nested), absmax);
            let (nested_in, out) = (h.input_u32(&nested), h.output(params.scales() + 4));
            h.run(|rec| nested_scales::expand(rec, params, nested_in, out));
            let got = h.read_u32(out);
            let want: Vec<u32> = absmax.iter().map(|scale| scale.to_bits()).collect();
            assert_eq!(got[..want.len()], want, "{rows} × {blocks}");
            assert!(got[want.len()..].iter().all(|&bits| bits == u32::MAX), "past the end");
        }
    }
}

/// Every code of the map, in groups whose scale is one and whose offset is none.
#[test]
fn every_code_has_its_value() {
    for mut h in Harness::each() {
        let mut nested = vec![256 * 8 * 32, 0, 1f32.to_bits(), 0];
        nested.extend((0..64u32).map(|word| (0..4).map(|i| (4 * word + i) << (8 * i)).sum::<u32>()));
        let params = Params::new(8, 64 * 32);
        let (nested, out) = (h.input_u32(&nested), h.output(256));
        h.run(|rec| nested_scales::expand(rec, params, nested, out));
        assert_eq!(h.read(out), *tabtune::format::dynamic_map());
    }
}

/// A product whose scales lie in 8 bits is, to the bit, that of the same scales in f32.
#[test]
fn products_do_not_know_how_scales_lie() {
    for mut h in Harness::each() {
        let (rows, cols, depth) = (24, 64, 640);
        let blocks = depth / 64;
        let codes = h.random(3, cols * depth / 8, -1.0, 1.0);
        let codes: Vec<u32> = codes.iter().map(|code| code.to_bits().wrapping_mul(0x9e37_79b9)).collect();
        let mut absmax = h.random(1, cols * blocks, 0.01, 0.1);
        let nested = double_quantize(&mut absmax).rows(blocks, 0..cols);
        let values = h.input_u32(&codes);
        let plain = Weight::new(WeightFormat::Nf4, values, h.input(&absmax));
        let nested =
            Weight { is_nested: true, ..Weight::new(WeightFormat::Nf4, values, h.input_u32(&nested)) };
        let (x, dy) = (h.random(4, rows * depth, -1.0, 1.0), h.random(5, rows * cols, -1.0, 1.0));
        let (x, dy) = (h.input(&x), h.input(&dy));
        let params = linear::Params::plain(rows, cols, depth);
        let results = [plain, nested].map(|weight| {
            let [y, dx, dense] = [rows * cols, rows * depth, cols * depth].map(|len| h.output(len));
            h.run(|rec| {
                linear::forward(rec, params, x, weight, None, None, y);
                linear::backward(rec, params, dy, weight, None, None, dx);
                linear::decode(rec, params, weight, dense);
            });
            [y, dx, dense].map(|tensor| h.read_u32(tensor))
        });
        assert!(results[0] == results[1]);
    }
}
