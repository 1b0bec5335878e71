//! The HTTP steps of a recording: how they are asked, and how an answer is written down.

use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};

use crate::{
    http::{Reply, exchange},
    normal::normal,
};

/// What came of a request.
pub(crate) struct Answer {
    said: Map<String, Value>,
    /// The client's long-poll token from now on.
    pub(crate) token: String,
    took: Duration,
}

impl Answer {
    /// As the recording has it; `took` of the step says how long the answer may have taken.
    pub(crate) fn said(mut self, step: &Value) -> Value {
        if let Some([from, to]) = step["took"].as_array().map(Vec::as_slice) {
            let range = from.as_f64().unwrap()..=to.as_f64().unwrap();
            self.said.insert("in_time".to_owned(), range.contains(&self.took.as_secs_f64()).into());
        }
        self.said.into()
    }
}

/// Headers of a step, a line each, with `$PORT` and `$TOKEN` filled in.
pub(crate) fn header_lines(step: &Value, port: u16, token: &str) -> Vec<(String, Vec<String>)> {
    let text =
        |value: &Value| value.as_str().unwrap().replace("$PORT", &port.to_string()).replace("$TOKEN", token);
    let lines = |value: &Value| match value {
        Value::Null => Vec::new(),
        Value::Array(values) => values.iter().map(text).collect(),
        value => vec![text(value)],
    };
    let headers = step["headers"].as_object().into_iter().flatten();
    headers.map(|(name, value)| (name.clone(), lines(value))).collect()
}

/// Plays an HTTP step.
pub(crate) fn request(port: u16, step: &Value, method: &str, path: &str, token: &str) -> Answer {
    let path = path.replace("$TOKEN", &token.replace('+', "%2B").replace('/', "%2F").replace('=', "%3D"));
    let headers: Vec<_> = header_lines(step, port, token)
        .into_iter()
        .flat_map(|(name, values)| values.into_iter().map(move |value| (name.clone(), value)))
        .collect();
    let body = body(step);
    let start = Instant::now();
    let reply = exchange(port, method, &path, &headers, body.as_deref().map(str::as_bytes));
    let took = start.elapsed();
    let Ok(reply) = reply else {
        let said = Map::from_iter([("http_error".to_owned(), json!("closed"))]);
        return Answer { said, token: token.to_owned(), took };
    };
    let (mut said, token) = written_down(port, &reply, token);
    for name in step["show"].as_array().into_iter().flatten() {
        let name = name.as_str().unwrap();
        said.insert(name.to_owned(), reply.header(name).into());
    }
    Answer { said, token, took }
}

fn body(step: &Value) -> Option<String> {
    if let Some([head, unit, times, tail]) = step["fill"].as_array().map(Vec::as_slice) {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let times = usize::try_from(times.as_u64().unwrap()).unwrap();
        return Some(text(head) + &text(unit).repeat(times) + &text(tail));
    }
    match &step["body"] {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        message => Some(message.to_string()),
    }
}

/// The answer without what differs from run to run, and the token that it gave.
fn written_down(port: u16, reply: &Reply, token: &str) -> (Map<String, Value>, String) {
    let mut said = Map::from_iter([("http_status".to_owned(), json!(reply.status))]);
    let mut token = token.to_owned();
    if let Ok(parsed) = serde_json::from_slice::<Value>(&reply.body) {
        let mut shown = normal(port, &parsed);
        if let Some(given) = parsed["token"].as_str() {
            token = given.to_owned();
            shown["token"] = json!("<token>");
        }
        if let Some(messages) = parsed["messages"].as_array() {
            shown["messages"] = messages.iter().map(|message| long_poll_message(port, message)).collect();
        }
        said.insert("json".to_owned(), shown);
    } else if reply.status < 400 {
        said.insert("body".to_owned(), reply.text().into());
    }
    (said, token)
}

/// A long poll carries messages as strings.
fn long_poll_message(port: u16, message: &Value) -> Value {
    let text = message.as_str().filter(|text| text.starts_with(['[', '{']));
    text.and_then(|text| serde_json::from_str(text).ok())
        .map_or_else(|| message.clone(), |parsed| normal(port, &parsed))
}
