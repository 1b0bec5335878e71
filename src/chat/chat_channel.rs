//! The channel of the lobby.

use std::error::Error;

use serde_json::{Map, Value, json};

use super::{Like, Limit, Load, LoadBefore, Post, Recover, StoreError, UserSocket};
use hinotori::{Channel, Context, Join, Payload, Reply, Result};

/// Bytes of a nonce.
const NONCE_MAX: usize = 64;

/// Older messages that are loaded at once: so many unless the client says less, and not more bytes.
const OLDER: Limit = Limit { messages: 100, bytes: 1 << 20 };

/// A client in the lobby.
#[derive(Debug)]
pub(crate) struct ChatChannel;

/// The channel's message to itself.
#[derive(Debug)]
pub(crate) enum Info {
    /// The client has joined and is to be sent the history.
    AfterJoin,
}

impl Channel for ChatChannel {
    type Socket = UserSocket;
    type Info = Info;

    async fn join(_topic: &str, payload: Payload, cx: &mut Context<Self>) -> Result<Join<Self>> {
        match cx.recover(&payload)? {
            Some(cursor) => Join::recovered(Self, cx.socket().chat.store.send(Recover(cursor)).await??),
            None => {
                cx.send_self(Info::AfterJoin);
                Join::ok(Self)
            }
        }
    }

    async fn handle_in(&mut self, event: &str, payload: Payload, cx: &mut Context<Self>) -> Result {
        // anything other than an object has none of the fields and gets the corresponding error
        let fields = payload.parse().unwrap_or_default();
        match event {
            "new_message" => new_message(&fields, cx).await,
            "like_message" => like_message(&fields, cx).await,
            "load_before" => load_before(&fields, cx).await,
            "get_messages" => {
                load_messages(cx).await?;
                Reply::none()
            }
            _ => cx.unhandled(event),
        }
    }

    async fn handle_info(&mut self, Info::AfterJoin: Info, cx: &mut Context<Self>) -> Result<()> {
        load_messages(cx).await
    }
}

/// Pushes the history.
async fn load_messages(cx: &Context<ChatChannel>) -> Result<()> {
    let messages = cx.socket().chat.store.send(Load).await??;
    Ok(cx.push("load_messages", messages)?)
}

/// Answers with older messages than one.
async fn load_before(fields: &Map<String, Value>, cx: &Context<ChatChannel>) -> Result {
    let Some(id) = fields.get("id").and_then(Value::as_u64) else { return refuse("invalid message id") };
    let messages = match fields.get("limit") {
        None | Some(Value::Null) => OLDER.messages,
        Some(limit) => match limit.as_u64().map(usize::try_from) {
            Some(limit) if limit != Ok(0) => limit.unwrap_or(usize::MAX).min(OLDER.messages),
            _ => return refuse("invalid limit"),
        },
    };
    let older = cx.socket().chat.store.send(LoadBefore { id, limit: Limit { messages, ..OLDER } }).await;
    match older.map_err(StoreError::from).flatten() {
        Ok(messages) => Reply::ok(messages),
        Err(error) => unavailable(&error),
    }
}

async fn new_message(fields: &Map<String, Value>, cx: &Context<ChatChannel>) -> Result {
    let chat = &cx.socket().chat;
    let Some(content) = fields.get("message").and_then(Value::as_str) else {
        return refuse("invalid message");
    };
    if content.chars().nth(chat.message_max).is_some() {
        return refuse("message too long");
    }
    let reply_to = match fields.get("reply_to") {
        None | Some(Value::Null) => None,
        Some(id) => match integer(id) {
            None => return refuse("invalid reply_to"),
            id => id,
        },
    };
    let nonce = match fields.get("nonce") {
        None | Some(Value::Null) => None,
        Some(Value::String(nonce)) if (1..=NONCE_MAX).contains(&nonce.len()) => Some(nonce.clone()),
        Some(_) => return refuse("invalid nonce"),
    };
    let is_named = nonce.is_some();
    match chat.post(Post { content: content.to_owned(), reply_to, nonce }).await {
        Ok(id) if is_named => Reply::ok(json!({ "id": id })),
        Ok(_) => Reply::none(),
        Err(error) => unavailable(&error),
    }
}

async fn like_message(fields: &Map<String, Value>, cx: &Context<ChatChannel>) -> Result {
    let id = fields.get("message_id").and_then(|id| integer(id).or_else(|| leading_integer(id.as_str()?)));
    let Some(id) = id else { return refuse("invalid message id") };
    match cx.socket().chat.like(Like { id }).await {
        Ok(Some(_)) => Reply::ok(json!({})),
        Ok(None) => refuse("message not found"),
        Err(error) => unavailable(&error),
    }
}

fn refuse(reason: &str) -> Result {
    Reply::error(json!({ "reason": reason }))
}

/// The store failed on this message only; the client may try again.
fn unavailable(error: &StoreError) -> Result {
    // no more than one cause: those below it may have a message in their details
    let why = error.source().map_or_else(|| error.to_string(), |source| format!("{error}: {source}"));
    log::error!("event=store_unavailable why={why:?}");
    refuse("message store unavailable")
}

/// A JSON number that is an integer: `1`, but neither `1.0` nor `"1"`.
fn integer(value: &Value) -> Option<i128> {
    value.as_i64().map(i128::from).or_else(|| value.as_u64().map(i128::from))
}

/// The integer at the beginning of a text, as Elixir's `Integer.parse/1` reads it. An integer that is too large for any
/// id is 0, which no message has.
fn leading_integer(text: &str) -> Option<i128> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let digits = unsigned.bytes().take_while(u8::is_ascii_digit).count();
    let signed = &text[..text.len() - unsigned.len() + digits];
    (digits > 0).then(|| signed.parse().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_may_be_an_integer_or_text_that_begins_with_one() {
        for (text, id) in [("2", 2), ("12abc", 12), ("+5", 5), ("-3", -3), ("007", 7), ("1.5", 1)] {
            assert_eq!(leading_integer(text), Some(id), "{text}");
        }
        assert_eq!(leading_integer(&"9".repeat(60)), Some(0));
        for text in ["", "abc", " 2", "+", "-x", "٣"] {
            assert_eq!(leading_integer(text), None, "{text}");
        }
        assert_eq!(integer(&json!(7)), Some(7));
        assert_eq!(integer(&json!(u64::MAX)), Some(i128::from(u64::MAX)));
        assert_eq!(integer(&json!(7.0)), None);
        assert_eq!(integer(&json!("7")), None);
    }
}
