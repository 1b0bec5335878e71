//! A client on long poll, led by hand.

use serde_json::{Value, json};

use crate::http::{Reply, exchange};

pub(crate) struct Poller {
    port: u16,
    path: String,
    token: String,
}

impl Poller {
    /// Opens a session at `mount`, in version 2.
    pub(crate) fn open(port: u16, mount: &str) -> Self {
        let mut poller = Self { port, path: format!("{mount}/longpoll?vsn=2.0.0"), token: String::new() };
        let opened = poller.poll();
        assert_eq!(opened["status"], 410, "{opened}");
        poller
    }

    /// The same client without its session.
    pub(crate) fn without_token(&self) -> Self {
        Self { port: self.port, path: self.path.clone(), token: "none".to_owned() }
    }

    /// The same client with its session, by another port.
    pub(crate) fn at(&self, port: u16) -> Self {
        Self { port, path: self.path.clone(), token: self.token.clone() }
    }

    pub(crate) fn token(&self) -> &str {
        &self.token
    }

    /// The head of a POST with so many bytes.
    pub(crate) fn head(&self, length: usize) -> String {
        let Self { path, token, .. } = self;
        format!(
            "POST {path} HTTP/1.1\r\nhost: a\r\ncontent-type: application/x-ndjson\r\n\
             x-phoenix-longpoll-token: {token}\r\ncontent-length: {length}\r\n\r\n"
        )
    }

    /// A GET whose answer nobody need read.
    pub(crate) fn get(&self) -> String {
        let Self { path, token, .. } = self;
        format!("GET {path} HTTP/1.1\r\nhost: a\r\nx-phoenix-longpoll-token: {token}\r\n\r\n")
    }

    fn request(&self, method: &str, body: Option<&[u8]>) -> Reply {
        let headers = [
            ("content-type".to_owned(), "application/x-ndjson".to_owned()),
            ("x-phoenix-longpoll-token".to_owned(), self.token.clone()),
        ];
        // a first poll has no token at all
        let headers = if self.token.is_empty() { &headers[..1] } else { &headers[..] };
        exchange(self.port, method, &self.path, headers, body).unwrap()
    }

    /// A GET, and its answer.
    pub(crate) fn poll(&mut self) -> Value {
        let answer: Value = serde_json::from_slice(&self.request("GET", None).body).unwrap();
        if let Some(token) = answer["token"].as_str() {
            token.clone_into(&mut self.token);
        }
        answer
    }

    /// The messages of one GET.
    pub(crate) fn messages(&mut self) -> Vec<Value> {
        let answer = self.poll();
        let messages = answer["messages"].as_array().unwrap_or_else(|| panic!("{answer}"));
        messages.iter().map(|message| serde_json::from_str(message.as_str().unwrap()).unwrap()).collect()
    }

    /// A POST with a line for each message, and its answer.
    pub(crate) fn post(&self, messages: &[Value]) -> Reply {
        let lines: Vec<String> = messages.iter().map(Value::to_string).collect();
        self.post_body(lines.join("\n").as_bytes())
    }

    pub(crate) fn post_body(&self, body: &[u8]) -> Reply {
        self.request("POST", Some(body))
    }

    /// A POST that is answered with this status in its JSON.
    pub(crate) fn posts(&self, messages: &[Value], status: u16) {
        let reply = self.post(messages);
        assert_eq!(reply.text(), json!({ "status": status }).to_string());
    }
}
