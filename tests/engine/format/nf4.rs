use pollster::block_on;
use proptest::prelude::*;
use tabtune::error::Code;
use tabtune::format::{
    Checkpoint, NF4_BLOCK, NF4_CODES, NF4_THRESHOLDS, Nf4Quantizer, Nf4Tensor, TensorInfo, dequantize_absmax,
    double_quantize, dynamic_map, read_rows, read_rows_raw,
};

use super::files::{MemoryFiles, assert_refused};

fn quantize(values: &[f32]) -> Nf4Tensor {
    let mut quantizer = Nf4Quantizer::new(&[values.len()]);
    quantizer.push(values);
    quantizer.finish().unwrap()
}

fn codes(tensor: &Nf4Tensor) -> Vec<u8> {
    let all = tensor.codes.iter().flat_map(|byte| [byte >> 4, byte & 0xf]);
    all.take(tensor.shape.iter().product()).collect()
}

#[test]
fn thresholds_lie_halfway_between_codes() {
    for (i, threshold) in NF4_THRESHOLDS.iter().enumerate() {
        assert_eq!(*threshold, (NF4_CODES[i] + NF4_CODES[i + 1]) / 2.0, "threshold {i}");
    }
}

#[test]
fn a_tie_takes_the_lower_code() {
    for (i, &threshold) in NF4_THRESHOLDS.iter().enumerate() {
        let i = i as u8;
        let tensor = quantize(&[1.0, threshold, threshold.next_up(), threshold.next_down()]);
        assert_eq!(codes(&tensor), [15, i, i + 1, i]);
    }
}

#[test]
fn codes_are_fixed_points() {
    let scaled: Vec<f32> = NF4_CODES.iter().map(|code| code * 0.375).collect();
    let tensor = quantize(&scaled);
    assert_eq!(codes(&tensor), (0..16).collect::<Vec<u8>>());
    assert_eq!(tensor.codes[0], 0x01, "the even element is in the high nibble");
    assert_eq!((tensor.absmax.as_slice(), tensor.dequantize()), (&[0.375][..], scaled));
}

#[test]
fn zero_tiny_and_odd_blocks() {
    let zeros = quantize(&[0.0; 65]);
    assert_eq!((codes(&zeros), zeros.absmax.clone()), (vec![7; 65], vec![0.0; 2]));
    assert_eq!(zeros.codes.len(), 33);
    assert_eq!(zeros.dequantize(), [0.0; 65]);
    let tiny = quantize(&[f32::from_bits(1), -f32::MIN_POSITIVE]);
    assert!(tiny.dequantize().iter().all(|x| x.is_finite()));
    assert!(quantize(&[]).codes.is_empty());
}

#[test]
fn a_wrong_number_of_values_is_refused() {
    for count in [0, 63, 65, 200] {
        let mut quantizer = Nf4Quantizer::new(&[8, 8]);
        quantizer.push(&vec![1.0; count]);
        assert_refused(quantizer.finish(), Code::Internal, &["[8, 8]"]);
    }
}

