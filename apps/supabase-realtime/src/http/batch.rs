//! `POST /api/broadcast`: any number of messages with JSON.

use actix_web::{
    HttpRequest, HttpResponse,
    web::{Bytes, Data},
};
use hinotori::{Endpoint, IntoPayload, Payload, UserBroadcast};
use serde::Deserialize;
use serde_json::{Value, json, value::RawValue};

use super::{caller::caller, problem::Problem, publish::Outgoing};
use crate::{join_config::flag, user_socket::Project};

#[derive(Deserialize)]
struct Batch<'a> {
    #[serde(borrow)]
    messages: Vec<&'a RawValue>,
}

#[derive(Deserialize)]
struct Message<'a> {
    topic: String,
    event: String,
    #[serde(borrow)]
    payload: &'a RawValue,
    #[serde(default)]
    private: Value,
    #[serde(default)]
    id: Value,
}

/// Reads an object. An array would be read as the fields in their order.
fn object<'a, T: Deserialize<'a>>(what: &str, json: &'a [u8]) -> Result<T, Problem> {
    if !json.trim_ascii_start().starts_with(b"{") {
        return Err(Problem::Invalid(format!("{what}: expected an object")));
    }
    serde_json::from_slice(json).map_err(|error| Problem::Invalid(format!("{what}: {error}")))
}

impl Message<'_> {
    fn outgoing(self) -> Result<Outgoing, Problem> {
        let invalid = |why: &str| Problem::Invalid(why.to_owned());
        let payload =
            Payload::raw_json(self.payload.get().to_owned()).map_err(|_| invalid("payload: is invalid"))?;
        if !payload.is_object() {
            return Err(invalid("payload: expected an object"));
        }
        let is_private = match &self.private {
            Value::Null => false,
            private => flag(private).ok_or_else(|| invalid("private: expected true or false"))?,
        };
        let meta = match self.id {
            Value::Null => None,
            Value::String(_) => Some(json!({ "id": self.id }).into_payload()),
            _ => return Err(invalid("id: expected a text")),
        };
        let meta = meta.transpose().map_err(|error| invalid(&error.to_string()))?;
        Outgoing::new(self.topic, is_private, UserBroadcast { event: self.event, payload, meta })
    }
}

/// Sends all messages, or none if one of them is invalid. Those to private channels that are not granted are skipped.
pub(super) async fn broadcast(
    request: HttpRequest,
    body: Bytes,
    project: Data<Project>,
    endpoint: Data<Endpoint>,
) -> Result<HttpResponse, Problem> {
    let claims = caller(&request, &project)?;
    let Batch { messages } = object("body", &body)?;
    if messages.is_empty() {
        return Err(Problem::Invalid("messages: can't be blank".to_owned()));
    }
    let messages = messages
        .iter()
        .map(|message| object::<Message<'_>>("messages", message.get().as_bytes())?.outgoing());
    for message in messages.collect::<Result<Vec<Outgoing>, Problem>>()? {
        message.publish(&claims, &project, &endpoint)?;
    }
    Ok(HttpResponse::Accepted().finish())
}
