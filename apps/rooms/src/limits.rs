//! How often somebody may do something, on this node.

use std::{
    collections::HashMap,
    hash::Hash,
    net::{IpAddr, Ipv6Addr},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use crate::failure::Failure;

/// Keys that are remembered. Beyond that, those that have been quiet are forgotten.
const KEYS: usize = 10_000;

/// All limits of a node.
#[derive(Debug)]
pub struct Limits {
    /// Tries to log in, by address.
    pub login_address: Limit<IpAddr>,
    /// Tries to log in, by name.
    pub login_name: Limit<String>,
    /// New users, by address.
    pub sign_up: Limit<IpAddr>,
    /// Pictures, by user.
    pub upload: Limit<String>,
    /// Whatever writes to the database, by user.
    pub write: Limit<String>,
    /// Searches, by user.
    pub search: Limit<String>,
}

impl Default for Limits {
    fn default() -> Self {
        let minute = Duration::from_secs(60);
        Self {
            login_address: Limit::new(60, minute),
            login_name: Limit::new(10, minute),
            sign_up: Limit::new(20, 10 * minute),
            upload: Limit::new(20, minute),
            write: Limit::new(60, minute / 4),
            search: Limit::new(60, minute),
        }
    }
}

/// So many at once, and so many in each period.
#[derive(Debug)]
pub struct Limit<K> {
    count: u32,
    period: Duration,
    /// When each key will have all of its count again.
    full_at: Mutex<HashMap<K, Instant>>,
}

impl<K: Eq + Hash> Limit<K> {
    /// `count` at once, and as many in each period.
    #[must_use]
    pub fn new(count: u32, period: Duration) -> Self {
        Self { count, period, full_at: Mutex::default() }
    }

    /// Counts one.
    ///
    /// # Errors
    /// [`Failure::TooMany`] if it is too often. It is not counted then.
    pub fn take(&self, key: K) -> Result<(), Failure> {
        self.take_at(key, Instant::now())
    }

    fn take_at(&self, key: K, now: Instant) -> Result<(), Failure> {
        let mut full_at = self.full_at.lock().unwrap_or_else(PoisonError::into_inner);
        if full_at.len() >= KEYS {
            full_at.retain(|_, at| *at > now);
        }
        let before = full_at.get(&key).map_or(now, |at| now.max(*at));
        let after = before + self.period / self.count;
        if after > now + self.period {
            return Err(Failure::TooMany);
        }
        full_at.insert(key, after);
        Ok(())
    }
}

/// The part of an address that one customer of a provider has: for IPv6 the network, as each has many addresses.
#[must_use]
pub fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_are_let_through_at_once_and_then_one_by_one() {
        let (limit, start) = (Limit::new(3, Duration::from_secs(30)), Instant::now());
        for _ in 0..3 {
            assert_eq!(limit.take_at("ann", start), Ok(()));
        }
        assert_eq!(limit.take_at("ann", start), Err(Failure::TooMany));
        assert_eq!(limit.take_at("bob", start), Ok(()));
        let later = start + Duration::from_secs(10);
        assert_eq!(limit.take_at("ann", later), Ok(()));
        assert_eq!(limit.take_at("ann", later), Err(Failure::TooMany));
    }

    #[test]
    fn the_addresses_of_a_network_of_ipv6_count_as_one() {
        let of = |text: &str| network(text.parse().unwrap());
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff:2"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
        assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
    }
}
