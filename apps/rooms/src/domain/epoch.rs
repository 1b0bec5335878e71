//! The epoch names the history of this database: clients of another one load the history of each room anew.
//!
//! After a backup was restored, positions repeat. Delete the row `epoch` of `settings` then; the next start makes another.

use crate::{failure::Failure, ids, store::Tx, tables::settings};

/// The epoch, which is made if there is none.
///
/// # Errors
/// If the database failed.
pub fn get_or_make(tx: &mut Tx<'_>) -> Result<u64, Failure> {
    // JavaScript reads integers of 53 bits
    let new = u64::from_le_bytes(ids::random()) >> 12;
    Ok(settings::get_or_set(tx, "epoch", &new.to_string())?.parse().unwrap_or_default())
}

/// The epoch.
///
/// # Errors
/// If the database failed.
pub fn get(tx: &mut Tx<'_>) -> Result<u64, Failure> {
    Ok(settings::get(tx, "epoch")?.and_then(|epoch| epoch.parse().ok()).unwrap_or_default())
}
