//! A run as bytes that leave the browser and come into another one.
//!
//! A line with the form, then frames: a letter for the kind, the length (u32, little-endian), and so many bytes. A
//! checkpoint is a frame of what the run's record says of it, and one for each of its records as they lie in the store; one
//! that another starts from comes before that. Then follow the log, the samples, and an XXH3-128 of all bytes so far.
//! Nothing longer than a frame is on the host at once, but for the log and the samples.

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

/// What a frame holds, by its letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Kind {
    Checkpoint = b'c',
    Record = b'r',
    /// Lines of the log.
    Log = b'l',
    /// A part of the samples.
    Samples = b's',
    /// The hash, and the end.
    End = b'e',
}

impl Kind {
    const ALL: [Kind; 5] = [Kind::Checkpoint, Kind::Record, Kind::Log, Kind::Samples, Kind::End];

    fn of(letter: u8) -> Option<Self> {
        Kind::ALL.into_iter().find(|kind| *kind as u8 == letter)
    }
}
