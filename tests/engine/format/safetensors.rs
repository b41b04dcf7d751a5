use half::{bf16, f16};
use pollster::block_on;
use proptest::prelude::*;
use serde_json::{Value, json};
use tabtune::error::Code;
use tabtune::files::Files;
use tabtune::format::{Checkpoint, Dtype, TensorInfo, TensorSums, read_header, read_rows, read_rows_raw};

use super::files::{MemoryFiles, assert_refused, safetensors_file};

const FILE: &str = "model.safetensors";

fn open(bytes: &[u8]) -> tabtune::error::Result<Checkpoint> {
    block_on(Checkpoint::open(&MemoryFiles::of(&[(FILE, bytes)])))
}

const TWO: &str = r#"{"__metadata__":{"format":"pt"},
    "b":{"dtype":"F16","shape":[2,2],"data_offsets":[4,12]},
    "a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#;

#[test]
fn header_gives_place_of_each_tensor() {
    let checkpoint = open(&safetensors_file(TWO, &[0; 12])).unwrap();
    let data = 8 + TWO.len() as u64;
    let b = checkpoint.require("b", &[2, 2]).unwrap();
    assert_eq!(
        (b.dtype(), b.start, b.len, b.rows(), b.row_elements()),
        (Some(Dtype::F16), data + 4, 8, 2, 2)
    );
    assert_eq!(checkpoint.tensors.len(), 2);
    assert_refused(checkpoint.require("c", &[3, 4]), Code::BadModel, &["c", "[3, 4]", "missing"]);
    assert_refused(checkpoint.require("b", &[4]), Code::BadModel, &[FILE, "b", "[2, 2]", "[4]"]);
}

#[test]
fn every_truncation_is_refused() {
    let whole = safetensors_file(TWO, &[0; 12]);
    for length in 0..whole.len() {
        assert_refused(open(&whole[..length]), Code::BadModel, &[FILE]);
    }
    assert_refused(open(&[&whole[..], &[0]].concat()), Code::BadModel, &[FILE, "belong to no tensor"]);
}

