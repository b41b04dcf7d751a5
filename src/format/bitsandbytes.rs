//! Weights that bitsandbytes quantised, as `save_pretrained` of transformers writes them: the codes under the weight's own
//! name, and what scales them in tensors beside it (`QuantState.as_dict` of bitsandbytes).

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;

use serde::Deserialize;

use super::dynamic_map::{NESTED_BLOCK, NestedAbsmax, dequantize_absmax, dynamic_map};
use super::encoding::Encoding;
use super::read::{read_rows, read_rows_raw};
use super::safetensors::{Dtype, TensorInfo};
use super::weight::{FP4_CODES, NF4_BLOCK, NF4_CODES};
use crate::error::Result;
use crate::files::Files;

/// The longest quantisation state that is read; real ones have some 200 bytes.
const MAX_STATE_BYTES: u64 = 1 << 16;

/// Which 16 values the codes stand for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QuantType {
    Nf4,
    Fp4,
}

impl QuantType {
    pub const ALL: [QuantType; 2] = [QuantType::Nf4, QuantType::Fp4];

    pub const fn name(self) -> &'static str {
        match self {
            QuantType::Nf4 => "nf4",
            QuantType::Fp4 => "fp4",
        }
    }

    /// The value of each code before its scale.
    pub const fn codes(self) -> &'static [f32; 16] {
        match self {
            QuantType::Nf4 => &NF4_CODES,
            QuantType::Fp4 => &FP4_CODES,
        }
    }
}

impl fmt::Display for QuantType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What stands beside codes of four bits.
#[derive(Clone, Debug, PartialEq)]
pub struct Bits4 {
    pub quant_type: QuantType,
    /// F32, or U8 where the scales themselves are quantised; one for each block of [`NF4_BLOCK`].
    pub absmax: TensorInfo,
    /// The value of each code, F32 [16].
    pub map: TensorInfo,
    pub nested: Option<Nested>,
}

/// How scales are quantised.
#[derive(Clone, Debug, PartialEq)]
pub struct Nested {
    /// F32, one for each block of [`NESTED_BLOCK`] scales.
    pub absmax: TensorInfo,
    /// The value of each code of a scale, F32 [256].
    pub map: TensorInfo,
    pub offset: f32,
}

impl Bits4 {
    /// The tensors beside the codes.
    pub fn tensors(&self) -> impl Iterator<Item = &TensorInfo> {
        let nested = self.nested.iter().flat_map(|nested| [&nested.absmax, &nested.map]);
        [&self.absmax, &self.map].into_iter().chain(nested)
    }

    /// Checks that the file's codes stand for the values that they have here.
    ///
    /// # Errors
    ///
    /// Code `bad-model` naming the tensor where they do not.
    pub async fn check_map(&self, files: &dyn Files) -> Result<()> {
        let mut values = Vec::new();
        read_rows(files, &self.map, 0, 16, &mut values).await?;
        if values != self.quant_type.codes() {
            return Err(self.map.bad(format!("its values are not those of {}", self.quant_type)));
        }
        Ok(())
    }

    /// The first so many scales as they are quantised themselves.
    ///
    /// # Errors
    ///
    /// Code `unsupported-model` where the file's codes of scales stand for other values than bitsandbytes gives them.
    pub async fn nested_scales(&self, files: &dyn Files, blocks: usize) -> Result<NestedAbsmax> {
        let Some(nested) = &self.nested else {
            return Err(self.absmax.bad("its scales are not quantised"));
        };
        let (mut codes, mut map, mut absmax) = (Vec::new(), Vec::new(), Vec::new());
        read_rows(files, &nested.map, 0, nested.map.rows(), &mut map).await?;
        if map != dynamic_map() {
            return Err(nested.map.unsupported(
                "its values are not those of bitsandbytes' dynamic map; quantise the model again with the default",
            ));
        }
        read_rows_raw(files, &self.absmax, 0, blocks, &mut codes).await?;
        read_rows(files, &nested.absmax, 0, blocks.div_ceil(NESTED_BLOCK), &mut absmax).await?;
        Ok(NestedAbsmax { codes, absmax, offset: nested.offset })
    }

