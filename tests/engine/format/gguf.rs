//! Headers of GGUF files: what is read of them, and how files that lie are refused.

use pollster::block_on;
use tabtune::error::{Code, Result};
use tabtune::format::gguf::{GgmlType, Gguf, Value};

use super::files::{MemoryFiles, assert_refused};

/// A GGUF that is put together by hand, and may lie.
#[derive(Clone)]
pub struct GgufFile {
    pub version: u32,
    pub values: Vec<(String, Vec<u8>)>,
    pub tensors: Vec<Tensor>,
    pub data: Vec<u8>,
    pub alignment: usize,
}

#[derive(Clone)]
pub struct Tensor {
    pub name: String,
    pub sizes: Vec<u64>,
    pub kind: u32,
    pub offset: u64,
}

pub fn string(text: &str) -> Vec<u8> {
    [&(text.len() as u64).to_le_bytes(), text.as_bytes()].concat()
}

/// A value with its type: a string.
pub fn text(text: &str) -> Vec<u8> {
    [8_u32.to_le_bytes().to_vec(), string(text)].concat()
}

pub fn u32_value(value: u32) -> Vec<u8> {
    [4_u32.to_le_bytes(), value.to_le_bytes()].concat()
}

pub fn f32_value(value: f32) -> Vec<u8> {
    [6_u32.to_le_bytes(), value.to_le_bytes()].concat()
}

/// An array of `count` elements of a type, which are `elements`.
pub fn array(kind: u32, count: u64, elements: &[u8]) -> Vec<u8> {
    [&9_u32.to_le_bytes()[..], &kind.to_le_bytes(), &count.to_le_bytes(), elements].concat()
}

impl GgufFile {
    pub fn new() -> Self {
        let tensor = |name: &str, sizes: &[u64], kind: u32, offset| Tensor {
            name: name.to_owned(),
            sizes: sizes.to_vec(),
            kind,
            offset,
        };
        GgufFile {
            version: 3,
            values: vec![("general.architecture".to_owned(), text("llama"))],
            tensors: vec![
                tensor("a", &[32, 3], 2, 64),
                tensor("b", &[5], 0, 0),
                tensor("c", &[4, 3, 2], 1, 128),
            ],
            data: vec![0; 128 + 48],
            alignment: 32,
        }
    }

    pub fn with(mut self, key: &str, value: Vec<u8>) -> Self {
        self.values.push((key.to_owned(), value));
        self
    }

    fn header(&self) -> Vec<u8> {
        let mut bytes = b"GGUF".to_vec();
        bytes.extend(self.version.to_le_bytes());
        bytes.extend((self.tensors.len() as u64).to_le_bytes());
        bytes.extend((self.values.len() as u64).to_le_bytes());
        for (key, value) in &self.values {
            bytes.extend(string(key));
            bytes.extend(value);
        }
        for tensor in &self.tensors {
            bytes.extend(string(&tensor.name));
            bytes.extend((tensor.sizes.len() as u32).to_le_bytes());
            tensor.sizes.iter().for_each(|size| bytes.extend(size.to_le_bytes()));
            bytes.extend(tensor.kind.to_le_bytes());
            bytes.extend(tensor.offset.to_le_bytes());
        }
        bytes
    }

    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.header();
        bytes.resize(bytes.len().next_multiple_of(self.alignment), 0);
        bytes.extend(&self.data);
        bytes
    }

    pub fn open(&self) -> Result<Gguf> {
        open(&self.bytes())
    }
}

fn open(bytes: &[u8]) -> Result<Gguf> {
    block_on(Gguf::open(&MemoryFiles::of(&[("m.gguf", bytes)]), "m.gguf"))
}

#[track_caller]
fn assert_bad(file: &GgufFile, parts: &[&str]) {
    assert_refused(file.open(), Code::BadModel, &[&["m.gguf"], parts].concat());
}

#[test]
fn a_header_tells_where_the_tensors_lie() {
    for version in [2, 3] {
        let file = GgufFile { version, ..GgufFile::new() };
        let gguf = file.open().unwrap();
        let data = file.header().len().next_multiple_of(32) as u64;
        let found: Vec<_> = gguf
            .tensors
            .iter()
            .map(|tensor| {
                (tensor.name.as_str(), tensor.kind, &tensor.shape[..], tensor.start - data, tensor.len)
            })
            .collect();
        assert_eq!(
            found,
            [
                ("a", GgmlType::Q4_0, &[3, 32][..], 64, 54),
                ("b", GgmlType::F32, &[5], 0, 20),
                ("c", GgmlType::F16, &[2, 3, 4], 128, 48),
            ]
        );
    }
}

