//! A channel's timers, which belong to the channel and end with it.

use std::{
    cell::RefCell,
    collections::{BTreeSet, HashMap},
    pin::Pin,
    sync::atomic::{AtomicU64, Ordering},
    task::{Context, Poll},
    time::Duration,
};

use actix_web::rt::time::{Sleep, sleep_until};
// not the standard library's clock, which keeps running while a test has paused time
use tokio::time::Instant;

/// Effectively never, for delays that end beyond the clock's range.
const NEVER: Duration = Duration::from_secs(30 * 365 * 24 * 60 * 60);

/// Pending timers that one channel may have. A channel that starts timers endlessly is stopped before it exhausts
/// memory.
const MAX_TIMERS: usize = 10_000;

/// The shortest interval of a repeating timer: the resolution of the runtime's clock.
const MIN_PERIOD: Duration = Duration::from_millis(1);

/// Identifies one timer of a channel, to [cancel](crate::Context::cancel_timer) it. Unique within the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TimerRef(u64);

impl TimerRef {
    fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

/// Messages that are due at some time. Boxed when the first is added, because few channels have timers.
pub(super) struct Timers<I>(RefCell<Option<Box<Pending<I>>>>);

struct Pending<I> {
    sleep: Pin<Box<Sleep>>,
    /// Ordered by time, then by age.
    due: BTreeSet<(Instant, u64)>,
    timers: HashMap<u64, Timer<I>>,
    /// Whether the last thing that the channel handled was a timer's message.
    had_turn: bool,
}

struct Timer<I> {
    due: Instant,
    info: I,
    repeat: Option<Repeat<I>>,
}

/// What a timer does after each message.
struct Repeat<I> {
    period: Duration,
    /// `Clone` for the message type, if the timer repeats.
    clone: fn(&I) -> I,
}

impl<I> Default for Timers<I> {
    fn default() -> Self {
        Self(RefCell::new(None))
    }
}

fn after(start: Instant, delay: Duration) -> Instant {
    start.checked_add(delay).unwrap_or_else(|| start + NEVER)
}

impl<I> Timers<I> {
    /// Starts a timer. Call it only from within callbacks: it does not wake the task.
    pub(super) fn start(&self, delay: Duration, info: I) -> TimerRef {
        self.add(delay, info, None)
    }

    /// The same for a repeating timer.
    pub(super) fn start_every(&self, period: Duration, info: I) -> TimerRef
    where
        I: Clone,
    {
        let period = period.max(MIN_PERIOD);
        self.add(period, info, Some(Repeat { period, clone: I::clone }))
    }

    fn add(&self, delay: Duration, info: I, repeat: Option<Repeat<I>>) -> TimerRef {
        let due = after(Instant::now(), delay);
        let mut timers = self.0.borrow_mut();
        let pending = timers.get_or_insert_with(|| {
            let sleep = Box::pin(sleep_until(due));
            Box::new(Pending { sleep, due: BTreeSet::new(), timers: HashMap::new(), had_turn: false })
        });
        assert!(pending.timers.len() < MAX_TIMERS, "the channel has {MAX_TIMERS} timers, and starts another");
        let timer = TimerRef::new();
        pending.due.insert((due, timer.0));
        pending.timers.insert(timer.0, Timer { due, info, repeat });
        timer
    }

    /// Removes a timer. Returns the time that was left, if it existed.
    pub(super) fn cancel(&self, timer: TimerRef) -> Option<Duration> {
        let cancelled = {
            let mut timers = self.0.borrow_mut();
            let pending = timers.as_mut()?;
            let cancelled = pending.timers.remove(&timer.0)?;
            pending.due.remove(&(cancelled.due, timer.0));
            cancelled
        };
        Some(cancelled.due.saturating_duration_since(Instant::now()))
    }

    /// Whether anything else that waits should be handled next: true once after each timer message.
    pub(super) fn have_had_their_turn(&self) -> bool {
        self.0.borrow_mut().as_mut().is_some_and(|pending| std::mem::take(&mut pending.had_turn))
    }

