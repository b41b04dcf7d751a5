//! `./build.sh export`: a model with its adapter as files that other programs read. No device is opened.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use tabtune::bail;
use tabtune::error::{Context, Result};
use tabtune::export::{
    Change, ExportOptions, ExportProgress, Folder, Format, Original, export, read_adapter,
};
use tabtune::files::{Directory, ModelPath, is_gguf};
use tabtune::format::gguf::ModelFolder;

use crate::options::{folder, model_path};

const KNOWN: &str = "--model, --adapter, --format, --dtype, --out";

/// What an export needs to know. All of it was checked.
pub struct ExportJob {
    model: PathBuf,
    adapter: Option<PathBuf>,
    options: ExportOptions,
    out: PathBuf,
}

impl ExportJob {
    /// Reads the command line.
    ///
    /// # Errors
    ///
    /// `bad-option` for an option that is missing, unknown or wrong; `io` for a path where there is nothing.
    pub fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Self> {
        let [mut model, mut adapter, mut format, mut dtype, mut out] = [const { None::<String> }; 5];
        while let Some(argument) = arguments.next() {
            let (name, inline) = match argument.split_once('=') {
                Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
                None => (argument, None),
            };
            let place = match name.as_str() {
                "--model" => &mut model,
                "--adapter" => &mut adapter,
                "--format" => &mut format,
                "--dtype" => &mut dtype,
                "--out" => &mut out,
                _ => bail!(BadOption, "unknown option {name} (known: {KNOWN})"),
            };
            let Some(value) = inline.or_else(|| arguments.next()) else {
                bail!(BadOption, "{name} needs a value");
            };
            *place = Some(value);
        }
        let (Some(model), Some(format), Some(out)) = (model, format, out) else {
            bail!(BadOption, "--model, --format and --out are needed (known: {KNOWN})");
        };
        let dtype = dtype.as_deref().map(str::parse).transpose().context("--dtype")?;
        let mut options = ExportOptions::new(format.parse().context("--format")?, dtype)?;
        if options.format == Format::LoraGguf && adapter.is_none() {
            bail!(BadOption, "--format lora-gguf needs --adapter, the folder of the adapter");
        }
        let model = model_path(model.into(), "--model")?;
        options.base =
            Some(std::path::absolute(&model).unwrap_or_else(|_| model.clone()).display().to_string());
        let adapter = adapter.map(|path| folder(path.into(), "--adapter")).transpose()?;
        let out = place(out.into(), &mut options)?;
        let is_model = |path: &Path| path.exists() && path.canonicalize().ok() == model.canonicalize().ok();
        if is_model(&out) || is_model(&out.join(&options.file)) {
            bail!(
                BadOption,
                "--out {} is where the model itself lies, which is still read; name another place",
                out.display()
            );
        }
        Ok(ExportJob { model, adapter, out, options })
    }

    /// Writes what was asked for, and tells what was written.
    pub async fn run(&self, say: &mut dyn FnMut(String)) -> Result<()> {
        let files = ModelPath::new(&self.model);
        let model = || format!("model {}", self.model.display());
        let files = ModelFolder::open(&files).await.context(model())?;
        let original = Original::open(&files).await.context(model())?;
        let adapter = match &self.adapter {
            Some(path) => Some(read_adapter(&original, &Directory(path.clone())).await?),
            None => None,
        };
        let change = adapter.as_ref().map_or(Change::None, Change::Adapter);
        let mut sink = Folder::create(&self.out)?;
        let mut on_progress = |_: &ExportProgress| true;
        let notices = export(&original, change, &self.options, &mut sink, &mut on_progress).await?;
        for (name, bytes) in sink.written() {
            say(format!("{:7.1} MB {}", *bytes as f64 / 1e6, self.out.join(name).display()));
        }
        for notice in notices {
            say(format!("notice    {notice}"));
        }
        Ok(())
    }
}

/// The folder that is written to. A GGUF may be named itself.
fn place(out: PathBuf, options: &mut ExportOptions) -> Result<PathBuf> {
    match (options.format, out.file_name().and_then(OsStr::to_str)) {
        (Format::Safetensors, _) if out.is_file() => {
            bail!(Io, "--out {} is a file, not a folder", out.display())
        }
        (Format::Gguf | Format::LoraGguf, Some(name)) if is_gguf(&out) && !out.is_dir() => {
            options.file = name.to_owned();
            let parent = out.parent().filter(|folder| !folder.as_os_str().is_empty());
            Ok(parent.unwrap_or(Path::new(".")).to_owned())
        }
        (Format::Gguf | Format::LoraGguf, _) if out.is_file() => {
            bail!(Io, "--out {} is a file whose name does not end in .gguf", out.display())
        }
        _ => Ok(out),
    }
}

#[cfg(test)]
mod tests {
    use tabtune::error::Code;

    use super::*;

    const MODEL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../www/models/tiny");
    const GGUF: &str =
        concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures/bases/gguf_q8_0_qwen2/model.gguf");

    fn parsed(words: &[&str]) -> Result<ExportJob> {
        ExportJob::parse(words.iter().map(|word| (*word).to_owned()))
    }

    #[test]
    fn a_gguf_may_be_named_itself() {
        let file = parsed(&["--model", MODEL, "--format=gguf", "--out", "some/where.gguf"]).unwrap();
        assert_eq!((file.out.to_str(), file.options.file.as_str()), (Some("some"), "where.gguf"));
        let folder = parsed(&["--model", MODEL, "--format=gguf", "--out", "some/where"]).unwrap();
        assert_eq!((folder.out.to_str(), folder.options.file.as_str()), (Some("some/where"), "model.gguf"));
    }

    #[test]
    fn what_does_not_go_together_is_refused() {
        for (words, code, what) in [
            (
                &["--model", MODEL, "--out", "x"][..],
                Code::BadOption,
                "--model, --format and --out are needed",
            ),
            (
                &["--model", MODEL, "--format", "onnx", "--out", "x"],
                Code::BadOption,
                "not one of safetensors",
            ),
            (
                &["--model", MODEL, "--format", "safetensors", "--dtype", "q8_0", "--out", "x"],
                Code::BadOption,
                "no q8_0",
            ),
            (&["--model", MODEL, "--format", "lora-gguf", "--out", "x"], Code::BadOption, "needs --adapter"),
            (
                &["--model", MODEL, "--format", "safetensors", "--out", MODEL],
                Code::BadOption,
                "the model itself",
            ),
            (&["--model", GGUF, "--format", "gguf", "--out", GGUF], Code::BadOption, "the model itself"),
            (
                &["--model", "nowhere", "--format", "gguf", "--out", "x"],
                Code::Io,
                "there is no folder nowhere",
            ),
        ] {
            let error = parsed(words).err().unwrap();
            assert_eq!(error.code, code, "{words:?}");
            assert!(error.to_string().contains(what), "{words:?}: {error}");
        }
    }
}
