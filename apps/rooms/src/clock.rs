//! The time, in milliseconds since 1970, and as clients are told.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use time::{OffsetDateTime, format_description::well_known::Rfc3339};

/// The time now.
#[must_use]
pub fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// The time that long ago.
#[must_use]
pub fn ago(duration: Duration) -> i64 {
    now().saturating_sub(millis(duration))
}

/// The time that much later.
#[must_use]
pub fn after(duration: Duration) -> i64 {
    now().saturating_add(millis(duration))
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// A time as clients are told: RFC 3339 in UTC, with milliseconds.
#[must_use]
pub fn text(millis: i64) -> String {
    let time = OffsetDateTime::from_unix_timestamp_nanos(i128::from(millis) * 1_000_000);
    time.ok().and_then(|time| time.format(&Rfc3339).ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_time_is_rfc_3339_in_utc() {
        assert_eq!(super::text(0), "1970-01-01T00:00:00Z");
        assert_eq!(super::text(1_795_831_200_250), "2026-11-28T02:00:00.25Z");
    }
}