#[test]
fn lying_headers_are_refused_by_name() {
    let one = |tensor: &str| format!(r#"{{"w":{tensor}}}"#);
    let cases = [
        (one(r#"{"dtype":"F32","shape":[2],"data_offsets":[0,9]}"#), "w"),
        (one(r#"{"dtype":"F32","shape":[2],"data_offsets":[8,0]}"#), "backwards"),
        (one(r#"{"dtype":"F32","shape":[2],"data_offsets":[1,9]}"#), "gap"),
        (one(r#"{"dtype":"F32","shape":[4],"data_offsets":[0,16]}"#), "truncated"),
        (one(r#"{"dtype":"F99","shape":[2],"data_offsets":[0,8]}"#), "F99"),
        (one(r#"{"dtype":"F32","shape":[-2],"data_offsets":[0,8]}"#), "tensor w"),
        (one(r#"{"dtype":"F32","shape":[2]}"#), "tensor w"),
        (one("7"), "tensor w"),
        (one(r#"{"dtype":"F32","shape":[4294967296,4294967296,0],"data_offsets":[0,0]}"#), "too large"),
        (one(r#"{"dtype":"F32","shape":[2],"data_offsets":[18446744073709551600,18446744073709551608]}"#), "range"),
        (one(r#"{"dtype":"F32","shape":[4611686018427387906],"data_offsets":[0,8]}"#), "w"),
        (
            r#"{"w":{"dtype":"U8","shape":[8],"data_offsets":[0,8]},"w":{"dtype":"U8","shape":[8],"data_offsets":[0,8]}}"#
                .to_owned(),
            "w comes twice",
        ),
        (
            r#"{"v":{"dtype":"U8","shape":[5],"data_offsets":[0,5]},"w":{"dtype":"U8","shape":[4],"data_offsets":[4,8]}}"#
                .to_owned(),
            "tensor w: its data_offsets overlap",
        ),
        ("[]".to_owned(), "object"),
        ("{".to_owned(), "bad header"),
    ];
    for (header, part) in cases {
        assert_refused(open(&safetensors_file(&header, &[0; 8])), Code::BadModel, &[FILE, part]);
    }
    let mut huge = safetensors_file(TWO, &[0; 12]);
    huge[..8].copy_from_slice(&u64::MAX.to_le_bytes());
    assert_refused(open(&huge), Code::BadModel, &[FILE, "claims"]);
    let one_too_many = huge.len() as u64 - 7;
    huge[..8].copy_from_slice(&one_too_many.to_le_bytes());
    assert_refused(open(&huge), Code::BadModel, &[FILE, "claims"]);
}

#[test]
fn shards_are_joined_by_their_index() {
    let shard = |name: &str| {
        safetensors_file(
            &format!(r#"{{"{name}":{{"dtype":"U8","shape":[2],"data_offsets":[0,2]}}}}"#),
            &[0; 2],
        )
    };
    let index = |map: &str| format!(r#"{{"metadata":{{}},"weight_map":{map}}}"#).into_bytes();
    let with = |index: &[u8]| {
        let files = MemoryFiles::of(&[
            ("model.safetensors.index.json", index),
            ("one.safetensors", &shard("a")),
            ("two.safetensors", &shard("b")),
        ]);
        block_on(Checkpoint::open(&files))
    };
    let checkpoint = with(&index(r#"{"a":"one.safetensors","b":"two.safetensors"}"#)).unwrap();
    assert_eq!(checkpoint.tensors["b"].file, "two.safetensors");
    let refused = |index: &[u8], parts: &[&str]| assert_refused(with(index), Code::BadModel, parts);
    refused(&index(r#"{"a":"three.safetensors"}"#), &["three.safetensors", "missing"]);
    refused(&index(r#"{"a":"two.safetensors"}"#), &["tensor a", "two.safetensors"]);
    for name in
        ["../one.safetensors", "..", "..%2fone", "https:127.0.0.1:80", "one.safetensors?x=1", "data:,A", ""]
    {
        refused(&index(&format!(r#"{{"a":"{name}"}}"#)), &[name, "not a file of the model's folder"]);
    }
    refused(b"{}", &["model.safetensors.index.json", "weight_map"]);
    refused(b"{", &["model.safetensors.index.json"]);
    assert_refused(block_on(Checkpoint::open(&MemoryFiles::default())), Code::BadModel, &[FILE]);
}

fn tensor(dtype: Dtype, shape: &[usize], bytes: &[u8]) -> (MemoryFiles, TensorInfo) {
    let header =
        format!(r#"{{"w":{{"dtype":"{dtype}","shape":{shape:?},"data_offsets":[0,{}]}}}}"#, bytes.len());
    let files = MemoryFiles::of(&[(FILE, &safetensors_file(&header, bytes))]);
    let info = block_on(read_header(&files, FILE)).unwrap().remove(0);
    (files, info)
}

#[test]
fn every_finite_half_is_read_exactly() {
    let finite = |exponent: u16| (0..=u16::MAX).filter(move |bits| bits & exponent != exponent);
    let mut values = Vec::new();
    for (dtype, exponent) in [(Dtype::F16, 0x7c00), (Dtype::BF16, 0x7f80)] {
        let words: Vec<u16> = finite(exponent).collect();
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        let (files, info) = tensor(dtype, &[words.len()], &bytes);
        block_on(read_rows(&files, &info, 0, words.len(), &mut values)).unwrap();
        for (&word, value) in words.iter().zip(&values) {
            let back = if dtype == Dtype::F16 {
                f16::from_f32(*value).to_bits()
            } else {
                bf16::from_f32(*value).to_bits()
            };
            assert_eq!(back, word);
        }
        assert_eq!(values.len(), words.len());
    }
}

#[test]
fn rows_are_read_in_pieces() {
    // Larger than what one read asks of the file, with a row that doesn't divide it.
    let (rows, columns) = (2003, 701);
    let all: Vec<f32> = (0..rows * columns).map(|i| i as f32).collect();
    let bytes: Vec<u8> = all.iter().flat_map(|x| x.to_le_bytes()).collect();
    let (files, info) = tensor(Dtype::F32, &[rows, columns], &bytes);
    let (mut values, mut raw) = (vec![1.0], vec![1]);
    for (first, n) in [(0, rows), (3, 5), (rows, 0), (rows - 1, 1)] {
        block_on(read_rows(&files, &info, first, n, &mut values)).unwrap();
        block_on(read_rows_raw(&files, &info, first, n, &mut raw)).unwrap();
        assert_eq!(values, all[first * columns..(first + n) * columns]);
        assert_eq!(raw, bytes[first * columns * 4..(first + n) * columns * 4]);
    }
    assert_refused(block_on(read_rows(&files, &info, 1, rows, &mut values)), Code::Internal, &["w"]);
    assert_eq!((info.rows_in(columns * 8), info.rows_in(1)), (2, 1));
}

#[test]
fn nan_and_infinity_are_refused_with_their_place() {
    let cases = [
        (Dtype::F32, f32::NAN.to_le_bytes().to_vec()),
        (Dtype::F32, f32::NEG_INFINITY.to_le_bytes().to_vec()),
        (Dtype::F16, f16::INFINITY.to_le_bytes().to_vec()),
        (Dtype::BF16, bf16::NAN.to_le_bytes().to_vec()),
    ];
    for (dtype, bad) in cases {
        let mut bytes = vec![0; 6 * bad.len()];
        bytes[4 * bad.len()..5 * bad.len()].copy_from_slice(&bad);
        let (files, info) = tensor(dtype, &[3, 2], &bytes);
        let parts = &[FILE, "tensor w", "element 4"];
        assert_refused(block_on(read_rows(&files, &info, 1, 2, &mut vec![])), Code::BadModel, parts);
        assert_refused(block_on(read_rows_raw(&files, &info, 1, 2, &mut vec![])), Code::BadModel, parts);
        block_on(read_rows(&files, &info, 0, 2, &mut vec![])).unwrap();
    }
}

#[test]
fn other_dtypes_are_read_raw_only() {
    let (files, info) = tensor(Dtype::U8, &[4], &[1, 2, 3, 4]);
    let mut raw = vec![];
    block_on(read_rows_raw(&files, &info, 1, 2, &mut raw)).unwrap();
    assert_eq!(raw, [2, 3]);
    assert_refused(block_on(read_rows(&files, &info, 0, 4, &mut vec![])), Code::BadModel, &["w", "U8"]);
    let files = MemoryFiles::of(&[(FILE, &files.0[FILE])]);
    let checkpoint = block_on(Checkpoint::open(&files)).unwrap();
    assert_refused(checkpoint.require("w", &[4]), Code::BadModel, &["w", "U8"]);
}

proptest! {
    #[test]
    fn reads_what_the_safetensors_crate_writes(shapes in prop::collection::vec(prop::collection::vec(0_usize..5, 0..4), 0..6)) {
        let bytes: Vec<Vec<u8>> = shapes.iter().map(|shape| vec![7; 2 * shape.iter().product::<usize>()]).collect();
        let views = shapes.iter().zip(&bytes).enumerate().map(|(i, (shape, bytes))| {
            (format!("t{i}"), ::safetensors::tensor::TensorView::new(Dtype::BF16, shape.clone(), bytes).unwrap())
        });
        let checkpoint = open(&::safetensors::serialize(views, None).unwrap()).unwrap();
        for (i, shape) in shapes.iter().enumerate() {
            prop_assert_eq!(&checkpoint.require(&format!("t{i}"), shape).unwrap().shape, shape);
        }
    }

    #[test]
    fn damaged_headers_never_panic(position in 0..8 + TWO.len(), byte: u8) {
        let mut bytes = safetensors_file(TWO, &[0; 12]);
        bytes[position] = byte;
        if let Err(error) = open(&bytes) {
            prop_assert_eq!(error.code, Code::BadModel);
        }
    }
}

#[test]
fn a_model_is_known_by_its_tensors_however_they_are_read() {
    let entry = |dtype: &str, shape: &[usize], start: usize, end: usize| json!({"dtype": dtype, "shape": shape, "data_offsets": [start, end]});
    let data: Vec<u8> = (0..24).map(|i| i % 5).collect();
    let ab = json!({"a": entry("F32", &[2, 2], 0, 16), "b": entry("F16", &[4], 16, 24)});
    let ba = json!({"b": entry("F16", &[4], 0, 8), "a": entry("F32", &[2, 2], 8, 24)});
    let swapped = [&data[16..], &data[..16]].concat();
    // Reads what `order` says, from each tensor's start, and sums up.
    let sum = |header: &Value, data: &[u8], order: &[(&str, u64, usize)]| {
        let file = safetensors_file(&header.to_string(), data);
        let files = MemoryFiles::of(&[(FILE, &file)]);
        let tensors = block_on(Checkpoint::open(&files)).unwrap().tensors;
        let sums = TensorSums::new(&files, tensors.clone().into_iter().collect());
        for &(name, start, len) in order {
            let tensor = &tensors[name];
            block_on(sums.read(&tensor.file, tensor.start + start, len)).unwrap();
        }
        block_on(sums.sum()).unwrap()
    };
    let known = sum(&ab, &data, &[("a", 0, 16), ("b", 0, 8)]);
    for order in [
        &[][..],
        &[("b", 0, 8), ("a", 0, 16)],
        &[("a", 0, 24)],
        &[("a", 0, 4), ("b", 0, 3), ("a", 4, 12), ("b", 3, 5)],
        // Twice, overlapping, and not in order.
        &[("a", 0, 16), ("a", 0, 16), ("b", 4, 4), ("b", 0, 6)],
    ] {
        assert_eq!(sum(&ab, &data, order), known, "{order:?}");
    }
    for order in [&[][..], &[("b", 0, 24)], &[("a", 0, 16), ("b", 0, 8)]] {
        assert_eq!(sum(&ba, &swapped, order), known, "{order:?}");
    }
    let mut other = data.clone();
    other[23] ^= 1;
    let renamed = json!({"c": ab["a"], "b": ab["b"]});
    let reshaped = json!({"a": entry("F32", &[4], 0, 16), "b": ab["b"]});
    let retyped = json!({"a": ab["a"], "b": entry("BF16", &[4], 16, 24)});
    for (header, data) in [(&ab, &other), (&renamed, &data), (&reshaped, &data), (&retyped, &data)] {
        assert_ne!(sum(header, data, &[]), known, "{header}");
    }
}
