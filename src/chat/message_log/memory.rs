//! Messages that are gone when the process ends.

use super::{
    super::{history::Limit, message::Message},
    Busy, Command, Committed, Done, MessageLog, OpenError, Settled,
};

/// Counts ids. What it knows of messages is what the commands bring with them: the history is all there is.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    last_id: u64,
}

impl MessageLog for Memory {
    fn open(&mut self, _: Limit) -> Result<Vec<Message>, OpenError> {
        Ok(Vec::new())
    }

    fn submit(&mut self, command: Command, done: Done) -> Result<Option<Settled>, Busy> {
        let committed = match command {
            Command::Post { draft, quote } => {
                self.last_id += 1;
                Committed::Posted(draft.message(self.last_id, quote.as_deref()))
            }
            Command::Like { known, .. } => {
                known.map_or(Committed::NotFound, |message| Committed::Liked(message.liked()))
            }
        };
        Ok(Some(done.at_once(committed)))
    }

    fn close(&mut self) {}
}

#[cfg(test)]
mod tests {
    use super::{super::suite, *};

    #[test]
    fn it_does_what_every_log_must() {
        suite::all(|| Box::new(Memory::default()));
    }
}
