//! What is deleted because nobody needs it any more; whether the database can be written to.

use std::time::Duration;

use super::sessions::AGE;
use crate::{
    clock,
    failure::Failure,
    store::Tx,
    tables::{invitations, pictures, sessions, settings},
};

/// How long a picture waits to be posted.
const PICTURE: Duration = Duration::from_secs(24 * 60 * 60);

/// Writes what nobody reads: if this works, the database can be written to.
///
/// # Errors
/// If the database failed.
pub fn pulse(tx: &mut Tx<'_>) -> Result<(), Failure> {
    Ok(settings::set(tx, "pulse", &clock::now().to_string())?)
}

/// Deletes sessions and invitations that have expired, and pictures that were not posted.
///
/// # Errors
/// If the database failed.
pub fn run(tx: &mut Tx<'_>) -> Result<(), Failure> {
    sessions::delete_before(tx, clock::ago(AGE))?;
    invitations::delete_expired(tx, clock::now())?;
    Ok(pictures::delete_unposted(tx, clock::ago(PICTURE))?)
}
