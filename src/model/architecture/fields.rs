//! A strict reader of the fields of `config.json`.

use serde_json::{Map, Value};

use crate::bail;
use crate::error::{Code, Error, Result};

pub(super) const FILE: &str = "config.json";

/// No size in a config may exceed this; it keeps products of sizes far from overflow.
const MAX_SIZE: usize = 1 << 20;

/// The fields of a JSON object; `null` counts as absent, a wrong type is an error that names the field.
#[derive(Clone, Copy)]
pub(super) struct Fields<'a> {
    pub(super) fields: &'a Map<String, Value>,
    pub(super) prefix: &'static str,
}

impl<'a> Fields<'a> {
    /// Whether the field is there at all, be it `null`.
    pub(super) fn has(&self, name: &str) -> bool {
        self.fields.contains_key(name)
    }

    pub(super) fn get(&self, name: &str) -> Option<&'a Value> {
        self.fields.get(name).filter(|value| !value.is_null())
    }

    pub(super) fn typed<T>(
        &self,
        name: &str,
        wanted: &str,
        read: impl FnOnce(&'a Value) -> Option<T>,
    ) -> Result<Option<T>> {
        let Some(value) = self.get(name) else { return Ok(None) };
        match read(value) {
            Some(read) => Ok(Some(read)),
            None => bail!(BadModel, "{FILE}: {}{name} is {value}, not {wanted}", self.prefix),
        }
    }

    pub(super) fn required<T>(&self, name: &str, value: Option<T>) -> Result<T> {
        value.ok_or_else(|| self.missing(name))
    }

    pub(super) fn missing(&self, name: &str) -> Error {
        Error::new(Code::BadModel, format!("{FILE}: {}{name} is missing", self.prefix))
    }

    pub(super) fn string(&self, name: &str) -> Result<Option<String>> {
        self.typed(name, "a string", |value| value.as_str().map(str::to_owned))
    }

    pub(super) fn boolean(&self, name: &str) -> Result<Option<bool>> {
        self.typed(name, "true or false", Value::as_bool)
    }

    pub(super) fn object(&self, name: &str) -> Result<Option<&'a Map<String, Value>>> {
        self.typed(name, "an object", Value::as_object)
    }

    pub(super) fn integer(&self, name: &str) -> Result<Option<u64>> {
        self.typed(name, "a whole number", Value::as_u64)
    }

    pub(super) fn positive_number(&self, name: &str) -> Result<Option<f64>> {
        let positive = |value: &Value| value.as_f64().filter(|number| number.is_finite() && *number > 0.0);
        self.typed(name, "a positive number", positive)
    }

    pub(super) fn positive_float(&self, name: &str) -> Result<Option<f32>> {
        let positive = |value: &Value| {
            value.as_f64().map(|number| number as f32).filter(|number| number.is_finite() && *number > 0.0)
        };
        self.typed(name, "a positive number", positive)
    }

    /// The name and the chance of a dropout that is on.
    pub(super) fn dropout(&self, name: &str) -> Result<Option<(String, f64)>> {
        let chance = |value: &Value| value.as_f64().filter(|chance| (0.0..=1.0).contains(chance));
        let found = self.typed(name, "a number from 0 to 1", chance)?;
        Ok(found.filter(|chance| *chance > 0.0).map(|chance| (format!("{}{name}", self.prefix), chance)))
    }

    /// A number that is not negative; `default` where the field is absent or 0, which transformers takes alike.
    pub(super) fn float_or(&self, name: &str, default: f32) -> Result<f32> {
        let number = |value: &Value| {
            value.as_f64().map(|number| number as f32).filter(|number| number.is_finite() && *number >= 0.0)
        };
        let found = self.typed(name, "a number that is not negative", number)?;
        Ok(found.filter(|number| *number != 0.0).unwrap_or(default))
    }

    pub(super) fn positive_or(&self, name: &str, default: usize) -> Result<usize> {
        match self.integer(name)? {
            None => Ok(default),
            Some(0) => bail!(UnsupportedModel, "{FILE}: {}{name} is 0", self.prefix),
            Some(value) => Ok(usize::try_from(value).unwrap_or(usize::MAX)),
        }
    }

    pub(super) fn size_or(&self, name: &str, default: usize) -> Result<usize> {
        let size = self.positive_or(name, default)?;
        if size > MAX_SIZE {
            bail!(UnsupportedModel, "{FILE}: {name} {size} is more than {MAX_SIZE}");
        }
        Ok(size)
    }

    /// A size that must be there unless the family has a default.
    pub(super) fn size(&self, name: &str, default: Option<usize>) -> Result<usize> {
        if default.is_none() {
            self.required(name, self.integer(name)?)?;
        }
        self.size_or(name, default.unwrap_or(0))
    }

    /// The elements of a list, or none where the field is absent.
    pub(super) fn list<T>(
        &self,
        name: &str,
        wanted: &str,
        element: impl Fn(&Value) -> Option<T>,
    ) -> Result<Option<Vec<T>>> {
        self.typed(name, wanted, |value| value.as_array()?.iter().map(&element).collect())
    }

    /// One id or a list of ids; `default` where the field is absent, none where it is `null` or negative.
    pub(super) fn token_ids(&self, name: &str, default: Option<u32>) -> Result<Vec<u32>> {
        if !self.has(name) {
            return Ok(default.into_iter().collect());
        }
        let id = |value: &Value| value.as_i64().filter(|id| *id <= i64::from(u32::MAX));
        let ids = self.typed(name, "a token id or a list of them", |value| match value {
            Value::Array(values) => values.iter().map(id).collect(),
            value => id(value).map(|id| vec![id]),
        })?;
        Ok(ids.unwrap_or_default().into_iter().filter_map(|id| u32::try_from(id).ok()).collect())
    }
}
