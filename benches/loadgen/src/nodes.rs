//! Two nodes of one server, for the modes that look at both.

use std::{
    net::SocketAddr,
    time::{SystemTime, UNIX_EPOCH},
};

use clap::Args;

use crate::Target;

/// The node of `--addr`, and another one.
#[derive(Debug, Args, Clone)]
pub(crate) struct Nodes {
    #[command(flatten)]
    pub(crate) target: Target,
    /// Where the other node listens: what happens at `--addr` is looked at from there.
    #[arg(long)]
    pub(crate) to: SocketAddr,
}

impl Nodes {
    pub(crate) fn other(&self) -> Target {
        Target { addr: self.to, ..self.target.clone() }
    }
}

/// The system's time in seconds since 1970, which other processes have too.
pub(crate) fn unix_time() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

/// The digits behind a mark, as a number.
pub(crate) fn number_behind(text: &[u8], mark: &[u8]) -> Option<u64> {
    let at = memchr::memmem::find(text, mark)? + mark.len();
    let digits = text[at..].iter().take_while(|byte| byte.is_ascii_digit());
    let mut digits = digits.peekable();
    digits.peek()?;
    Some(digits.fold(0, |number, digit| number * 10 + u64::from(digit - b'0')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_what_follows_the_first_mark_and_nothing_is_none() {
        for (text, number) in [
            (&br#"{"id":12,"id":3}"#[..], Some(12)),
            (br#"{"id":0}"#, Some(0)),
            (br#"{"id":"7"}"#, None),
            (br#"{"id":"#, None),
            (br#"{}"#, None),
        ] {
            assert_eq!(number_behind(text, br#""id":"#), number);
        }
    }
}
