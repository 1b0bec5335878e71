//! How much of other nodes' broadcasts waits in the queues of the workers.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

/// The bytes that wait, of all workers together; what waits for several counts once.
#[derive(Debug)]
pub(crate) struct Inflow {
    bytes: AtomicUsize,
    limit: usize,
}

/// A share of an [`Inflow`], taken until the last worker has delivered the broadcast.
#[derive(Debug)]
pub(crate) struct Ticket {
    inflow: Arc<Inflow>,
    bytes: usize,
}

impl Inflow {
    pub(crate) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self { bytes: AtomicUsize::new(0), limit })
    }

    /// A share of so many bytes. `None` if more than the limit waits already: one of any size fits behind what does not.
    pub(crate) fn admit(self: &Arc<Self>, bytes: usize) -> Option<Arc<Ticket>> {
        let grown = self.bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |waiting| {
            (waiting <= self.limit).then_some(waiting + bytes)
        });
        grown.ok().map(|_| Arc::new(Ticket { inflow: self.clone(), bytes }))
    }

    /// Bytes that wait.
    #[cfg(test)]
    pub(crate) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.inflow.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_is_limited_and_what_was_delivered_makes_room() {
        let inflow = Inflow::new(100);
        let tickets = [inflow.admit(60), inflow.admit(60)];
        assert!(tickets.iter().all(Option::is_some) && inflow.admit(1).is_none());
        drop(tickets);
        assert!(inflow.admit(1).is_some());
    }
}
