//! A room, as one of its members sees it.

use serde::Serialize;

/// Who may join a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Everyone.
    Public,
    /// Who is invited.
    Private,
    /// Two users, for ever.
    Direct,
}

impl Kind {
    /// Its name in the database, and on the wire.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Private => "private",
            Self::Direct => "direct",
        }
    }

    /// The kind of that name. A name that is none counts as private.
    #[must_use]
    pub fn of(name: &str) -> Self {
        match name {
            "public" => Self::Public,
            "direct" => Self::Direct,
            _ => Self::Private,
        }
    }
}

/// What is the same for all members of a room.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Shared {
    /// Its id.
    pub id: String,
    /// Its name. That of a direct room is empty.
    pub name: String,
    /// Who may join it.
    pub kind: Kind,
    /// The user who owns it.
    pub owner: String,
    /// The ids of its members.
    pub members: Vec<String>,
}

/// What one member has read of a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Read {
    /// The newest message, or 0.
    pub last_id: i64,
    /// Everything up to this message is read.
    pub last_read: i64,
    /// Messages of others after it, at most [`UNREAD_MAX`](super::reads::UNREAD_MAX).
    pub unread: i64,
    /// Those of them that mention the member.
    pub mentions: i64,
}

/// A room, as one of its members sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Room {
    /// What all members see.
    #[serde(flatten)]
    pub shared: Shared,
    /// What this one has read.
    #[serde(flatten)]
    pub read: Read,
}
