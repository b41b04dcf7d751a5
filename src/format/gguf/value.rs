//! The typed values of a GGUF's metadata, and lookups whose errors name file and key.

use std::collections::BTreeMap;
use std::fmt;

use crate::bail;
use crate::error::{Code, Error, Result};

/// A value as the file has it; integers and floats of all widths in the widest.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Unsigned(u64),
    Signed(i64),
    /// An F32 is held exactly.
    Float(f64),
    Boolean(bool),
    String(String),
    Strings(Strings),
    Numbers(Numbers),
    /// An array of arrays, which no key that is read here has.
    Nested,
}

impl Value {
    fn what(&self) -> &'static str {
        match self {
            Value::Unsigned(_) | Value::Signed(_) => "an integer",
            Value::Float(_) => "a float",
            Value::Boolean(_) => "a boolean",
            Value::String(_) => "a string",
            Value::Strings(_) => "an array of strings",
            Value::Numbers(_) => "an array of numbers",
            Value::Nested => "an array of arrays",
        }
    }
}

/// Strings one behind the other, as a vocabulary has hundreds of thousands.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Strings {
    text: String,
    ends: Vec<u32>,
}

impl Strings {
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    pub fn get(&self, index: usize) -> Option<&str> {
        let end = *self.ends.get(index)? as usize;
        let start = index.checked_sub(1).map_or(0, |before| self.ends[before] as usize);
        Some(&self.text[start..end])
    }

    pub fn iter(&self) -> impl ExactSizeIterator<Item = &str> + Clone {
        (0..self.len()).map(|index| self.get(index).expect("an index below the length"))
    }

    /// Adds a string; `None` where all of them together have more bytes than an offset holds.
    pub(super) fn push(&mut self, string: &str) -> Option<()> {
        let end = u32::try_from(self.text.len() + string.len()).ok()?;
        self.text.push_str(string);
        self.ends.push(end);
        Some(())
    }
}

/// How a number is stored, as GGUF numbers its types.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Number {
    U8,
    I8,
    U16,
    I16,
    U32,
    I32,
    F32,
    Bool,
    U64,
    I64,
    F64,
}

impl Number {
    /// The type of this number in a file; 8 is a string and 9 an array.
    pub(super) fn numbered(kind: u32) -> Option<Self> {
        Some(match kind {
            0 => Number::U8,
            1 => Number::I8,
            2 => Number::U16,
            3 => Number::I16,
            4 => Number::U32,
            5 => Number::I32,
            6 => Number::F32,
            7 => Number::Bool,
            10 => Number::U64,
            11 => Number::I64,
            12 => Number::F64,
            _ => return None,
        })
    }

    pub(super) const fn bytes(self) -> usize {
        match self {
            Number::U8 | Number::I8 | Number::Bool => 1,
            Number::U16 | Number::I16 => 2,
            Number::U32 | Number::I32 | Number::F32 => 4,
            Number::U64 | Number::I64 | Number::F64 => 8,
        }
    }

    /// The value of the first bytes, of which there are enough; `None` for a boolean that is neither 0 nor 1.
    pub(super) fn read(self, bytes: &[u8]) -> Option<Value> {
        let word = |signed: bool| {
            let bytes = &bytes[..self.bytes()];
            let fill = if signed && bytes[bytes.len() - 1] >= 0x80 { 0xff } else { 0 };
            let mut word = [fill; 8];
            word[..bytes.len()].copy_from_slice(bytes);
            u64::from_le_bytes(word)
        };
        Some(match self {
            Number::U8 | Number::U16 | Number::U32 | Number::U64 => Value::Unsigned(word(false)),
            Number::I8 | Number::I16 | Number::I32 | Number::I64 => Value::Signed(word(true) as i64),
            Number::F32 => Value::Float(f64::from(f32::from_bits(word(false) as u32))),
            Number::F64 => Value::Float(f64::from_bits(word(false))),
            Number::Bool => Value::Boolean(match bytes[0] {
                0 => false,
                1 => true,
                _ => return None,
            }),
        })
    }
}

/// Numbers as they are stored.
#[derive(Clone, Debug, PartialEq)]
pub struct Numbers {
    pub(super) kind: Number,
    pub(super) bytes: Vec<u8>,
}

