//! What a member asks of a room.

use serde::Serialize;
use serde_json::{Value, json};

use crate::{
    answer::{Answer, done},
    domain::{
        change,
        messages::{self, Draft},
        reactions,
    },
    failure::Failure,
    fields::Fields,
    store::Tx,
    user_socket::UserSocket,
};

/// The answer to a message; none if there is no such event.
pub(super) async fn answer(event: &str, room_id: &str, fields: &Fields, socket: &UserSocket) -> Answer {
    let id = room_id.to_owned();
    Some(match event {
        "post" => post(id, fields, socket).await,
        "edit" => edit(id, fields, socket).await,
        "delete" => delete(id, fields, socket).await,
        "react" => react(id, fields, socket).await,
        "before" => page(id, fields, socket, messages::before).await,
        "after" => page(id, fields, socket, messages::after).await,
        "around" => page(id, fields, socket, messages::around).await,
        "changes" => changes(id, fields, socket).await,
        _ => return None,
    })
}

async fn post(room_id: String, fields: &Fields, socket: &UserSocket) -> Result<Value, Failure> {
    let draft = Draft {
        text: fields.text("text")?,
        nonce: fields.text("nonce")?,
        reply_to: fields.optional_number("reply_to")?,
        picture_id: fields.optional_id("picture_id")?,
    };
    let id = socket.write(move |tx, me| messages::post(tx, me, &room_id, &draft)).await?;
    Ok(json!({ "id": id }))
}

async fn edit(room_id: String, fields: &Fields, socket: &UserSocket) -> Result<Value, Failure> {
    let (id, text) = (fields.number("id")?, fields.text("text")?);
    socket.write(move |tx, me| messages::edit(tx, me, &room_id, id, &text)).await.map(done)
}

async fn delete(room_id: String, fields: &Fields, socket: &UserSocket) -> Result<Value, Failure> {
    let id = fields.number("id")?;
    socket.write(move |tx, me| messages::delete(tx, me, &room_id, id)).await.map(done)
}

async fn react(room_id: String, fields: &Fields, socket: &UserSocket) -> Result<Value, Failure> {
    let (id, emoji, on) = (fields.number("id")?, fields.text("emoji")?, fields.flag("on")?);
    socket.write(move |tx, me| reactions::react(tx, me, &room_id, id, &emoji, on)).await.map(done)
}

async fn page<T: Serialize + Send + 'static>(
    room_id: String,
    fields: &Fields,
    socket: &UserSocket,
    read: fn(&mut Tx<'_>, &str, &str, i64) -> Result<T, Failure>,
) -> Result<Value, Failure> {
    let id = fields.number("id")?;
    Ok(json!(socket.read(move |tx, me| read(tx, me, &room_id, id)).await?))
}

async fn changes(room_id: String, fields: &Fields, socket: &UserSocket) -> Result<Value, Failure> {
    let position = fields.number("last_seen_id")?;
    let changes = socket.read(move |tx, me| change::missed(tx, me, &room_id, position)).await?;
    Ok(json!({ "changes": changes }))
}
