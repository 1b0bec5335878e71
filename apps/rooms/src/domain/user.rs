//! A user, as all others see it.

use serde::Serialize;

/// A user, as all others see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct User {
    /// Its id.
    pub id: String,
    /// Its name, as it was written.
    pub name: String,
    /// Whether it may remove users.
    pub admin: bool,
    /// Whether it was removed.
    pub removed: bool,
}
