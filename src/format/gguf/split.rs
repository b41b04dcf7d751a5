//! A model in several files, as llama.cpp's `gguf-split` writes them: `NAME-00001-of-00003.gguf`, with the metadata in
//! the first.

use std::collections::HashSet;

use super::GgufTensor;
use super::header::{Header, read_header};
use super::value::Metadata;
use crate::bail;
use crate::error::Result;
use crate::files::Files;

const NUMBER: &str = "split.no";
const COUNT: &str = "split.count";
const TENSORS: &str = "split.tensors.count";
/// What five digits can count.
const MOST_PARTS: u64 = 99_999;

/// The metadata of the first part, and the tensors of all of them.
pub(super) async fn read_parts(files: &dyn Files, name: &str) -> Result<(Metadata, Vec<GgufTensor>)> {
    let header = read_header(files, name).await?;
    let parts = header.metadata.integer(COUNT)?.unwrap_or(0);
    if parts <= 1 {
        return Ok((header.metadata, header.tensors));
    }
    let number = part_number(&header.metadata, parts)?;
    let Some(prefix) = prefix_of(name, number, parts) else {
        bail!(
            BadModel,
            "{name} is part {} of {parts} by its {NUMBER} and {COUNT}, and must be named as it was: \
             NAME-{:05}-of-{parts:05}.gguf",
            number + 1,
            number + 1
        );
    };
    let mut given = Some(header);
    let mut model: Option<(Metadata, Vec<GgufTensor>)> = None;
    for part in 0..parts {
        let header = match given.take_if(|_| part == number) {
            Some(header) => header,
            None => read_part(files, &part_name(prefix, part, parts), (part, parts)).await?,
        };
        match &mut model {
            None => model = Some((header.metadata, header.tensors)),
            Some((_, tensors)) => tensors.extend(header.tensors),
        }
    }
    let (metadata, tensors) = model.expect("there are at least two parts");
    check_whole(&metadata, &tensors)?;
    Ok((metadata, tensors))
}

async fn read_part(files: &dyn Files, name: &str, (part, parts): (u64, u64)) -> Result<Header> {
    if files.size(name).await?.is_none() {
        bail!(
            BadModel,
            "{name} is missing, part {} of {parts} of the model; all parts must be there",
            part + 1
        );
    }
    let header = read_header(files, name).await?;
    let count = header.metadata.required(COUNT, header.metadata.integer(COUNT)?)?;
    if (part_number(&header.metadata, count)?, count) != (part, parts) {
        bail!(BadModel, "{name}: {NUMBER} and {COUNT} say that it is another part than its name does");
    }
    Ok(header)
}

fn part_number(metadata: &Metadata, parts: u64) -> Result<u64> {
    let number = metadata.required(NUMBER, metadata.integer(NUMBER)?)?;
    if number >= parts || parts > MOST_PARTS {
        return Err(metadata.bad(NUMBER, format_args!("is {number} of {COUNT} {parts}, which is no part")));
    }
    Ok(number)
}

fn part_name(prefix: &str, number: u64, parts: u64) -> String {
    format!("{prefix}-{:05}-of-{parts:05}.gguf", number + 1)
}

/// What stands before the numbers in the name of a part.
fn prefix_of(name: &str, number: u64, parts: u64) -> Option<&str> {
    name.strip_suffix(part_name("", number, parts).as_str())
}

/// No tensor is in two parts, and none is missing.
fn check_whole(metadata: &Metadata, tensors: &[GgufTensor]) -> Result<()> {
    let mut names = HashSet::new();
    for tensor in tensors {
        if !names.insert(&tensor.name) {
            return Err(tensor.bad("it is in another part of the model too"));
        }
    }
    if let Some(count) = metadata.integer(TENSORS)?
        && count != tensors.len() as u64
    {
        return Err(metadata.bad(TENSORS, format_args!("is {count}, but the parts hold {}", tensors.len())));
    }
    Ok(())
}
