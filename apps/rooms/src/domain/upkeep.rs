//! What is deleted because nobody needs it any more.

use std::time::Duration;

use super::sessions::AGE;
use crate::{
    clock,
    failure::Failure,
    store::Tx,
    tables::{invitations, pictures, sessions},
};

/// How long a picture waits to be posted.
const PICTURE: Duration = Duration::from_secs(24 * 60 * 60);

/// Deletes sessions and invitations that have expired, and pictures that were not posted.
///
/// # Errors
/// If the database failed.
pub fn run(tx: &mut Tx<'_>) -> Result<(), Failure> {
    sessions::delete_before(tx, clock::ago(AGE))?;
    invitations::delete_expired(tx, clock::now())?;
    Ok(pictures::delete_unposted(tx, clock::ago(PICTURE))?)
}
