//! Places for exported files, and the models that they are made of.

use std::collections::BTreeMap;
use std::path::PathBuf;

use pollster::block_on;
use tabtune::error::Result;
use tabtune::export::{Change, ExportDtype, ExportOptions, Format, Original, Sink, export, read_adapter};
use tabtune::files::{Directory, Files, PIECE_BYTES};

/// Files in memory: of a sink, or of a model.
#[derive(Default)]
pub struct Memory {
    pub files: BTreeMap<String, Vec<u8>>,
    open: Option<(String, u64)>,
}

#[async_trait::async_trait(?Send)]
impl Sink for Memory {
    async fn create(&mut self, name: &str, bytes: u64) -> Result<()> {
        assert!(self.open.is_none(), "one file at a time");
        self.open = Some((name.to_owned(), bytes));
        assert!(self.files.insert(name.to_owned(), Vec::new()).is_none(), "{name} comes twice");
        Ok(())
    }

    async fn write(&mut self, piece: &[u8]) -> Result<()> {
        assert!(piece.len() <= PIECE_BYTES);
        let (name, _) = self.open.as_ref().expect("a file was begun");
        self.files.get_mut(name).expect("it was made").extend(piece);
        Ok(())
    }

    async fn finish(&mut self) -> Result<()> {
        let (name, bytes) = self.open.take().expect("a file was begun");
        assert_eq!(self.files[&name].len() as u64, bytes, "{name}");
        Ok(())
    }
}

#[async_trait::async_trait(?Send)]
impl Files for Memory {
    async fn size(&self, name: &str) -> Result<Option<u64>> {
        Ok(self.files.get(name).map(|bytes| bytes.len() as u64))
    }

    async fn read(&self, name: &str, start: u64, len: usize) -> Result<Vec<u8>> {
        Ok(self.files[name][start as usize..start as usize + len].to_vec())
    }
}

/// A part of a fixture, `model` or `adapter`.
pub fn fixture(case: &str, part: &str) -> Directory {
    Directory(PathBuf::from("fixtures").join(case).join(part))
}

pub fn options(format: Format, dtype: Option<ExportDtype>) -> ExportOptions {
    ExportOptions::new(format, dtype).expect("the format has the dtype")
}

/// What an export of a model with an adapter makes.
pub fn exported(model: &dyn Files, adapter: Option<&Directory>, options: &ExportOptions) -> Result<Memory> {
    let mut sink = Memory::default();
    block_on(async {
        let original = Original::open(model).await?;
        let adapter = match adapter {
            Some(files) => Some(read_adapter(&original, files).await?),
            None => None,
        };
        let change = adapter.as_ref().map_or(Change::None, Change::Adapter);
        export(&original, change, options, &mut sink, &mut |_| true).await
    })?;
    Ok(sink)
}

/// A small folder in memory.
pub fn copy_of(folder: &Directory) -> Memory {
    let names = std::fs::read_dir(&folder.0).expect("the fixture is there");
    let read = |entry: std::io::Result<std::fs::DirEntry>| {
        let path = entry.expect("it can be listed").path();
        let name = path.file_name().expect("it has a name").to_string_lossy().into_owned();
        (name, std::fs::read(path).expect("it can be read"))
    };
    Memory { files: names.map(read).collect(), open: None }
}
