//! How much of the past a store on disk keeps.

use std::{
    fmt,
    str::FromStr,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use super::Limit;

/// What is deleted from a store, if anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keep {
    /// Nothing is.
    All,
    /// All but so many messages, at least 1.
    Messages(u64),
    /// What is older.
    Age(Duration),
}

/// A text that is no [`Keep`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct InvalidKeep;

impl fmt::Display for InvalidKeep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "expected `all`, a number of messages such as `100000`, or an age in days or hours such as `30d` or `12h`",
        )
    }
}

impl std::error::Error for InvalidKeep {}

impl FromStr for Keep {
    type Err = InvalidKeep;

    fn from_str(text: &str) -> Result<Self, InvalidKeep> {
        let number = |digits: &str| match digits.parse::<u32>() {
            Ok(number) if number > 0 && digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                Ok(u64::from(number))
            }
            _ => Err(InvalidKeep),
        };
        let hours = |hours: u64| Self::Age(Duration::from_secs(3_600 * hours));
        match (text, text.strip_suffix('d'), text.strip_suffix('h')) {
            ("all", ..) => Ok(Self::All),
            (_, Some(days), _) => Ok(hours(24 * number(days)?)),
            (.., Some(count)) => Ok(hours(number(count)?)),
            _ => Ok(Self::Messages(number(text)?)),
        }
    }
}

impl Keep {
    /// What a history may have that has no more than is kept.
    pub(crate) fn within(self, limit: Limit) -> Limit {
        let Self::Messages(most) = self else { return limit };
        Limit { messages: limit.messages.min(usize::try_from(most).unwrap_or(usize::MAX)), ..limit }
    }

    /// When what is kept was posted at the earliest, in microseconds since the epoch.
    pub(crate) fn since(self) -> i64 {
        let Self::Age(age) = self else { return i64::MIN };
        let since =
            SystemTime::now().checked_sub(age).and_then(|since| since.duration_since(UNIX_EPOCH).ok());
        i64::try_from(since.unwrap_or_default().as_micros()).unwrap_or(i64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_all_a_number_or_an_age_and_nothing_else() {
        let hours = |hours: u64| Keep::Age(Duration::from_secs(3_600 * hours));
        for (text, keep) in [
            ("all", Keep::All),
            ("1", Keep::Messages(1)),
            ("100000", Keep::Messages(100_000)),
            ("12h", hours(12)),
            ("30d", hours(720)),
        ] {
            assert_eq!(text.parse(), Ok(keep), "{text}");
        }
        for text in ["", "0", "0d", "d", "h", "-1", "+1", "1.5", "1w", "1 d", "ALL", "99999999999"] {
            assert_eq!(text.parse::<Keep>(), Err(InvalidKeep), "{text}");
        }
    }
}
