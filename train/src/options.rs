//! The command line: what is given, what stands in for the rest, and what is wrong with it.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tabtune::bail;
use tabtune::device::DeviceOption;
use tabtune::error::{Code, Error, Result};
use tabtune::export::{ExportDtype, ExportOptions, Format};
use tabtune::files::is_gguf;
use tabtune::train::options::{FinetuningType, RunConfig};

/// What a run needs to know. All of it was checked.
pub struct Options {
    pub model: PathBuf,
    pub data: PathBuf,
    pub evaluated: Evaluated,
    pub out: PathBuf,
    pub config: Value,
    pub init_adapter: Option<PathBuf>,
    pub device: DeviceOption,
    /// Whether the run trains all weights, so that it ends with a model.
    pub is_full: bool,
    /// What that model is written in.
    pub dtype: ExportDtype,
}

/// Which rows tell how well the model does.
pub enum Evaluated {
    /// Those of a file.
    File(PathBuf),
    /// The share `train.test_size` of the rows.
    Share,
    /// Some of the rows that are trained on.
    Sample,
}

/// The command line as it was written.
#[derive(Default)]
struct Given {
    model: Option<PathBuf>,
    data: Option<PathBuf>,
    eval: Option<PathBuf>,
    config: Option<PathBuf>,
    out: Option<PathBuf>,
    device: Option<PathBuf>,
    dtype: Option<PathBuf>,
}

impl Options {
    /// Reads the command line; model, data and config of the folder `bundled` stand in for what it leaves out.
    ///
    /// # Errors
    ///
    /// `bad-option` for an option that is unknown or wrong, be it of the config; `io` for a path where there is
    /// nothing, or something else than is needed.
    pub fn parse(arguments: impl Iterator<Item = String>, bundled: &Path) -> Result<Self> {
        let given = Given::parse(arguments)?;
        let own_rows = given.data.is_some();
        let config_file = given.config.or_else(|| (!own_rows).then(|| bundled.join("data/faq.config.json")));
        let config = match &config_file {
            Some(path) => read_config(&file(path.clone(), "--config")?)?,
            None => json!({"quantization": {"load_in_4bit": true, "bnb_4bit_quant_type": "nf4"}}),
        };
        let checked = RunConfig::from_json(&config)?;
        let beside = config_file.as_deref().and_then(Path::parent).unwrap_or(Path::new("."));
        let init_adapter = checked.init_adapter.map(|name| folder(beside.join(name), "init_adapter"));
        let evaluated = match given.eval {
            Some(_) if checked.train.test_size > 0.0 => {
                bail!(BadOption, "--eval and train.test_size cannot go together: leave one of them out")
            }
            Some(path) => Evaluated::File(file(path, "--eval")?),
            None if checked.train.test_size > 0.0 => Evaluated::Share,
            None if own_rows => Evaluated::Sample,
            None => Evaluated::File(bundled.join("data/faq.heldout.jsonl")),
        };
        let out = given.out.unwrap_or_else(|| PathBuf::from("out"));
        if out.is_file() {
            bail!(Io, "--out {} is a file, not a folder", out.display());
        }
        let model = model_path(given.model.unwrap_or_else(|| bundled.join("models/tiny")), "--model")?;
        let is_full = checked.train.finetuning_type == FinetuningType::Full;
        if is_full && out.exists() && out.canonicalize().ok() == model.canonicalize().ok() {
            bail!(
                BadOption,
                "--out {} is where the model itself lies, which is still read; name another folder",
                out.display()
            );
        }
        let dtype = match given.dtype {
            Some(_) if !is_full => {
                bail!(
                    BadOption,
                    "--dtype is for runs whose train.finetuning_type is \"full\"; adapters are written in f32"
                )
            }
            Some(name) => name.to_string_lossy().parse()?,
            // What was trained, to the bit.
            None => ExportDtype::F32,
        };
        ExportOptions::new(Format::Safetensors, Some(dtype))?;
        Ok(Options {
            model,
            data: file(given.data.unwrap_or_else(|| bundled.join("data/faq.jsonl")), "--data")?,
            evaluated,
            out,
            config,
            init_adapter: init_adapter.transpose()?,
            device: given
                .device
                .map_or(Ok(DeviceOption::default()), |name| name.to_string_lossy().parse())?,
            is_full,
            dtype,
        })
    }
}

