//! Runs one callback of the application: catches its panic, and drops it when its time is over.

use std::{
    any::Any,
    future::{Future, poll_fn},
    panic::AssertUnwindSafe,
    pin::pin,
    task::{Context, Poll},
};

use futures_util::FutureExt;

/// How a callback ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome<T> {
    Returned(T),
    /// The message of the panic.
    Panicked(String),
    /// It was dropped, because its time was over.
    Cut,
}

/// Runs a callback to its end, or until `poll_overdue` is ready, which is polled whenever the callback is pending.
pub(crate) async fn run<T>(
    callback: impl Future<Output = T>,
    mut poll_overdue: impl FnMut(&mut Context<'_>) -> Poll<()>,
) -> Outcome<T> {
    let mut callback = pin!(AssertUnwindSafe(callback).catch_unwind());
    poll_fn(|cx| match callback.as_mut().poll(cx) {
        Poll::Ready(Ok(returned)) => Poll::Ready(Outcome::Returned(returned)),
        Poll::Ready(Err(panic)) => Poll::Ready(Outcome::Panicked(panic_message(&*panic))),
        Poll::Pending => poll_overdue(cx).map(|()| Outcome::Cut),
    })
    .await
}

/// The message of a caught panic.
pub(crate) fn panic_message(panic: &(dyn Any + Send)) -> String {
    format!("panicked: {}", panic_text(panic))
}

/// The same without the note that it is a panic.
pub(crate) fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("without a message")
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;

    #[actix_web::test]
    async fn a_callback_returns_or_panics_or_is_dropped_when_its_time_is_over() {
        let never = |_: &mut Context<'_>| Poll::Pending;
        assert_eq!(run(async { 1 }, never).await, Outcome::Returned(1));
        let panics = async { panic!("no {}", "luck") };
        assert_eq!(run(panics, never).await, Outcome::<()>::Panicked("panicked: no luck".to_owned()));
        assert_eq!(run(pending::<()>(), |_| Poll::Ready(())).await, Outcome::Cut);
    }

    #[actix_web::test]
    async fn a_callback_that_is_ready_is_not_cut_however_late_it_is() {
        assert_eq!(run(async { 1 }, |_| Poll::Ready(())).await, Outcome::Returned(1));
    }
}
