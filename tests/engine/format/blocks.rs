//! Quantised rows against what the Python packages `gguf` and `bitsandbytes` make of them, to the bit.

use std::collections::BTreeMap;

use pollster::block_on;
use tabtune::format::gguf::GgmlType;
use tabtune::format::{
    Dtype, Encoding, Int8Rows, TensorInfo, quantize_int8, read_header, read_rows, read_rows_raw,
};

use super::files::MemoryFiles;

const FILE: &str = "blocks.safetensors";

struct Fixture {
    files: MemoryFiles,
    tensors: BTreeMap<String, TensorInfo>,
}

impl Fixture {
    fn read() -> Self {
        let files = MemoryFiles::fixture("bases");
        let tensors = block_on(read_header(&files, FILE)).unwrap();
        Fixture { files, tensors: tensors.into_iter().map(|info| (info.name.clone(), info)).collect() }
    }

    fn values(&self, info: &TensorInfo) -> Vec<f32> {
        let mut values = Vec::new();
        block_on(read_rows(&self.files, info, 0, info.rows(), &mut values)).unwrap();
        values
    }

    fn bytes(&self, name: &str) -> Vec<u8> {
        let (info, mut bytes) = (&self.tensors[name], Vec::new());
        block_on(read_rows_raw(&self.files, info, 0, info.rows(), &mut bytes)).unwrap();
        bytes
    }
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

#[test]
fn blocks_of_gguf_stand_for_what_the_python_package_says() {
    let fixture = Fixture::read();
    let quantized = GgmlType::ALL.into_iter().filter(|kind| kind.block_values() > 1);
    for kind in quantized {
        let values = &fixture.tensors[&format!("{kind}.values")];
        let raw = fixture.tensors[&format!("{kind}.raw")].clone();
        let blocks = TensorInfo { encoding: Encoding::Ggml(kind), shape: values.shape.clone(), ..raw };
        assert_eq!(bits(&fixture.values(&blocks)), bits(&fixture.values(values)), "{kind}");
    }
}

#[test]
fn rows_quantised_to_8_bits_are_those_of_bitsandbytes() {
    let fixture = Fixture::read();
    for dtype in ["float32", "float16", "bfloat16"] {
        let name = |part: &str| format!("int8.{dtype}.{part}");
        let input = &fixture.tensors[&name("input")];
        let mut rows = Int8Rows::default();
        assert_eq!(quantize_int8(&fixture.values(input), input.row_elements(), &mut rows), None);
        let codes: Vec<i8> = fixture.bytes(&name("codes")).into_iter().map(|byte| byte as i8).collect();
        assert_eq!(rows.codes, codes, "{dtype}");
        assert_eq!(bits(&rows.absmax), bits(&fixture.values(&fixture.tensors[&name("absmax")])), "{dtype}");
        let absmax = fixture.tensors[&name("absmax")].clone();
        assert_eq!(absmax.dtype(), Some(Dtype::F32));
        let stored = fixture.tensors[&name("codes")].clone();
        let quantized = TensorInfo { encoding: Encoding::Int8(Box::new(absmax)), ..stored };
        let values = &fixture.tensors[&name("values")];
        assert_eq!(fixture.values(&quantized), fixture.values(values), "{dtype}");
    }
}