    /// The scales of some blocks.
    pub async fn scales(&self, files: &dyn Files, blocks: Range<usize>) -> Result<Vec<f32>> {
        let mut scales = Vec::new();
        let Some(nested) = &self.nested else {
            read_rows(files, &self.absmax, blocks.start, blocks.len(), &mut scales).await?;
            return Ok(scales);
        };
        let (mut codes, mut map, mut absmax) = (Vec::new(), Vec::new(), Vec::new());
        // From the first scale of a block of them.
        let before = blocks.start % NESTED_BLOCK;
        let start = blocks.start - before;
        read_rows_raw(files, &self.absmax, start, blocks.end - start, &mut codes).await?;
        read_rows(files, &nested.map, 0, nested.map.rows(), &mut map).await?;
        let first = start / NESTED_BLOCK;
        let count = blocks.end.div_ceil(NESTED_BLOCK) - first;
        read_rows(files, &nested.absmax, first, count, &mut absmax).await?;
        let map: &[f32; 256] = map.first_chunk().expect("its shape was checked");
        let nested = NestedAbsmax { codes, absmax, offset: nested.offset };
        Ok(dequantize_absmax(&nested, map).split_off(before))
    }
}

/// The JSON under `….quant_state.bitsandbytes__nf4`. What it says besides does not change the values.
#[derive(Deserialize)]
pub struct State {
    pub blocksize: usize,
    pub shape: Vec<usize>,
    #[serde(default)]
    pub nested_blocksize: Option<usize>,
    #[serde(default)]
    pub nested_offset: Option<f32>,
}

/// Puts the parts of each quantised weight together: what is beside it is no tensor by itself any more.
///
/// # Errors
///
/// Code `bad-model` naming file and tensor where a part is missing or of another size than the others ask for;
/// `unsupported-model` for a form that is not read here.
pub(super) async fn join(files: &dyn Files, tensors: &mut BTreeMap<String, TensorInfo>) -> Result<()> {
    for quant_type in QuantType::ALL {
        let ending = format!(".quant_state.bitsandbytes__{quant_type}");
        let names: Vec<String> =
            tensors.keys().filter_map(|name| name.strip_suffix(&ending)).map(str::to_owned).collect();
        for name in names {
            let state = tensors.remove(&format!("{name}{ending}")).expect("it was just there");
            join_4bit(files, tensors, &name, (quant_type, state)).await?;
        }
    }
    let names: Vec<String> =
        tensors.keys().filter_map(|name| name.strip_suffix(".SCB")).map(str::to_owned).collect();
    for name in names {
        join_8bit(files, tensors, &name).await?;
    }
    Ok(())
}

/// A tensor beside another, which has to be there.
fn take(tensors: &mut BTreeMap<String, TensorInfo>, of: &TensorInfo, name: &str) -> Result<TensorInfo> {
    tensors.remove(name).ok_or_else(|| of.bad(format!("the model has no {name}, which belongs to it")))
}

/// Checks the length and dtype of a list.
fn expect_list(tensor: &TensorInfo, dtype: Dtype, count: usize) -> Result<()> {
    if tensor.encoding != Encoding::Plain(dtype) || tensor.shape != [count] {
        let (found, shape) = (&tensor.encoding, &tensor.shape);
        return Err(tensor.bad(format!("it is {found} {shape:?}, but should be {dtype} [{count}]")));
    }
    Ok(())
}

