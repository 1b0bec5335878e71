//! What a user asks of the own rooms.

use serde_json::{Value, json};

use crate::{
    answer::{Answer, done},
    domain::{invitations, membership, reads, rooms, search},
    failure::Failure,
    fields::Fields,
    store::Tx,
    user_socket::UserSocket,
};

/// The answer to a message; none if there is no such event.
pub(super) async fn answer(event: &str, fields: &Fields, socket: &UserSocket) -> Answer {
    Some(match event {
        "browse" => socket.read(rooms::browse).await.map(|rooms| json!({ "rooms": rooms })),
        "create_room" => create_room(fields, socket).await,
        "join_room" => {
            in_room(fields, socket, |tx, me, id| Ok(json!({ "room": rooms::join(tx, me, id)? }))).await
        }
        "leave_room" => in_room(fields, socket, |tx, me, id| Ok(done(rooms::leave(tx, me, id)?))).await,
        "invitation" => in_room(fields, socket, invitation).await,
        "open_direct" => open_direct(fields, socket).await,
        "invite" => of_member(fields, socket, membership::invite).await,
        "remove_member" => of_member(fields, socket, membership::remove_member).await,
        "accept" => accept(fields, socket).await,
        "read" => read(fields, socket).await,
        "search" => find(fields, socket).await,
        _ => return None,
    })
}

/// What is done to the room of `room_id`.
async fn in_room(
    fields: &Fields,
    socket: &UserSocket,
    work: fn(&mut Tx<'_>, &str, &str) -> Result<Value, Failure>,
) -> Result<Value, Failure> {
    let room_id = fields.id("room_id")?;
    socket.write(move |tx, me| work(tx, me, &room_id)).await
}

/// What is done to the user of `user_id` in the room of `room_id`.
async fn of_member(
    fields: &Fields,
    socket: &UserSocket,
    work: fn(&mut Tx<'_>, &str, &str, &str) -> Result<(), Failure>,
) -> Result<Value, Failure> {
    let (room_id, user_id) = (fields.id("room_id")?, fields.id("user_id")?);
    socket.write(move |tx, me| work(tx, me, &room_id, &user_id)).await.map(done)
}

async fn create_room(fields: &Fields, socket: &UserSocket) -> Result<Value, Failure> {
    let (name, private) = (fields.text("name")?, fields.flag("private")?);
    let room = socket.write(move |tx, me| rooms::create(tx, me, &name, private)).await?;
    Ok(json!({ "room": room }))
}

async fn open_direct(fields: &Fields, socket: &UserSocket) -> Result<Value, Failure> {
    let user_id = fields.id("user_id")?;
    let room = socket.write(move |tx, me| rooms::open_direct(tx, me, &user_id)).await?;
    Ok(json!({ "room": room }))
}

fn invitation(tx: &mut Tx<'_>, me: &str, room_id: &str) -> Result<Value, Failure> {
    let (code, expires_at) = invitations::make(tx, me, room_id)?;
    Ok(json!({ "code": code, "expires_at": expires_at }))
}

async fn accept(fields: &Fields, socket: &UserSocket) -> Result<Value, Failure> {
    let code = fields.id("code")?;
    let room = socket.write(move |tx, me| invitations::accept(tx, me, &code)).await?;
    Ok(json!({ "room": room }))
}

async fn read(fields: &Fields, socket: &UserSocket) -> Result<Value, Failure> {
    let (room_id, id) = (fields.id("room_id")?, fields.number("id")?);
    socket.write(move |tx, me| reads::read(tx, me, &room_id, id)).await.map(done)
}

async fn find(fields: &Fields, socket: &UserSocket) -> Result<Value, Failure> {
    let (text, room_id) = (fields.text("text")?, fields.optional_id("room_id")?);
    let before = fields.optional_number("before")?;
    socket.team.limits.search.take(socket.user_id.clone())?;
    let found = socket.read(move |tx, me| search::search(tx, me, &text, room_id.as_deref(), before));
    let (hits, more) = found.await?;
    let hits = hits.into_iter().map(|(room_id, message)| json!({ "room_id": room_id, "message": message }));
    Ok(json!({ "hits": hits.collect::<Vec<_>>(), "more": more }))
}
