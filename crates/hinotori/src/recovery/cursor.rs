//! Where a client stopped reading.

use serde::Deserialize;

use super::{MAX_MESSAGES, Missed};
use crate::wire::{InvalidPayload, Payload};

/// Where a client that recovers stopped reading. [`Context::recover`](crate::Context::recover) returns it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor {
    last_seen_id: u64,
    epoch: Option<u64>,
}

#[derive(Deserialize)]
struct LastSeen {
    last_seen_id: Option<u64>,
}

#[derive(Deserialize)]
struct Epoch {
    epoch: Option<u64>,
}

impl Cursor {
    /// A cursor to test a source with.
    #[must_use]
    pub fn new(last_seen_id: u64, epoch: Option<u64>) -> Self {
        Self { last_seen_id, epoch }
    }

    /// Reads it from the payload of a join; `None` if there is none.
    pub(crate) fn read(payload: &Payload) -> Result<Option<Self>, InvalidPayload> {
        // serde would take an array for the fields of a struct
        if !payload.is_object() {
            return Ok(None);
        }
        let LastSeen { last_seen_id: Some(last_seen_id) } = payload.parse()? else { return Ok(None) };
        let Epoch { epoch } = payload.parse()?;
        Ok(Some(Self { last_seen_id, epoch }))
    }

    /// The position of the last message that the client has; 0 if it has none.
    #[must_use]
    pub fn last_seen_id(self) -> u64 {
        self.last_seen_id
    }

    /// The epoch of the history that the client has; `None` if it has none.
    #[must_use]
    pub fn epoch(self) -> Option<u64> {
        self.epoch
    }

    /// How many messages after [`last_seen_id`](Self::last_seen_id) a client is to be given by a source with this epoch
    /// and newest position, at most [`MAX_MESSAGES`]. A source that is slow to read can ask this first.
    ///
    /// ```
    /// use hinotori::recovery::{Cursor, Missed};
    ///
    /// let cursor = Cursor::new(5, Some(42));
    /// assert_eq!(cursor.missing(42, 7), Ok(2));
    /// assert_eq!(cursor.missing(42, 4), Err(Missed::Ahead));
    /// assert_eq!(cursor.missing(42, 5_000), Err(Missed::TooOld));
    /// assert_eq!(cursor.missing(43, 7), Err(Missed::Epoch));
    /// ```
    ///
    /// # Errors
    /// [`Missed::Epoch`] if the client's epoch is another one, [`Missed::Ahead`] if it has seen a later position,
    /// [`Missed::TooOld`] if it missed more than a reply may have.
    pub fn missing(self, epoch: u64, last_id: u64) -> Result<usize, Missed> {
        if self.epoch != Some(epoch) {
            return Err(Missed::Epoch);
        }
        let missing = last_id.checked_sub(self.last_seen_id).ok_or(Missed::Ahead)?;
        let missing = usize::try_from(missing).unwrap_or(usize::MAX);
        if missing > MAX_MESSAGES { Err(Missed::TooOld) } else { Ok(missing) }
    }
}
