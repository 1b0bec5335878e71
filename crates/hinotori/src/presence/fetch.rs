//! The application's `fetch` hook. If it fails, clients miss what it would have added, never a presence.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use super::{
    batch::Diff,
    presences::{Presences, by_key},
};
use crate::telemetry::Quoted;

/// How long a diff waits for the hook. The diffs of a server are broadcast one after another, so this delays all of
/// them.
const PATIENCE: Duration = Duration::from_secs(1);

/// Gets a topic and some of its presences, and returns them with more fields next to each `metas`.
type Add = dyn Fn(&str, Presences) -> Presences + Send + Sync;

/// The hook, and whether it is busy.
pub(super) struct Fetch {
    add: Arc<Add>,
    /// Whether a call for a diff has not returned. There is one at a time, so a hook that never returns costs one
    /// thread.
    is_busy: Arc<AtomicBool>,
}

impl Fetch {
    pub(super) fn new(add: impl Fn(&str, Presences) -> Presences + Send + Sync + 'static) -> Self {
        Self { add: Arc::new(add), is_busy: Arc::default() }
    }

    /// For a list: calls the hook on the caller's thread. The list is plain if that panics.
    pub(super) fn list(&self, topic: &str, plain: impl Fn() -> Presences) -> Presences {
        let presences = plain();
        if presences.is_empty() {
            return presences;
        }
        catch_unwind(AssertUnwindSafe(|| (self.add)(topic, presences))).unwrap_or_else(|_| {
            failed(topic, "it panicked");
            plain()
        })
    }

    /// For both halves of a diff: calls the hook on a separate thread. The diff is plain if that panics or takes too
    /// long.
    pub(super) fn diff(&self, topic: &str, diff: &Diff) -> [Presences; 2] {
        let halves = || [by_key(&diff.joins), by_key(&diff.leaves)];
        self.within(PATIENCE, topic, halves()).unwrap_or_else(halves)
    }

    fn within(&self, patience: Duration, topic: &str, halves: [Presences; 2]) -> Option<[Presences; 2]> {
        if self.is_busy.swap(true, Ordering::SeqCst) {
            // logged when its time was up
            return None;
        }
        let (add, is_busy, name) = (self.add.clone(), self.is_busy.clone(), topic.to_owned());
        let (done, is_done) = mpsc::channel();
        let fetching = thread::Builder::new().name("presence_fetch".to_owned()).spawn(move || {
            let add = |half: Presences| if half.is_empty() { half } else { add(&name, half) };
            let added = catch_unwind(AssertUnwindSafe(|| halves.map(add))).ok();
            is_busy.store(false, Ordering::SeqCst);
            // an error means that the diff no longer waits
            let _ = done.send(added);
        });
        if let Err(error) = fetching {
            self.is_busy.store(false, Ordering::SeqCst);
            failed(topic, &error.to_string());
            return None;
        }
        let why = match is_done.recv_timeout(patience) {
            Ok(Some(added)) => return Some(added),
            Ok(None) => "it panicked".to_owned(),
            Err(_) => format!("no answer within {patience:?}; not called for diffs until it returns"),
        };
        failed(topic, &why);
        None
    }
}

fn failed(topic: &str, why: &str) {
    log::error!("event=fetch_failed topic={} why={}", Quoted(topic), Quoted(why));
}

#[cfg(test)]
mod tests {
    use std::{sync::Mutex, time::Instant};

    use serde_json::json;

    use super::*;

    /// Far above what a busy machine needs.
    const LONG: Duration = Duration::from_secs(20);

    fn presences(key: &str) -> Presences {
        Presences::from_iter([(key.to_owned(), json!({ "metas": [] }))])
    }

    fn halves() -> [Presences; 2] {
        [presences("joins"), presences("leaves")]
    }

    #[test]
    fn both_halves_are_added_to_unless_they_are_empty() {
        let fetch = Fetch::new(|topic, mut presences| {
            assert!(!presences.is_empty());
            presences.insert(topic.to_owned(), json!(1));
            presences
        });
        let [joins, leaves] = fetch.within(LONG, "t", [presences("u"), Presences::new()]).unwrap();
        assert_eq!((&joins["t"], joins.len(), leaves.len()), (&json!(1), 2, 0));
        assert!(fetch.list("t", Presences::new).is_empty());
        assert_eq!(fetch.list("t", || presences("u")), joins);
    }

    #[test]
    fn one_that_panics_adds_nothing_and_is_asked_again() {
        let fetch =
            Fetch::new(|topic, presences| if topic == "bad" { panic!("told to panic") } else { presences });
        for _ in 0..3 {
            assert_eq!(fetch.within(LONG, "bad", halves()), None);
            assert_eq!(fetch.within(LONG, "good", halves()), Some(halves()));
            assert_eq!(fetch.list("bad", || presences("u")), presences("u"));
        }
    }

    #[test]
    fn one_that_does_not_end_holds_nothing_up_and_is_asked_again_when_it_has_ended() {
        let (end, ends) = mpsc::channel();
        let (ended, has_ended) = mpsc::channel();
        let ends = Mutex::new(ends);
        let fetch = Fetch::new(move |topic, presences| {
            if topic == "long" {
                ends.lock().unwrap().recv().unwrap();
                ended.send(()).unwrap();
            }
            presences
        });
        assert_eq!(fetch.within(Duration::ZERO, "long", halves()), None);
        for _ in 0..3 {
            assert_eq!(fetch.within(LONG, "long", halves()), None, "no second one that does not end");
        }
        // both halves are fetched
        for _ in 0..2 {
            end.send(()).unwrap();
            has_ended.recv().unwrap();
        }
        let begun = Instant::now();
        while fetch.is_busy.load(Ordering::SeqCst) {
            assert!(begun.elapsed() < LONG, "it has ended");
            thread::yield_now();
        }
        assert_eq!(fetch.within(LONG, "short", halves()), Some(halves()));
    }
}
