//! The program's own metrics, next to the library's.

use hinotori::prometheus::{self, IntCounter, IntCounterVec, Opts, Registry};

use crate::refusal::Refusal;

/// See the module.
#[derive(Debug)]
pub(crate) struct Meters {
    /// Broadcasts that clients have sent.
    pub(crate) websocket: IntCounter,
    /// Broadcasts that came by HTTP.
    pub(crate) http: IntCounter,
    /// Broadcasts by HTTP to private channels that the token does not grant.
    pub(crate) skipped: IntCounter,
    refused: IntCounterVec,
}

impl Meters {
    /// Meters at zero, in the registry.
    pub(crate) fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let broadcasts = Opts::new("supabase_broadcasts_total", "Broadcasts, by the way that they came.");
        let broadcasts = IntCounterVec::new(broadcasts, &["by"])?;
        let skipped =
            "Broadcasts by HTTP that were skipped, as the token does not grant their private channel.";
        let skipped = IntCounter::new("supabase_broadcasts_skipped_total", skipped)?;
        let refused = "Keys, tokens and joins that were refused, by the code that clients get.";
        let refused = IntCounterVec::new(Opts::new("supabase_refused_total", refused), &["code"])?;
        registry.register(Box::new(broadcasts.clone()))?;
        registry.register(Box::new(skipped.clone()))?;
        registry.register(Box::new(refused.clone()))?;
        let by = |way| broadcasts.with_label_values(&[way]);
        Ok(Self { websocket: by("websocket"), http: by("http"), skipped, refused })
    }

    /// Counts a refusal.
    pub(crate) fn refused(&self, refusal: &Refusal) {
        self.refused.with_label_values(&[refusal.code()]).inc();
    }
}