impl Numbers {
    pub fn len(&self) -> usize {
        self.bytes.len() / self.kind.bytes()
    }

    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    fn values(&self) -> impl Iterator<Item = Option<Value>> {
        self.bytes.chunks_exact(self.kind.bytes()).map(|bytes| self.kind.read(bytes))
    }

    /// Integers or booleans; `None` where one is something else.
    pub fn integers(&self) -> Option<Vec<i64>> {
        let integer = |value| match value? {
            Value::Unsigned(value) => i64::try_from(value).ok(),
            Value::Signed(value) => Some(value),
            Value::Boolean(value) => Some(i64::from(value)),
            _ => None,
        };
        self.values().map(integer).collect()
    }

    /// Finite floats; `None` where one is something else.
    pub fn floats(&self) -> Option<Vec<f32>> {
        let float = |value| match value? {
            Value::Float(value) => Some(value as f32).filter(|value| value.is_finite()),
            _ => None,
        };
        self.values().map(float).collect()
    }
}

/// The metadata of a file by key.
#[derive(Clone, Debug, PartialEq)]
pub struct Metadata {
    pub(super) file: String,
    pub(super) values: BTreeMap<String, Value>,
}

impl Metadata {
    /// The name of the file that it is from.
    pub fn file(&self) -> &str {
        &self.file
    }

    pub fn get(&self, key: &str) -> Option<&Value> {
        self.values.get(key)
    }

    pub fn string(&self, key: &str) -> Result<Option<&str>> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::String(string)) => Ok(Some(string)),
            Some(value) => Err(self.mistyped(key, value, "a string")),
        }
    }

    pub fn boolean(&self, key: &str) -> Result<Option<bool>> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::Boolean(boolean)) => Ok(Some(*boolean)),
            Some(value) => Err(self.mistyped(key, value, "a boolean")),
        }
    }

    /// An integer that is not negative, of any width.
    pub fn integer(&self, key: &str) -> Result<Option<u64>> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::Unsigned(integer)) => Ok(Some(*integer)),
            Some(Value::Signed(integer)) => match u64::try_from(*integer) {
                Ok(integer) => Ok(Some(integer)),
                Err(_) => bail!(BadModel, "{}: {key} is {integer}, which is negative", self.file),
            },
            Some(value) => Err(self.mistyped(key, value, "an integer")),
        }
    }

    /// A finite float.
    pub fn float(&self, key: &str) -> Result<Option<f32>> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::Float(float)) => match *float as f32 {
                float if float.is_finite() => Ok(Some(float)),
                _ => bail!(BadModel, "{}: {key} is {float}, which is no finite number", self.file),
            },
            Some(value) => Err(self.mistyped(key, value, "a float")),
        }
    }

    pub fn strings(&self, key: &str) -> Result<Option<&Strings>> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::Strings(strings)) => Ok(Some(strings)),
            Some(value) => Err(self.mistyped(key, value, "an array of strings")),
        }
    }

    pub fn integers(&self, key: &str) -> Result<Option<Vec<i64>>> {
        self.numbers(key, "an array of integers", Numbers::integers)
    }

    pub fn floats(&self, key: &str) -> Result<Option<Vec<f32>>> {
        self.numbers(key, "an array of finite floats", Numbers::floats)
    }

    fn numbers<T>(
        &self,
        key: &str,
        wanted: &str,
        read: impl FnOnce(&Numbers) -> Option<Vec<T>>,
    ) -> Result<Option<Vec<T>>> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::Numbers(numbers)) => match read(numbers) {
                Some(values) => Ok(Some(values)),
                None => Err(self.bad(key, format_args!("is not {wanted}"))),
            },
            // A writer may not know the type of an array without elements.
            Some(Value::Strings(strings)) if strings.is_empty() => Ok(Some(Vec::new())),
            Some(value) => Err(self.mistyped(key, value, wanted)),
        }
    }

    /// A value that must be there.
    pub fn required<T>(&self, key: &str, value: Option<T>) -> Result<T> {
        value.ok_or_else(|| self.bad(key, "is missing"))
    }

    /// An error of code `bad-model` that names the file and the key.
    pub(super) fn bad(&self, key: &str, what: impl fmt::Display) -> Error {
        Error::new(Code::BadModel, format!("{}: {key} {what}", self.file))
    }

    fn mistyped(&self, key: &str, value: &Value, wanted: &str) -> Error {
        self.bad(key, format_args!("is {}, not {wanted}", value.what()))
    }
}