    /// Returns the next message that is due.
    pub(super) fn poll_next(&self, cx: &mut Context<'_>) -> Poll<I> {
        let mut timers = self.0.borrow_mut();
        let Some(pending) = &mut *timers else { return Poll::Pending };
        let Some(&(due, _)) = pending.due.first() else {
            *timers = None;
            return Poll::Pending;
        };
        if pending.sleep.deadline() != due {
            pending.sleep.as_mut().reset(due);
        }
        std::task::ready!(pending.sleep.as_mut().poll(cx));
        pending.had_turn = true;
        match pending.take_first() {
            Some(info) => Poll::Ready(info),
            None => Poll::Pending,
        }
    }
}

impl<I> Pending<I> {
    /// The message of the first timer, which must be due. A repeating timer is rescheduled.
    fn take_first(&mut self) -> Option<I> {
        let (due, id) = self.due.pop_first()?;
        let mut timer = self.timers.remove(&id)?;
        let Some(Repeat { period, clone }) = &timer.repeat else { return Some(timer.info) };
        let info = clone(&timer.info);
        timer.due = next_beat(due, *period, Instant::now());
        self.due.insert((timer.due, id));
        self.timers.insert(id, timer);
        Some(info)
    }
}

/// The first time after `now` that is a whole number of periods after `due`.
fn next_beat(due: Instant, period: Duration, now: Instant) -> Instant {
    let late = now.saturating_duration_since(due).as_nanos();
    let since_beat = Duration::from_nanos(u64::try_from(late % period.as_nanos()).unwrap_or_default());
    after(now, period.saturating_sub(since_beat))
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use futures_util::FutureExt;
    use tokio::time::{advance, pause};

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    async fn next<I>(timers: &Timers<I>) -> I {
        poll_fn(|cx| timers.poll_next(cx)).await
    }

    #[actix_web::test]
    async fn timers_go_off_by_their_times_and_leave_nothing_behind() {
        pause();
        let timers = Timers::default();
        for (delay, name) in [(20, "last"), (1, "first"), (10, "second"), (20, "after the last")] {
            timers.start(SECOND * delay, name);
        }
        timers.start(Duration::MAX, "never");
        let begun = Instant::now();
        for (seconds, name) in [(1, "first"), (10, "second"), (20, "last"), (20, "after the last")] {
            assert_eq!((next(&timers).await, begun.elapsed().as_secs()), (name, seconds));
        }
        assert_eq!(timers.0.borrow().as_ref().unwrap().due.len(), 1);
    }

    #[actix_web::test]
    async fn a_timer_that_is_cancelled_does_not_go_off_even_if_it_is_due() {
        pause();
        let timers = Timers::default();
        let [one, two, three] = [3, 1, 2].map(|seconds| timers.start(SECOND * seconds, seconds));
        advance(SECOND).await;
        assert_eq!(timers.cancel(one), Some(SECOND * 2));
        assert_eq!(timers.cancel(two), Some(Duration::ZERO));
        assert_eq!(next(&timers).await, 2);
        assert_eq!((timers.cancel(one), timers.cancel(two), timers.cancel(three)), (None, None, None));
        assert_eq!(Timers::<u32>::default().cancel(one), None);
        assert!(next(&timers).now_or_never().is_none());
        assert!(timers.0.borrow().is_none(), "without timers there is no memory for them");
    }

    #[actix_web::test]
    async fn a_timer_that_repeats_keeps_its_beat_and_leaves_out_what_its_channel_is_too_late_for() {
        pause();
        let (timers, begun) = (Timers::default(), Instant::now());
        let every = timers.start_every(SECOND * 2, "beat");
        let mut beats = vec![];
        for late in [0, 0, 5, 0, 0] {
            advance(SECOND * late).await;
            assert_eq!(next(&timers).await, "beat");
            beats.push(begun.elapsed().as_secs());
        }
        assert_eq!(beats, [2, 4, 9, 10, 12]);
        // the runtime's clock counts milliseconds
        assert!(timers.cancel(every).is_some_and(|left| left > SECOND && left <= SECOND * 2));
        assert!(next(&timers).now_or_never().is_none());
    }

    #[actix_web::test]
    #[should_panic(expected = "the channel has 10000 timers, and starts another")]
    async fn a_channel_cannot_start_timers_without_end() {
        let timers = Timers::default();
        (0..=MAX_TIMERS).for_each(|n| _ = timers.start(SECOND, n));
    }

    #[actix_web::test]
    async fn a_period_of_nothing_is_a_millisecond() {
        pause();
        let (timers, begun) = (Timers::default(), Instant::now());
        timers.start_every(Duration::ZERO, ());
        for _ in 0..10 {
            next(&timers).await;
        }
        assert!(begun.elapsed() >= MIN_PERIOD * 10);
    }
}
