//! Sessions: each login is one, with a cookie and any number of sockets.

use std::time::Duration;

use super::user::User;
use crate::{clock, failure::Failure, ids, store::Tx, tables::sessions, topics};

/// How long a session lasts.
pub const AGE: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// Begins a session, and returns its id.
///
/// # Errors
/// If the database failed.
pub fn begin(tx: &mut Tx<'_>, user_id: &str) -> Result<String, Failure> {
    let id = ids::new();
    sessions::insert(tx, &id, user_id, clock::now())?;
    Ok(id)
}

/// The user of a session.
///
/// # Errors
/// [`Failure::NotLoggedIn`] if the session has ended; [`Failure::Removed`] if the user was removed.
pub fn user(tx: &mut Tx<'_>, session_id: &str) -> Result<User, Failure> {
    let user = sessions::user(tx, session_id, clock::ago(AGE))?.ok_or(Failure::NotLoggedIn)?;
    if user.removed { Err(Failure::Removed) } else { Ok(user) }
}

/// Disconnects the sockets of a session if it has ended, whatever the reason.
///
/// # Errors
/// If the database failed.
pub fn check(tx: &mut Tx<'_>, session_id: &str) -> Result<(), Failure> {
    match user(tx, session_id) {
        Err(Failure::NotLoggedIn | Failure::Removed) => tx.disconnect(topics::session(session_id)),
        Err(failure) => return Err(failure),
        Ok(_) => {}
    }
    Ok(())
}

/// Ends a session, and disconnects its sockets.
///
/// # Errors
/// If the database failed.
pub fn end(tx: &mut Tx<'_>, session_id: &str) -> Result<(), Failure> {
    sessions::delete(tx, session_id)?;
    tx.disconnect(topics::session(session_id));
    Ok(())
}