proptest! {
    #[test]
    fn slices_of_any_lengths_give_the_same(
        values in prop::collection::vec(-3.0_f32..3.0, 0..500),
        cuts in prop::collection::vec(0_usize..150, 1..9),
    ) {
        let mut quantizer = Nf4Quantizer::new(&[values.len()]);
        let (mut rest, mut cut) = (values.as_slice(), cuts.iter().cycle());
        for _ in 0..600 {
            let (head, tail) = rest.split_at(rest.len().min(*cut.next().unwrap()));
            quantizer.push(head);
            rest = tail;
        }
        quantizer.push(rest);
        prop_assert_eq!(quantizer.finish().unwrap(), quantize(&values));
    }

    #[test]
    fn no_other_code_is_nearer(values in prop::collection::vec(-3.0_f32..3.0, 1..200)) {
        let tensor = quantize(&values);
        for (i, (&value, got)) in values.iter().zip(tensor.dequantize()).enumerate() {
            let absmax = tensor.absmax[i / NF4_BLOCK];
            let nearest = NF4_CODES.iter().map(|code| (code * absmax - value).abs()).fold(f32::MAX, f32::min);
            prop_assert!((got - value).abs() <= nearest + 1e-6 * absmax);
        }
    }

    #[test]
    fn no_other_scale_is_nearer(mut absmax in prop::collection::vec(0.0_f32..3.0, 1..600)) {
        let before = absmax.clone();
        let nested = double_quantize(&mut absmax);
        prop_assert_eq!(&dequantize_absmax(&nested, dynamic_map()), &absmax);
        for (i, (&value, &got)) in before.iter().zip(&absmax).enumerate() {
            let scale = nested.absmax[i / 256];
            let at = |code: f32| (code * scale + nested.offset - value).abs();
            let nearest = dynamic_map().iter().map(|code| at(*code)).fold(f32::MAX, f32::min);
            prop_assert!((got - value).abs() <= nearest + 2e-6);
        }
    }
}

#[test]
fn equal_scales_survive_double_quantisation() {
    let mut absmax = vec![0.5; 300];
    double_quantize(&mut absmax);
    assert_eq!(absmax, [0.5; 300]);
    double_quantize(&mut []);
}

fn f32s(files: &MemoryFiles, tensor: &TensorInfo) -> Vec<f32> {
    let mut values = Vec::new();
    block_on(read_rows(files, tensor, 0, tensor.rows(), &mut values)).unwrap();
    values
}

fn bytes(files: &MemoryFiles, tensor: &TensorInfo) -> Vec<u8> {
    let mut bytes = Vec::new();
    block_on(read_rows_raw(files, tensor, 0, tensor.rows(), &mut bytes)).unwrap();
    bytes
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

/// Every case that bitsandbytes quantised comes out the same here, to the bit.
#[test]
fn equals_bitsandbytes() {
    let mut files = MemoryFiles::fixture("nf4");
    let file = files.0.remove("nf4.safetensors").unwrap();
    files.0.insert("model.safetensors".to_owned(), file);
    let tensors = block_on(Checkpoint::open(&files)).unwrap().tensors;
    assert_eq!(bits(&f32s(&files, &tensors["codebook"])), bits(&NF4_CODES));
    assert_eq!(bits(&f32s(&files, &tensors["nested_map"])), bits(dynamic_map()));

    let cases: Vec<&str> = tensors.keys().filter_map(|name| name.strip_suffix(".input")).collect();
    let mut nested_cases = 0;
    for case in &cases {
        let of = |part: &str| &tensors[&format!("{case}.{part}")];
        let input = of("input");
        let mut quantizer = Nf4Quantizer::new(&input.shape);
        for slice in f32s(&files, input).chunks(77) {
            quantizer.push(slice);
        }
        let mut tensor = quantizer.finish().unwrap();
        assert_eq!(tensor.codes, bytes(&files, of("codes")), "{case}.codes");
        assert_eq!(bits(&tensor.absmax), bits(&f32s(&files, of("absmax"))), "{case}.absmax");
        if tensors.contains_key(&format!("{case}.offset")) {
            let nested = double_quantize(&mut tensor.absmax);
            assert_eq!(bits(&[nested.offset]), bits(&f32s(&files, of("offset"))), "{case}.offset");
            assert_eq!(nested.codes, bytes(&files, of("absmax_u8")), "{case}.absmax_u8");
            assert_eq!(
                bits(&nested.absmax),
                bits(&f32s(&files, of("nested_absmax"))),
                "{case}.nested_absmax"
            );
            nested_cases += 1;
        }
        assert_eq!(tensor.dequantize(), f32s(&files, of("dequant")), "{case}.dequant");
    }
    assert!(nested_cases > 0 && cases.len() > nested_cases, "{cases:?}");
}
