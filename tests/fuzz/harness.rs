//! Runs a parser on damaged files and says what was wrong with which.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use tabtune::error::{Code, Error, Result};
use tabtune::files::Files;

use crate::memory::peak_of;
use crate::mutation::{Draw, damaged};

/// No file of these sizes takes a thousandth of it; the machine may be busy.
const LONGEST: Duration = Duration::from_secs(5);

/// A parser, and what it is given.
pub struct Target<'a> {
    /// Small files that it takes.
    pub corpus: Vec<Vec<u8>>,
    /// Gives an error or not, of a text that is not looked at.
    pub parse: &'a dyn Fn(Vec<u8>) -> Result<()>,
    /// How many of the corpus's own files must be taken.
    pub takes: usize,
    /// Inputs of a run that nobody asked to be longer.
    pub inputs: u64,
    /// The most bytes that may be allocated, for each byte of a file and besides.
    pub bytes: (usize, usize),
}

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is no number")))
}

impl Target<'_> {
    /// Parses the corpus's own files, and damaged ones.
    pub fn run(&self) {
        let takes = self.corpus.iter().filter(|file| self.parsed("of the corpus", file)).count();
        assert_eq!(takes, self.takes, "of {} files", self.corpus.len());
        let (inputs, seed) =
            (setting("FUZZ_INPUTS").unwrap_or(self.inputs), setting("FUZZ_SEED").unwrap_or(1));
        let mut taken = 0_u64;
        for number in 0..inputs {
            let mut draw = Draw(seed.wrapping_add(number).wrapping_mul(0x2545_f491_4f6c_dd1d));
            let file = damaged(&mut draw, &self.corpus);
            taken += u64::from(self.parsed(&format!("input {number} of seed {seed}"), &file));
        }
        println!("{inputs} inputs, {taken} of them taken");
    }

    /// Whether the parser takes a file; panics where it does what it must not.
    pub fn parsed(&self, name: &str, file: &[u8]) -> bool {
        let (size, copy, start) = (file.len(), file.to_vec(), Instant::now());
        let (result, peak) = peak_of(|| catch_unwind(AssertUnwindSafe(|| (self.parse)(copy))));
        let most = self.bytes.0 * size + self.bytes.1;
        let what = match result {
            Err(_) => "the parser panicked".to_owned(),
            Ok(_) if start.elapsed() > LONGEST => format!("it took {:?}", start.elapsed()),
            Ok(_) if peak > most => format!("{peak} bytes were allocated, more than {most}"),
            Ok(Err(error)) if error.code == Code::Internal => format!("an internal error: {error}"),
            Ok(result) => return result.is_ok(),
        };
        let text = String::from_utf8_lossy(&file[..size.min(8192)]);
        panic!("{name}, {size} bytes: {what}\n{text:?}");
    }
}

/// Some files in memory.
pub struct Memory(pub BTreeMap<String, Vec<u8>>);

impl Memory {
    pub fn of<const N: usize>(files: [(&str, Vec<u8>); N]) -> Self {
        Memory(files.into_iter().map(|(name, bytes)| (name.to_owned(), bytes)).collect())
    }
}

#[async_trait::async_trait(?Send)]
impl Files for Memory {
    async fn size(&self, name: &str) -> Result<Option<u64>> {
        Ok(self.0.get(name).map(|bytes| bytes.len() as u64))
    }

    async fn read(&self, name: &str, start: u64, len: usize) -> Result<Vec<u8>> {
        let end = usize::try_from(start).ok().and_then(|start| Some(start..start.checked_add(len)?));
        let bytes = end.and_then(|range| self.0.get(name)?.get(range));
        // A parser must not ask for what is not there.
        let missing = || Error::new(Code::Internal, format!("{name} has no bytes {start} and {len} on"));
        Ok(bytes.ok_or_else(missing)?.to_vec())
    }
}
