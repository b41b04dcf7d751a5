//! A run as bytes that leave the browser and come into another one.
//!
//! A line with the form, then frames: a letter for the kind, the length (u32, little-endian), and so many bytes. Each
//! checkpoint, one that others start from before these, is a frame of what the run's record says of it and one for each of
//! its records, as they lie in the store. The log, the samples and an XXH3-128 of all bytes before follow. Nothing longer
//! than a frame is on the host at once, but for the log, which every run holds.

mod into;
mod out;

pub use into::RunImport;
pub use out::RunExport;

/// What the bytes begin with; the number of the form and a line end follow.
const MAGIC: &str = "tabtune run ";
/// The form that this build writes, and the last that it reads.
const FORM: u32 = 1;
/// The most checkpoints of a run: the last, that of the best evaluation, and what each of them starts from.
pub(super) const MOST_CHECKPOINTS: u32 = 4;
/// The letter and the length before the bytes of a frame.
const FRAME_HEAD: usize = 5;

/// What a frame holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Checkpoint = b'c' as isize,
    Record = b'r' as isize,
    /// Lines of the log.
    Log = b'l' as isize,
    /// A part of the samples.
    Samples = b's' as isize,
    /// The hash, and the end.
    End = b'e' as isize,
}

impl Kind {
    const ALL: [Kind; 5] = [Kind::Checkpoint, Kind::Record, Kind::Log, Kind::Samples, Kind::End];

    fn of(letter: u8) -> Option<Self> {
        Kind::ALL.into_iter().find(|kind| *kind as u8 == letter)
    }
}
