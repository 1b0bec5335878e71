//! Tests that tell the time, and tests that take all the machine has, are not run at the same time.

use std::sync::{Condvar, Mutex, PoisonError};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Timed,
    Heavy,
}

/// Which kind runs, and how many tests of it.
static RUNNING: Mutex<(Kind, usize)> = Mutex::new((Kind::Timed, 0));
static ENDED: Condvar = Condvar::new();

/// The test may run for as long as it holds this.
#[must_use]
pub(crate) struct Turn;

/// For a test that a busy machine would make fail: others like it may run beside it.
pub(crate) fn timed() -> Turn {
    take(Kind::Timed)
}

/// For a test that makes the machine busy: others like it may run beside it.
pub(crate) fn heavy() -> Turn {
    take(Kind::Heavy)
}

fn take(kind: Kind) -> Turn {
    // a test that failed has given back its turn all the same
    let running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
    let others = |running: &mut (Kind, usize)| running.1 > 0 && running.0 != kind;
    let mut running = ENDED.wait_while(running, others).unwrap_or_else(PoisonError::into_inner);
    *running = (kind, running.1 + 1);
    Turn
}

impl Drop for Turn {
    fn drop(&mut self) {
        RUNNING.lock().unwrap_or_else(PoisonError::into_inner).1 -= 1;
        ENDED.notify_all();
    }
}
