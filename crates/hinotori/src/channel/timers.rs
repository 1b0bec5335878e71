//! A channel's timers: they are its own, and end with it.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    pin::Pin,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use actix_web::rt::time::{Sleep, sleep_until};

/// As good as never, where the end of a delay is beyond all times.
const NEVER: Duration = Duration::from_secs(30 * 365 * 24 * 60 * 60);

/// Messages that are due at a time. Boxed by the first, as few channels have any.
pub(super) struct Timers<I>(RefCell<Option<Box<Pending<I>>>>);

struct Pending<I> {
    sleep: Pin<Box<Sleep>>,
    /// By their times, and by their age among those of one time.
    due: BTreeMap<(Instant, u64), I>,
    started: u64,
}

impl<I> Default for Timers<I> {
    fn default() -> Self {
        Self(RefCell::new(None))
    }
}

impl<I> Timers<I> {
    /// Starts a timer. To be called within callbacks alone: nobody is woken for it.
    pub(super) fn start(&self, delay: Duration, info: I) {
        let now = Instant::now();
        let due = now.checked_add(delay).unwrap_or(now + NEVER);
        let mut timers = self.0.borrow_mut();
        let pending = timers.get_or_insert_with(|| {
            let sleep = Box::pin(sleep_until(due.into()));
            Box::new(Pending { sleep, due: BTreeMap::new(), started: 0 })
        });
        pending.due.insert((due, pending.started), info);
        pending.started += 1;
    }

    /// The next message that is due.
    pub(super) fn poll_next(&self, cx: &mut Context<'_>) -> Poll<I> {
        let mut timers = self.0.borrow_mut();
        let Some(pending) = &mut *timers else { return Poll::Pending };
        let Some(first) = pending.due.first_entry() else {
            *timers = None;
            return Poll::Pending;
        };
        let due = first.key().0;
        if pending.sleep.deadline().into_std() != due {
            pending.sleep.as_mut().reset(due.into());
        }
        pending.sleep.as_mut().poll(cx).map(|()| first.remove())
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    #[actix_web::test]
    async fn timers_go_off_by_their_times_and_leave_nothing_behind() {
        let timers = Timers::default();
        for (delay, name) in [(20, "last"), (1, "first"), (10, "second")] {
            timers.start(Duration::from_millis(delay), name);
        }
        timers.start(Duration::MAX, "never");
        for name in ["first", "second", "last"] {
            assert_eq!(poll_fn(|cx| timers.poll_next(cx)).await, name);
        }
        assert_eq!(timers.0.borrow().as_ref().unwrap().due.len(), 1);
    }
}
