//! What a user has not read, counted by the user's channel.

use std::collections::HashMap;

use hinotori::{Context, Payload, Result};
use serde::Deserialize;
use serde_json::{Value, json};

use super::UserChannel;
use crate::{
    domain::{
        reads::{self, UNREAD_MAX},
        room::{Read, Room},
        rooms,
    },
    failure::Failure,
    topics,
};

/// What a user has not read of each room.
#[derive(Debug)]
pub(super) struct Counters {
    user_id: String,
    rooms: HashMap<String, Counter>,
}

/// The state of a room.
#[derive(Debug)]
struct Counter {
    read: Read,
    /// Messages up to this one are counted in what was loaded. Newer ones are counted as they come, each once.
    loaded: i64,
}

/// A message was posted.
#[derive(Debug, Deserialize)]
struct Posted {
    room_id: String,
    id: i64,
    author: String,
    mentions: Vec<String>,
}

/// Something happened in a room or to the user's membership in it.
#[derive(Debug, Deserialize)]
struct InRoom {
    room_id: String,
}

/// A message was edited or deleted.
#[derive(Debug, Deserialize)]
struct Recount {
    room_id: String,
    id: i64,
}

/// Who is in a room has changed.
#[derive(Debug, Deserialize)]
struct Changed {
    room: serde_json::Map<String, Value>,
}

impl Counters {
    /// Those of a user who is in no room yet.
    pub(super) fn of(user_id: String) -> Self {
        Self { user_id, rooms: HashMap::new() }
    }

    /// Loads the rooms of the user, and counts on from there, whatever was missed before.
    ///
    /// # Errors
    /// [`Failure::Forbidden`] if the user was removed; [`Failure::Unavailable`].
    pub(super) async fn load_all(&mut self, cx: &Context<UserChannel>) -> Result<Vec<Room>, Failure> {
        // heard before they are read: nothing is missed in between
        for id in cx.socket().read(rooms::ids_of_user).await? {
            self.enter(&id, cx);
        }
        let rooms = cx.socket().read(rooms::of_user).await?;
        for room in &rooms {
            self.enter(&room.shared.id, cx);
            self.set(&room.shared.id, room.read);
        }
        self.rooms.retain(|id, _| {
            let is_member = rooms.iter().any(|room| room.shared.id == *id);
            if !is_member {
                cx.unsubscribe(&topics::activity(id));
            }
            is_member
        });
        Ok(rooms)
    }

    /// Hears of a room from now on.
    fn enter(&mut self, room_id: &str, cx: &Context<UserChannel>) {
        if !self.rooms.contains_key(room_id) {
            cx.subscribe(&topics::activity(room_id));
            let read = Read { last_id: 0, last_read: 0, unread: 0, mentions: 0 };
            self.rooms.insert(room_id.to_owned(), Counter { read, loaded: 0 });
        }
    }

    /// Sets what was loaded of a room.
    fn set(&mut self, room_id: &str, read: Read) {
        if let Some(counter) = self.rooms.get_mut(room_id) {
            *counter = Counter { read, loaded: read.last_id };
        }
    }

    /// Handles what a room's activity topic or the user's control topic says.
    ///
    /// # Errors
    /// If the client cannot be pushed to.
    pub(super) async fn handle(
        &mut self,
        event: &str,
        payload: &Payload,
        cx: &Context<UserChannel>,
    ) -> Result<()> {
        match event {
            "posted" => self.posted(&payload.parse()?, cx),
            "recount" => self.recount(&payload.parse()?, cx).await,
            "room" => self.changed(payload.parse()?, cx),
            "read" => self.load(&payload.parse::<InRoom>()?.room_id, cx).await,
            "joined" => self.joined(&payload.parse::<InRoom>()?.room_id, cx).await,
            "left" => self.left(&payload.parse::<InRoom>()?.room_id, cx),
            _ => Ok(()),
        }
    }

    fn posted(&mut self, posted: &Posted, cx: &Context<UserChannel>) -> Result<()> {
        let Some(counter) = self.rooms.get_mut(&posted.room_id) else { return Ok(()) };
        if posted.id <= counter.loaded {
            return Ok(());
        }
        let read = &mut counter.read;
        read.last_id = read.last_id.max(posted.id);
        if posted.author == self.user_id {
            // whoever writes has read
            *read = Read { last_read: posted.id, unread: 0, mentions: 0, ..*read };
        } else if posted.id > read.last_read {
            read.unread = (read.unread + 1).min(UNREAD_MAX);
            read.mentions += i64::from(posted.mentions.contains(&self.user_id));
        }
        push(&posted.room_id, *read, cx)
    }

    async fn recount(&mut self, recount: &Recount, cx: &Context<UserChannel>) -> Result<()> {
        let is_unread = |counter: &Counter| recount.id > counter.read.last_read;
        if self.rooms.get(&recount.room_id).is_some_and(is_unread) {
            self.load(&recount.room_id, cx).await?;
        }
        Ok(())
    }

    /// Counts anew, in the database.
    async fn load(&mut self, room_id: &str, cx: &Context<UserChannel>) -> Result<()> {
        let id = room_id.to_owned();
        if let Some(read) = cx.socket().read(move |tx, me| reads::of(tx, me, &id)).await? {
            self.set(room_id, read);
            push(room_id, read, cx)?;
        }
        Ok(())
    }

    async fn joined(&mut self, room_id: &str, cx: &Context<UserChannel>) -> Result<()> {
        self.enter(room_id, cx);
        let id = room_id.to_owned();
        match cx.socket().read(move |tx, me| rooms::get(tx, me, &id)).await {
            Ok(room) => {
                self.set(room_id, room.read);
                cx.push("room", json!({ "room": room }))?;
            }
            // the user has left meanwhile, and is told next
            Err(Failure::NotFound) => {}
            Err(failure) => return Err(failure.into()),
        }
        Ok(())
    }

    fn left(&mut self, room_id: &str, cx: &Context<UserChannel>) -> Result<()> {
        if self.rooms.remove(room_id).is_some() {
            cx.unsubscribe(&topics::activity(room_id));
            cx.push("room_left", json!({ "room_id": room_id }))?;
        }
        Ok(())
    }

    /// Tells the client of a room with what this user has read of it.
    fn changed(&mut self, Changed { mut room }: Changed, cx: &Context<UserChannel>) -> Result<()> {
        let counter = room.get("id").and_then(Value::as_str).and_then(|id| self.rooms.get(id));
        let Some(counter) = counter else { return Ok(()) };
        if let Value::Object(read) = json!(counter.read) {
            room.extend(read);
        }
        Ok(cx.push("room", json!({ "room": room }))?)
    }
}

fn push(room_id: &str, read: Read, cx: &Context<UserChannel>) -> Result<()> {
    let Read { last_id, unread, mentions, .. } = read;
    let payload = json!({ "room_id": room_id, "unread": unread, "mentions": mentions, "last_id": last_id });
    Ok(cx.push("unread", payload)?)
}
