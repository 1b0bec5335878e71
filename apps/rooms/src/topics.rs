//! The names of topics: those that clients join, and those that only channels subscribe to.

/// Who there is and who is online.
pub const TEAM: &str = "team";

/// The topic of a room's messages.
#[must_use]
pub fn room(room_id: &str) -> String {
    format!("room:{room_id}")
}

/// What happens in a room, for the channels of its members' `user:` topics: one broadcast, however many members there are.
#[must_use]
pub fn activity(room_id: &str) -> String {
    format!("activity:{room_id}")
}

/// What happens to a user, for the channels of that user.
#[must_use]
pub fn control(user_id: &str) -> String {
    format!("control:{user_id}")
}

/// The id of the sockets of a user, whose `user:` topic is for channels.
#[must_use]
pub fn sockets(user_id: &str) -> String {
    format!("sockets:{user_id}")
}

/// The id of the sockets of a session.
#[must_use]
pub fn session(session_id: &str) -> String {
    format!("session:{session_id}")
}
