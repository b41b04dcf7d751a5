//! Another name for a dataset.
//!
//! Rows, and the tokens that were made of them, lie under the name of their content and stay where they are: only the
//! description moves, in one transaction. Whatever moment a tab is killed at, the dataset is there whole, under one of both
//! names.

use super::kv::{Key, Kv, Table, Write};
use super::library::Description;
use crate::bail;
use crate::error::Result;

/// The most characters that a name may have which a dataset is given.
const LONGEST_NAME: usize = 200;

/// Gives the dataset `name` the name `to`, an import that was interrupted included. Nobody else may change either of them
/// meanwhile.
///
/// # Errors
///
/// `bad-option` for a name that is blank or too long, `bad-state` where there is no such dataset, or where there is one of
/// the other name.
pub async fn rename(kv: &dyn Kv, name: &str, to: &str) -> Result<()> {
    if to.trim().is_empty() {
        bail!(BadOption, "the new name of dataset {name:?} is blank: a dataset needs a name");
    }
    let length = to.chars().count();
    if length > LONGEST_NAME {
        bail!(
            BadOption,
            "the new name of dataset {name:?} has {length} characters: a name may have up to {LONGEST_NAME}"
        );
    }
    let key = |name| Key::new(Table::Datasets, name, 0);
    if kv.get_one(key(name)).await?.is_none() {
        bail!(BadState, "there is no dataset {name:?} to be renamed");
    }
    if to == name {
        return Ok(());
    }
    if kv.get_one(key(to)).await?.is_some() {
        bail!(
            BadState,
            "dataset {name:?} cannot be called {to:?}, because another one is: choose another name, or delete that one \
             first"
        );
    }
    let mut description = Description::load(kv, name).await?;
    to.clone_into(&mut description.name);
    description.was.retain(|was| was != name && was != to);
    description.was.push(name.to_owned());
    kv.write(vec![description.put(), Write::RemoveFrom(key(name))]).await
}
