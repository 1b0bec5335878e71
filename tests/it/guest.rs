//! Someone in the chat: a client that has joined `chat:lobby`.

use serde_json::{Value, json};

use crate::{client::Client, normal::same, server::Server};

pub(crate) const LOBBY: &str = "chat:lobby";

pub(crate) struct Guest {
    pub(crate) client: Client,
    next_ref: u64,
}

impl Guest {
    /// Joins, and gives the history that the join pushed.
    pub(crate) fn enter(server: &Server) -> (Self, Vec<Value>) {
        Self::enter_by(server.port)
    }

    /// The same, by whatever listens at `port` in front of the server.
    pub(crate) fn enter_by(port: u16) -> (Self, Vec<Value>) {
        let client = Client::open(port, "/socket/websocket?vsn=2.0.0");
        let mut guest = Self { client, next_ref: 1 };
        guest.push("phx_join", &json!({}));
        guest.client.expect(&json!(["1", "1", LOBBY, "phx_reply", {"status": "ok", "response": {}}]));
        let history = guest.history_pushed();
        (guest, history)
    }

    /// Sends an event and returns its ref.
    pub(crate) fn push(&mut self, event: &str, payload: &Value) -> String {
        let reference = self.next_ref.to_string();
        self.next_ref += 1;
        self.client.send(&json!(["1", reference, LOBBY, event, payload]));
        reference
    }

    /// The next thing that comes is a broadcast of this event: its message.
    pub(crate) fn hears(&self, event: &str) -> Value {
        let mut got = self.client.message();
        let message = got[4]["message"].take();
        let around = json!([null, null, LOBBY, event, { "message": null }]);
        assert!(same(&got, &around), "expected {event}, got {got} around {message}");
        message
    }

    /// Posts, and hears itself: the message.
    pub(crate) fn posts(&mut self, text: &str) -> Value {
        self.push("new_message", &json!({ "message": text }));
        self.hears("new_message")
    }

    /// Sends what must be refused with this reason.
    pub(crate) fn is_refused(&mut self, event: &str, payload: &Value, reason: &str) {
        let reference = self.push(event, payload);
        let response = json!({"status": "error", "response": {"reason": reason}});
        let got = self.client.message();
        assert!(
            same(&got, &json!(["1", reference, LOBBY, "phx_reply", response])),
            "{event} {payload}: {got}"
        );
    }

    /// Likes a message, and hears of it: the message as it is now.
    pub(crate) fn likes(&mut self, id: &Value) -> Value {
        let reference = self.push("like_message", &json!({ "message_id": id }));
        let liked = self.hears("message_liked");
        self.client.expect(&json!(["1", reference, LOBBY, "phx_reply", {"status": "ok", "response": {}}]));
        liked
    }

    /// Asks for the history.
    pub(crate) fn history(&mut self) -> Vec<Value> {
        self.push("get_messages", &json!({}));
        self.history_pushed()
    }

    fn history_pushed(&self) -> Vec<Value> {
        let mut got = self.client.message();
        let messages = got[4]["messages"].take();
        assert!(same(&got, &json!(["1", null, LOBBY, "load_messages", { "messages": null }])), "got {got}");
        messages.as_array().expect("messages is a list").clone()
    }
}

/// The ids of messages, in their order.
pub(crate) fn ids(messages: &[Value]) -> Vec<u64> {
    messages.iter().map(|message| message["id"].as_u64().unwrap()).collect()
}