#[test]
fn values_of_all_types_are_read() {
    let nested =
        array(9, 2, &[&array(4, 1, &7_u32.to_le_bytes())[4..], &array(8, 1, &string("x"))[4..]].concat());
    let file = GgufFile::new()
        .with("a", [0_u32.to_le_bytes().to_vec(), vec![200]].concat())
        .with("b", [1_u32.to_le_bytes().to_vec(), vec![200]].concat())
        .with("c", [3_u32.to_le_bytes().to_vec(), (-300_i16).to_le_bytes().to_vec()].concat())
        .with("d", [11_u32.to_le_bytes().to_vec(), (-5_i64).to_le_bytes().to_vec()].concat())
        .with("e", [12_u32.to_le_bytes().to_vec(), 0.1_f64.to_le_bytes().to_vec()].concat())
        .with("f", f32_value(0.1))
        .with("g", [7_u32.to_le_bytes().to_vec(), vec![1]].concat())
        .with("h", array(8, 3, &[string("é"), string(""), string("xyz")].concat()))
        .with("i", array(5, 2, &[(-1_i32).to_le_bytes(), 9_i32.to_le_bytes()].concat()))
        .with("j", nested)
        .with("k", array(6, 0, &[]));
    let metadata = file.open().unwrap().metadata;
    assert_eq!(metadata.get("a"), Some(&Value::Unsigned(200)));
    assert_eq!(metadata.get("b"), Some(&Value::Signed(-56)));
    assert_eq!(metadata.get("c"), Some(&Value::Signed(-300)));
    assert_eq!(metadata.get("d"), Some(&Value::Signed(-5)));
    assert_eq!(metadata.get("e"), Some(&Value::Float(0.1)));
    assert_eq!(metadata.float("f").unwrap(), Some(0.1_f32));
    assert_eq!(metadata.boolean("g").unwrap(), Some(true));
    assert_eq!(metadata.strings("h").unwrap().unwrap().iter().collect::<Vec<_>>(), ["é", "", "xyz"]);
    assert_eq!(metadata.integers("i").unwrap(), Some(vec![-1, 9]));
    assert_eq!(metadata.get("j"), Some(&Value::Nested));
    assert_eq!(metadata.floats("k").unwrap(), Some(vec![]));
    assert_refused(
        metadata.integer("general.architecture"),
        Code::BadModel,
        &["m.gguf", "general.architecture"],
    );
    assert_refused(metadata.integer("d"), Code::BadModel, &["m.gguf", "d", "-5"]);
}

#[test]
fn a_file_that_is_cut_short_is_refused_wherever_it_ends() {
    let whole = GgufFile::new().with("a", array(8, 2, &[string("b"), string("c")].concat())).bytes();
    for end in 0..whole.len() {
        let error = open(&whole[..end]).err().unwrap_or_else(|| panic!("{end} bytes are taken"));
        assert_eq!(error.code, Code::BadModel, "{error}");
        assert!(error.to_string().contains("m.gguf"), "{error}");
    }
    open(&whole).unwrap();
}

#[test]
fn a_header_that_lies_is_refused_with_a_name() {
    let plain = GgufFile::new;
    assert_refused(open(b"GGML\x03\0\0\0"), Code::BadModel, &["m.gguf", "GGUF"]);
    for version in [0, 1, 4] {
        assert_refused(
            GgufFile { version, ..plain() }.open(),
            Code::UnsupportedModel,
            &["m.gguf", "version"],
        );
    }
    assert_refused(GgufFile { version: 3 << 24, ..plain() }.open(), Code::UnsupportedModel, &["big-endian"]);

    let huge = u64::MAX / 2;
    for (key, value, what) in [
        ("s", [&8_u32.to_le_bytes()[..], &huge.to_le_bytes()].concat(), "claims"),
        ("s", [&8_u32.to_le_bytes()[..], &1_u64.to_le_bytes(), b"\xff"].concat(), "UTF-8"),
        ("t", 13_u32.to_le_bytes().to_vec(), "unknown type 13"),
        ("n", [&7_u32.to_le_bytes()[..], &[2]].concat(), "boolean"),
        ("u", array(8, huge, &[]), "claimed"),
        ("v", array(5, 1 << 62, &[]), "claimed"),
        ("w", array(77, 1, &[]), "unknown type 77"),
        ("x", array(9, huge, &[]), "claimed"),
        ("general.architecture", u32_value(1), "twice"),
    ] {
        assert_bad(&plain().with(key, value), &[key, what]);
    }
    let mut deep = array(4, 1, &1_u32.to_le_bytes())[4..].to_vec();
    for _ in 0..20 {
        deep = array(9, 1, &deep)[4..].to_vec();
    }
    assert_bad(&plain().with("deep", array(9, 1, &deep)), &["deep", "nested"]);

    for (alignment, what) in [(0_u32, "no power"), (24, "no power")] {
        assert_bad(&plain().with("general.alignment", u32_value(alignment)), &["general.alignment", what]);
    }
    assert_bad(&plain().with("general.alignment", text("32")), &["general.alignment", "string"]);
    let wide = GgufFile { alignment: 64, ..plain().with("general.alignment", u32_value(64)) };
    wide.open().unwrap();
    assert_bad(&plain().with("general.alignment", u32_value(128)), &["tensor a", "alignment 128"]);
}

