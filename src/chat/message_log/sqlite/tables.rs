//! What is read from the tables.

use rusqlite::{Connection, OptionalExtension, Result, Row};

use super::super::{
    super::{
        LOBBY,
        history::Limit,
        message::{Likes, Message},
    },
    Liked, Page, Snapshot, damaged,
};

/// The columns that [`decode`] and [`within`] read.
macro_rules! columns {
    ($rest:literal) => {
        concat!("SELECT id, body, likes, rev, posted_rev, created_at FROM messages ", $rest)
    };
}

/// Likes that a history begins with.
const LIKED: i64 = 4_096;

/// How far the topic has come, and in which life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) epoch: u64,
    pub(super) last_id: u64,
    pub(super) last_rev: u64,
}

pub(super) fn head(connection: &Connection) -> Result<Head> {
    let mut topic =
        connection.prepare_cached("SELECT epoch, last_id, last_rev FROM topics WHERE topic = ?1")?;
    topic.query_row([LOBBY], |row| {
        Ok(Head { epoch: number(row, 0)?, last_id: number(row, 1)?, last_rev: number(row, 2)? })
    })
}

/// What a history begins with: of the newest messages, those that were not posted before `since`, in microseconds. Makes the
/// topic if it is not there.
pub(super) fn open(connection: &Connection, since: i64, limit: Limit) -> Result<(Head, Snapshot)> {
    connection.execute(
        "INSERT INTO topics VALUES (?1, 0, 0, (random() & 0x7fffffffffffffff) % 0x1ffffffffffffe + 1)
         ON CONFLICT DO NOTHING",
        [LOBBY],
    )?;
    let head = head(connection)?;
    let Head { epoch, last_id, last_rev } = head;
    let newest = before(connection, None, since, limit)?;
    let snapshot = Snapshot { epoch, last_id, last_rev, newest, liked: liked(connection)? };
    Ok((head, snapshot))
}

/// The newest likes, one for each message, the oldest of them first.
fn liked(connection: &Connection) -> Result<Vec<Liked>> {
    let mut select = connection.prepare(
        "SELECT id, likes, rev FROM messages WHERE topic = ?1 AND likes > 0 ORDER BY rev DESC LIMIT ?2",
    )?;
    let mut liked: Vec<Liked> = select.query_map((LOBBY, LIKED), like)?.collect::<Result<_>>()?;
    liked.reverse();
    Ok(liked)
}

fn like(row: &Row<'_>) -> Result<Liked> {
    Ok(Liked { id: number(row, 0)?, count: number(row, 1)?, rev: number(row, 2)? })
}

/// The newest messages, with an id smaller than `id` if there is one, that were not posted before `since`, within a limit, the
/// oldest of them first.
pub(super) fn before(
    connection: &Connection,
    id: Option<u64>,
    since: i64,
    limit: Limit,
) -> Result<Vec<Message>> {
    let mut select = connection.prepare_cached(columns!("WHERE topic = ?1 AND id < ?2 ORDER BY id DESC"))?;
    let id = id.map_or(i64::MAX, |id| i64::try_from(id).unwrap_or(i64::MAX));
    let (mut newest, _) = within(&mut select.query((LOBBY, id))?, since, limit)?;
    newest.reverse();
    Ok(newest)
}

/// What came after a cursor.
pub(super) fn after(connection: &mut Connection, id: u64, rev: u64, limit: Limit) -> Result<Page> {
    let (id, rev) = (id.cast_signed(), rev.cast_signed());
    // one snapshot for all of it
    let connection = connection.transaction()?;
    let Head { epoch, last_id, last_rev } = head(&connection)?;
    let mut select = connection.prepare_cached(columns!("WHERE topic = ?1 AND id > ?2 ORDER BY id"))?;
    let (posted, damaged) = within(&mut select.query((LOBBY, id))?, i64::MIN, limit)?;
    let mut select = connection
        .prepare_cached(columns!("WHERE topic = ?1 AND likes > 0 AND rev > ?2 AND id <= ?3 ORDER BY rev"))?;
    let (mut liked, mut rows) = (Vec::new(), select.query((LOBBY, rev, id))?);
    while liked.len() < limit.messages
        && let Some(row) = rows.next()?
    {
        liked.extend(decode(row)?);
    }
    let first = "SELECT coalesce(min(id), ?2) FROM messages WHERE topic = ?1";
    let none = last_id.cast_signed() + 1;
    let first_id = connection.prepare_cached(first)?.query_row((LOBBY, none), |row| number(row, 0))?;
    Ok(Page { epoch, first_id, last_id, last_rev, posted, liked, damaged })
}

/// The first of the rows, up to one that was posted before `since`, as many as are within a limit; one of any length. Also the
/// ids of those between them that are damaged.
fn within(rows: &mut rusqlite::Rows<'_>, since: i64, limit: Limit) -> Result<(Vec<Message>, Vec<u64>)> {
    let (mut messages, mut damaged, mut bytes) = (Vec::new(), Vec::new(), 0);
    while messages.len() < limit.messages
        && let Some(row) = rows.next()?
    {
        if row.get::<_, i64>(5)? < since {
            break;
        }
        let Some(message) = decode(row)? else {
            damaged.push(number(row, 0)?);
            continue;
        };
        bytes += message.json().len();
        if bytes > limit.bytes && !messages.is_empty() {
            break;
        }
        messages.push(message);
    }
    Ok((messages, damaged))
}

/// One message, unless it is damaged.
pub(super) fn message(connection: &Connection, id: i128) -> Result<Option<Message>> {
    let Ok(id) = i64::try_from(id) else { return Ok(None) };
    let mut select = connection.prepare_cached(columns!("WHERE topic = ?1 AND id = ?2"))?;
    Ok(select.query_row((LOBBY, id), decode).optional()?.flatten())
}

/// The message of a row; none if it is damaged, which is reported.
fn decode(row: &Row<'_>) -> Result<Option<Message>> {
    let (id, body) = (number(row, 0)?, row.get_ref(1)?.as_str().ok());
    let likes = Likes { count: number(row, 2)?, rev: number(row, 3)?, posted_rev: number(row, 4)? };
    let message = body.and_then(|body| Message::from_body(id, body, likes));
    if message.is_none() {
        damaged(id);
    }
    Ok(message)
}

/// A column that is never negative.
pub(super) fn number(row: &Row<'_>, column: usize) -> Result<u64> {
    row.get::<_, i64>(column).map(i64::cast_unsigned)
}