impl Given {
    fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Self> {
        let mut given = Given::default();
        while let Some(argument) = arguments.next() {
            let (name, inline) = match argument.split_once('=') {
                Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
                None => (argument, None),
            };
            let place = match name.as_str() {
                "--model" => &mut given.model,
                "--data" => &mut given.data,
                "--eval" => &mut given.eval,
                "--config" => &mut given.config,
                "--out" => &mut given.out,
                "--device" => &mut given.device,
                "--dtype" => &mut given.dtype,
                _ => bail!(
                    BadOption,
                    "unknown option {name} (known: --model, --data, --eval, --config, --out, --device, --dtype)"
                ),
            };
            match inline.or_else(|| arguments.next()) {
                Some(value) => *place = Some(PathBuf::from(value)),
                None => bail!(BadOption, "{name} needs a value"),
            }
        }
        Ok(given)
    }
}

/// A failure of the file system at `path`.
pub fn io(path: &Path) -> impl Fn(std::io::Error) -> Error + '_ {
    move |error| Error::new(Code::Io, format!("{}: {error}", path.display()))
}

/// A path where a file must lie.
fn file(path: PathBuf, option: &str) -> Result<PathBuf> {
    if path.is_dir() {
        let names = fs::read_dir(&path).map_err(io(&path))?.flatten();
        let mut names: Vec<_> = names.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names.truncate(8);
        let shown = path.display();
        bail!(Io, "{option} {shown} is a folder; name one of its files ({})", names.join(", "));
    }
    if !path.exists() {
        bail!(Io, "{option} {} does not exist", path.display());
    }
    Ok(path)
}

/// A path where a model must lie: a folder, or a GGUF.
pub fn model_path(path: PathBuf, option: &str) -> Result<PathBuf> {
    if is_gguf(&path) && path.is_file() { Ok(path) } else { folder(path, option) }
}

/// A path where a folder must lie.
pub fn folder(path: PathBuf, option: &str) -> Result<PathBuf> {
    if path.is_file() {
        bail!(Io, "{option} {} is a file; name the folder that holds it", path.display());
    }
    if !path.exists() {
        let shown = path.display().to_string();
        let is_id = shown.split('/').count() == 2 && !shown.starts_with(['.', '/']);
        let hint = if is_id || shown.contains("://") {
            "; the command line takes a folder, not a model's name on a hub: download its files into one first"
        } else {
            ""
        };
        bail!(Io, "{option}: there is no folder {shown}{hint}");
    }
    Ok(path)
}

/// Reads a config. Editors on Windows begin it with a byte order mark, which may tell UTF-16.
fn read_config(path: &Path) -> Result<Value> {
    let bytes = fs::read(path).map_err(io(path))?;
    let units = |read: fn([u8; 2]) -> u16| -> Vec<u16> {
        bytes[2..].chunks_exact(2).map(|pair| read([pair[0], pair[1]])).collect()
    };
    let text = match bytes.as_slice() {
        [0xff, 0xfe, ..] => String::from_utf16_lossy(&units(u16::from_le_bytes)),
        [0xfe, 0xff, ..] => String::from_utf16_lossy(&units(u16::from_be_bytes)),
        bytes => String::from_utf8_lossy(bytes).into_owned(),
    };
    serde_json::from_str(text.trim_start_matches('\u{feff}'))
        .map_err(|error| Error::new(Code::BadOption, format!("{}: {error}", path.display())))
}
