//! What a thread has of its own for each server of the process: found without a lock, never sent elsewhere.

use std::{
    cell::RefCell,
    collections::HashMap,
    rc::Rc,
    sync::atomic::{AtomicU64, Ordering},
    thread::LocalKey,
};

/// Names a server among those of the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct ServerId(u64);

impl ServerId {
    /// An id that no other server has.
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

/// To be declared as a `thread_local!`.
pub(crate) type PerThread<T> = RefCell<HashMap<ServerId, Rc<T>>>;

/// What this thread has for a server, if it has anything.
pub(crate) fn find<T>(of: &'static LocalKey<PerThread<T>>, id: ServerId) -> Option<Rc<T>> {
    // at the end of a thread its locals may be gone already: it serves nobody then
    of.try_with(|all| all.borrow().get(&id).cloned()).ok().flatten()
}

/// A thread's value for a server, found until this is dropped. It belongs to the task that serves the value: one that is
/// served no more, as the server or the thread's runtime has ended, must not be found by a later runtime.
pub(crate) struct Registered<T: 'static> {
    of: &'static LocalKey<PerThread<T>>,
    id: ServerId,
}

impl<T> Registered<T> {
    /// Lets a value be found on this thread.
    pub(crate) fn new(of: &'static LocalKey<PerThread<T>>, id: ServerId, value: Rc<T>) -> Self {
        of.with(|all| all.borrow_mut().insert(id, value));
        Self { of, id }
    }
}

impl<T> Drop for Registered<T> {
    fn drop(&mut self) {
        // at the end of a thread its locals may be gone already; the value is dropped outside of the borrow
        drop(self.of.try_with(|all| all.borrow_mut().remove(&self.id)));
    }
}
