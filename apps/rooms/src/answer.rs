//! What channels reply.

use hinotori::{Channel, Context, Reply, Result};
use serde_json::{Value, json};

use crate::failure::Failure;

/// The answer to a message, or why there is none; nothing if there is no such event.
pub(crate) type Answer = Option<Result<Value, Failure>>;

/// Replies with an answer.
///
/// # Errors
/// None: it serializes.
pub(crate) fn reply<C: Channel>(answer: Answer, event: &str, cx: &Context<C>) -> Result {
    match answer {
        None => cx.unhandled(event),
        Some(Ok(answer)) => Reply::ok(answer),
        Some(Err(failure)) => failure.reply(),
    }
}

/// The answer to what was done.
pub(crate) fn done((): ()) -> Value {
    json!({})
}
