//! Values that a thread keeps per server of the process: found without a lock, never sent to another thread.

use std::{
    cell::RefCell,
    collections::HashMap,
    rc::Rc,
    sync::atomic::{AtomicU64, Ordering},
    thread::LocalKey,
};

/// Identifies a server within the process.
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

/// This thread's value for a server, if it has one.
pub(crate) fn find<T>(of: &'static LocalKey<PerThread<T>>, id: ServerId) -> Option<Rc<T>> {
    // at the end of a thread its locals may be gone already: it serves no client then
    of.try_with(|all| all.borrow().get(&id).cloned()).ok().flatten()
}

/// Registers a thread's value for a server until this is dropped. It belongs to the task that serves the value: once
/// the server or the thread's runtime has ended, a later runtime must not find the value.
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
