//! The secret that signs cookies and tokens: made once, and kept in the database, so that all nodes have the same.

use crate::{failure::Failure, ids, store::Tx, tables::settings};

/// The secret.
///
/// # Errors
/// If the database failed.
pub fn get(tx: &mut Tx<'_>) -> Result<String, Failure> {
    Ok(settings::get_or_set(tx, "secret", &(ids::new() + &ids::new()))?)
}
