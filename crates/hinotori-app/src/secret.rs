//! Settings that may have a password in them.

use std::{ffi::OsStr, fmt, marker::PhantomData, str::FromStr};

use clap::{Arg, Command, builder::TypedValueParser, error::ErrorKind};

/// Parses a value that may have a password in it, and does not show one that is wrong.
#[derive(Debug)]
pub struct Secret<T>(PhantomData<fn() -> T>);

impl<T> Secret<T> {
    /// A parser for a `T`.
    #[must_use]
    pub const fn new() -> Self {
        Self(PhantomData)
    }
}

impl<T> Default for Secret<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Clone for Secret<T> {
    fn clone(&self) -> Self {
        Self::new()
    }
}

impl<T> TypedValueParser for Secret<T>
where
    T: FromStr<Err: fmt::Display> + Clone + Send + Sync + 'static,
{
    type Value = T;

    fn parse_ref(&self, command: &Command, arg: Option<&Arg>, value: &OsStr) -> Result<T, clap::Error> {
        let why = match value.to_str().map(str::parse::<T>) {
            Some(Ok(value)) => return Ok(value),
            Some(Err(error)) => error.to_string(),
            None => "it is not UTF-8".to_owned(),
        };
        let of = arg.map(|arg| format!(" for '{arg}'")).unwrap_or_default();
        Err(clap::Error::raw(ErrorKind::ValueValidation, format!("invalid value{of}: {why}\n"))
            .with_cmd(command))
    }
}