#[test]
fn tensors_that_lie_are_refused_by_name() {
    let broken = |change: &dyn Fn(&mut Tensor)| {
        let mut file = GgufFile::new();
        change(&mut file.tensors[0]);
        file
    };
    for (change, parts) in [
        (&(|t: &mut Tensor| t.sizes = vec![]) as &dyn Fn(&mut Tensor), &["tensor a", "0 dimensions"][..]),
        (&|t| t.sizes = vec![32, 1, 1, 1, 1], &["tensor a", "5 dimensions"]),
        (&|t| t.sizes = vec![32, 0], &["tensor a", "above 0"]),
        (&|t| t.sizes = vec![32, 1 << 60], &["tensor a", "fits"]),
        (&|t| t.sizes = vec![1 << 32, 1 << 31, 2], &["tensor a", "fits"]),
        (&|t| t.sizes = vec![33, 3], &["tensor a", "33", "Q4_0"]),
        (&|t| t.sizes = vec![32, 1 << 40], &["tensor a", "go beyond"]),
        (&|t| t.kind = 4, &["tensor a", "unknown type 4"]),
        (&|t| t.offset = 8, &["tensor a", "multiple", "32"]),
        (&|t| t.offset = 1 << 20, &["tensor a", "go beyond"]),
        (&|t| t.offset = u64::MAX - 31, &["tensor a", "go beyond"]),
        (&|t| t.offset = 0, &["overlaps", "tensor"]),
        (&|t| t.offset = 96, &["tensor c overlaps tensor a"]),
        (&|t| t.name = "b".to_owned(), &["tensor b", "twice"]),
    ] {
        assert_bad(&broken(change), parts);
    }
    let other = broken(&|t| t.kind = 23);
    assert_refused(other.open(), Code::UnsupportedModel, &["m.gguf", "tensor a", "IQ4_XS", "Q6_K"]);
}

/// The files of a model in three parts, the last of which may be changed.
fn split(change: impl Fn(usize, &mut GgufFile)) -> MemoryFiles {
    let mut files = MemoryFiles::default();
    for part in 0..3_usize {
        let mut file = GgufFile { values: Vec::new(), ..GgufFile::new() };
        if part == 0 {
            file = file.with("general.architecture", text("llama"));
        }
        let u16_value = |value: u16| [&2_u32.to_le_bytes()[..], &value.to_le_bytes()].concat();
        file = file.with("split.no", u16_value(part as u16)).with("split.count", u16_value(3));
        file = file.with("split.tensors.count", [5_u32.to_le_bytes(), 9_i32.to_le_bytes()].concat());
        file.tensors.iter_mut().for_each(|tensor| tensor.name += &part.to_string());
        change(part, &mut file);
        files.0.insert(format!("m-{:05}-of-00003.gguf", part + 1), file.bytes());
    }
    files
}

#[test]
fn a_split_model_is_read_from_any_of_its_parts() {
    let files = split(|_, _| {});
    for part in 1..=3 {
        let gguf = block_on(Gguf::open(&files, &format!("m-0000{part}-of-00003.gguf"))).unwrap();
        assert_eq!(gguf.metadata.string("general.architecture").unwrap(), Some("llama"));
        let places: Vec<_> =
            gguf.tensors.iter().map(|tensor| format!("{} {}", tensor.name, &tensor.file[..7])).collect();
        assert_eq!(places[0], "a0 m-00001");
        assert_eq!(places[8], "c2 m-00003");
    }
}

#[test]
fn a_split_model_that_is_not_whole_is_refused() {
    const FIRST: &str = "m-00001-of-00003.gguf";
    let refused = |files: &MemoryFiles, parts: &[&str]| {
        assert_refused(block_on(Gguf::open(files, FIRST)), Code::BadModel, parts);
    };
    let mut missing = split(|_, _| {});
    missing.0.remove("m-00002-of-00003.gguf");
    refused(&missing, &["m-00002-of-00003.gguf is missing"]);
    refused(
        &split(|part, file| drop((part == 2).then(|| file.tensors.pop()))),
        &["split.tensors.count", "9", "8"],
    );
    refused(
        &split(|part, file| file.tensors[0].name = format!("a{}", part % 2)),
        &["tensor a0", "another part"],
    );
    refused(
        &split(|part, file| file.values.retain(|(key, _)| part != 1 || key != "split.no")),
        &["split.no is missing"],
    );
    let mut swapped = split(|_, _| {});
    let third = swapped.0["m-00003-of-00003.gguf"].clone();
    swapped.0.insert("m-00002-of-00003.gguf".to_owned(), third);
    refused(&swapped, &["m-00002-of-00003.gguf", "another part"]);
    let mut renamed = split(|_, _| {});
    let first = renamed.0[FIRST].clone();
    renamed.0.insert("x.gguf".to_owned(), first);
    assert_refused(
        block_on(Gguf::open(&renamed, "x.gguf")),
        Code::BadModel,
        &["x.gguf", "-00001-of-00003.gguf"],
    );
}
