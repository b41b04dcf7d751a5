//! The one error type of the crate.
//!
//! An [`Error`] carries a [`Code`] from a fixed list, which programs match on, what was being done,
//! and why it failed, which people read. No message text is ever parsed.

use std::fmt;

/// What went wrong, as a fixed list that crosses the JavaScript boundary as a string.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Code {
    /// No WebGPU (or no native adapter) is there, or it refused a device.
    WebgpuUnavailable,
    /// The browser lacks what the CPU engine is made of.
    CpuUnavailable,
    /// A buffer did not fit, or the plan exceeds what the adapter allows.
    OutOfMemory,
    /// The GPU device was lost while in use.
    DeviceLost,
    /// `config.json` names something that this engine does not do.
    UnsupportedModel,
    /// A model file is unreadable, truncated, inconsistent or incomplete.
    BadModel,
    /// A training row or data file is wrong, or the bytes of a run that comes from elsewhere.
    BadData,
    /// An adapter file is wrong or does not fit the model.
    BadAdapter,
    /// An option is unknown, has the wrong type or is out of range.
    BadOption,
    /// A loss or gradient became NaN or infinite.
    NotFinite,
    /// The browser's storage is full.
    QuotaExceeded,
    /// The caller asked to stop.
    Cancelled,
    /// A file could not be read or written.
    Io,
    /// A call came in the wrong order, e.g. training before a model was loaded.
    BadState,
    /// A defect of tabtune itself.
    Internal,
}

impl Code {
    const ALL: [Code; 15] = [
        Code::WebgpuUnavailable,
        Code::CpuUnavailable,
        Code::OutOfMemory,
        Code::DeviceLost,
        Code::UnsupportedModel,
        Code::BadModel,
        Code::BadData,
        Code::BadAdapter,
        Code::BadOption,
        Code::NotFinite,
        Code::QuotaExceeded,
        Code::Cancelled,
        Code::Io,
        Code::BadState,
        Code::Internal,
    ];

    /// The code that programs see as `text`.
    pub fn named(text: &str) -> Option<Self> {
        Code::ALL.into_iter().find(|code| code.as_str() == text)
    }

    /// The code as programs see it, e.g. `"out-of-memory"`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Code::WebgpuUnavailable => "webgpu-unavailable",
            Code::CpuUnavailable => "cpu-unavailable",
            Code::OutOfMemory => "out-of-memory",
            Code::DeviceLost => "device-lost",
            Code::UnsupportedModel => "unsupported-model",
            Code::BadModel => "bad-model",
            Code::BadData => "bad-data",
            Code::BadAdapter => "bad-adapter",
            Code::BadOption => "bad-option",
            Code::NotFinite => "not-finite",
            Code::QuotaExceeded => "quota-exceeded",
            Code::Cancelled => "cancelled",
            Code::Io => "io",
            Code::BadState => "bad-state",
            Code::Internal => "internal",
        }
    }
}

/// An error with its code, what was being done, and the cause.
#[derive(Clone, Debug, thiserror::Error)]
pub struct Error {
    pub code: Code,
    /// The cause, naming the file, row, tensor or option.
    pub message: String,
    /// What was being done, outermost first.
    pub context: Vec<String>,
}

/// The crate's result.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    pub fn new(code: Code, message: impl fmt::Display) -> Self {
        Error { code, message: message.to_string(), context: Vec::new() }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for step in &self.context {
            write!(formatter, "{step}: ")?;
        }
        formatter.write_str(&self.message)
    }
}

/// Adds what was being done to an error on its way up.
pub trait Context<T> {
    fn context(self, doing: impl fmt::Display) -> Result<T>;
}

impl<T> Context<T> for Result<T> {
    fn context(self, doing: impl fmt::Display) -> Result<T> {
        self.map_err(|mut error| {
            error.context.insert(0, doing.to_string());
            error
        })
    }
}

/// `bail!(BadData, "row {row}: …")` returns early with an [`Error`] of that code.
#[macro_export]
macro_rules! bail {
    ($code:ident, $($arg:tt)*) => {
        return Err($crate::error::Error::new($crate::error::Code::$code, format!($($arg)*)))
    };
}
