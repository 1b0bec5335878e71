//! What an application needs besides the endpoint, as `/readyz` tells it.

use std::{fmt, sync::Arc};

/// Something that an application needs, such as a database, for [`EndpointBuilder::check`](crate::EndpointBuilder::check).
///
/// ```
/// use std::sync::{Arc, atomic::{AtomicBool, Ordering::Relaxed}};
/// use hinotori::{Check, Endpoint};
///
/// let is_up = Arc::new(AtomicBool::new(true));
/// let of = is_up.clone();
/// let endpoint = Endpoint::builder().check(Check::new("database", move || of.load(Relaxed))).build();
/// ```
#[derive(Clone)]
pub struct Check {
    name: Arc<str>,
    is_up: Arc<dyn Fn() -> bool + Send + Sync>,
    is_required: bool,
}

impl Check {
    /// Adds the line `name up` or `name down` to the body of `/readyz`, which stays 200. The function is called for each
    /// request, on a worker's thread: it must not block.
    pub fn new(name: &str, is_up: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        Self { name: name.into(), is_up: Arc::new(is_up), is_required: false }
    }

    /// Makes `/readyz` 503 while it is down: the load balancer then sends clients elsewhere. Not for what all servers
    /// share, unless they are useless without it: if it is down, the load balancer has no server left.
    #[must_use]
    pub fn required(self) -> Self {
        Self { is_required: true, ..self }
    }

    /// Its line, and whether clients can be accepted.
    pub(super) fn ask(&self) -> (String, bool) {
        let is_up = (self.is_up)();
        (format!("{} {}\n", self.name, if is_up { "up" } else { "down" }), is_up || !self.is_required)
    }
}

impl fmt::Debug for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Check")
            .field("name", &self.name)
            .field("is_required", &self.is_required)
            .finish_non_exhaustive()
    }
}
