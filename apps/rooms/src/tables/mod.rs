//! All statements: functions of a transaction, one module for each table. They check nothing; the rules are in
//! [`domain`](crate::domain).

pub(crate) mod changes;
pub(crate) mod invitations;
pub(crate) mod members;
pub(crate) mod messages;
pub(crate) mod pictures;
pub(crate) mod rooms;
pub(crate) mod sessions;
pub(crate) mod settings;
pub(crate) mod terms;
pub(crate) mod users;

/// The values of a statement.
macro_rules! values {
    ($($value:expr),* $(,)?) => { &[$($crate::store::Value::from($value)),*] };
}
pub(crate) use values;