async fn join_4bit(
    files: &dyn Files,
    tensors: &mut BTreeMap<String, TensorInfo>,
    name: &str,
    (quant_type, of_state): (QuantType, TensorInfo),
) -> Result<()> {
    if of_state.len > MAX_STATE_BYTES {
        return Err(
            of_state.bad(format!("it has {} bytes, more than a quantisation state takes", of_state.len))
        );
    }
    let json = files.read(&of_state.file, of_state.start, of_state.len as usize).await?;
    let state: State = serde_json::from_slice(&json).map_err(|cause| of_state.bad(cause))?;
    let codes = take(tensors, &of_state, name)?;
    let [rows, depth] = state.shape[..] else {
        return Err(of_state.bad(format!("shape {:?} is not that of a linear layer", state.shape)));
    };
    let elements = rows.checked_mul(depth).filter(|&count| count > 0 && (count as u64) < 1 << 40);
    let Some(elements) = elements.filter(|&count| count.div_ceil(2) as u64 == codes.len) else {
        let (shape, len) = (&state.shape, codes.len);
        return Err(codes.bad(format!("its {len} bytes are not 4 bits for each of {shape:?}")));
    };
    if state.blocksize != NF4_BLOCK {
        let blocksize = state.blocksize;
        return Err(of_state.unsupported(format!(
            "blocksize is {blocksize}, but only {NF4_BLOCK} is read here; quantise the model again with the default"
        )));
    }
    let blocks = elements.div_ceil(NF4_BLOCK);
    let absmax = take(tensors, &codes, &format!("{name}.absmax"))?;
    let map = take(tensors, &codes, &format!("{name}.quant_map"))?;
    expect_list(&map, Dtype::F32, 16)?;
    let nested = match state.nested_blocksize {
        None => {
            expect_list(&absmax, Dtype::F32, blocks)?;
            None
        }
        Some(NESTED_BLOCK) => {
            expect_list(&absmax, Dtype::U8, blocks)?;
            let of_scales = take(tensors, &codes, &format!("{name}.nested_absmax"))?;
            let map = take(tensors, &codes, &format!("{name}.nested_quant_map"))?;
            expect_list(&of_scales, Dtype::F32, blocks.div_ceil(NESTED_BLOCK))?;
            expect_list(&map, Dtype::F32, 256)?;
            let offset = state.nested_offset.filter(|offset| offset.is_finite());
            let offset = offset.ok_or_else(|| of_state.bad("nested_offset is missing or not finite"))?;
            Some(Nested { absmax: of_scales, map, offset })
        }
        Some(other) => {
            return Err(of_state.unsupported(format!(
                "nested_blocksize is {other}, but only {NESTED_BLOCK} is read here; quantise the model again with the \
                 default"
            )));
        }
    };
    let encoding = Encoding::Bits4(Box::new(Bits4 { quant_type, absmax, map, nested }));
    tensors.insert(name.to_owned(), TensorInfo { encoding, shape: state.shape, ..codes });
    Ok(())
}

async fn join_8bit(
    files: &dyn Files,
    tensors: &mut BTreeMap<String, TensorInfo>,
    module: &str,
) -> Result<()> {
    let absmax = tensors.remove(&format!("{module}.SCB")).expect("it was just there");
    let name = format!("{module}.weight");
    let codes = take(tensors, &absmax, &name)?;
    let [rows, _] = codes.shape[..] else {
        return Err(codes.bad(format!("shape {:?} is not that of a linear layer", codes.shape)));
    };
    if codes.encoding != Encoding::Plain(Dtype::I8) {
        return Err(codes.bad(format!("it is {}, but has an SCB as int8 weights have", codes.encoding)));
    }
    expect_list(&absmax, Dtype::F32, rows)?;
    // How old GPUs wanted the bytes: 0 is row by row.
    if let Some(layout) = tensors.remove(&format!("{module}.weight_format")) {
        let bytes = files.read(&layout.file, layout.start, layout.len.min(1) as usize).await?;
        if bytes.first().is_some_and(|&layout| layout != 0) {
            return Err(layout.unsupported(
                "the bytes are not row by row; save the model again with a current bitsandbytes",
            ));
        }
    }
    tensors.insert(name, TensorInfo { encoding: Encoding::Int8(Box::new(absmax)), ..codes });
    Ok(())
}
