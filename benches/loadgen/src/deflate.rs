//! permessage-deflate (RFC 7692), from the client's side: it is offered as browsers offer it, and messages are sent plain.

use std::io;

use flate2::{Decompress, FlushDecompress};

/// What a handshake's request says to offer it.
pub(crate) const OFFER: &str = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n";

/// What ends each message and is not sent: RFC 7692, 7.2.1.
pub(crate) const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];

/// Bytes for which there is always room when inflating.
const ROOM: usize = 4096;

/// Reads a server's compressed messages.
#[derive(Debug)]
pub(crate) struct Inflater {
    stream: Decompress,
    /// Whether each message is compressed by itself.
    forgets: bool,
    text: Vec<u8>,
}

impl Inflater {
    /// What a handshake's response calls for: nothing if the server declined the offer.
    pub(crate) fn agreed(head: &[u8]) -> Option<Self> {
        let head = String::from_utf8_lossy(head).to_ascii_lowercase();
        let mut lines = head.lines().filter_map(|line| line.strip_prefix("sec-websocket-extensions:"));
        let extension = lines.find(|line| line.contains("permessage-deflate"))?;
        let forgets = extension.contains("server_no_context_takeover");
        Some(Self { stream: Decompress::new(false), forgets, text: vec![] })
    }

    /// What a message's payload says.
    pub(crate) fn inflate(&mut self, payload: &[u8]) -> io::Result<&[u8]> {
        if self.forgets {
            self.stream.reset(false);
        }
        self.text.clear();
        for mut input in [payload, &TAIL] {
            loop {
                self.text.reserve(ROOM);
                let read = self.stream.total_in();
                self.stream.decompress_vec(input, &mut self.text, FlushDecompress::Sync)?;
                input = &input[(self.stream.total_in() - read) as usize..];
                // room that is left says that nothing waits for it
                if input.is_empty() && self.text.len() < self.text.capacity() {
                    break;
                }
            }
        }
        Ok(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use flate2::{Compress, Compression, FlushCompress};

    use super::*;

    fn deflate(stream: &mut Compress, text: &[u8]) -> Vec<u8> {
        let mut payload = Vec::with_capacity(text.len() + 1024);
        stream.compress_vec(text, &mut payload, FlushCompress::Sync).unwrap();
        payload.truncate(payload.len() - TAIL.len());
        payload
    }

    #[test]
    fn messages_come_out_as_they_went_in_with_context_takeover_and_without() {
        let texts =
            [b"".to_vec(), b"hello hello hello".to_vec(), b"hello ".repeat(10_000), b"hello".to_vec()];
        for takeover in [true, false] {
            let extension = if takeover { "" } else { "; server_no_context_takeover" };
            let head =
                format!("HTTP/1.1 101\r\nSec-Websocket-Extensions: permessage-deflate{extension}\r\n\r\n");
            let mut inflater = Inflater::agreed(head.as_bytes()).unwrap();
            let mut stream = Compress::new(Compression::default(), false);
            for text in &texts {
                if !takeover {
                    stream.reset();
                }
                assert_eq!(inflater.inflate(&deflate(&mut stream, text)).unwrap(), text);
            }
        }
    }

    #[test]
    fn a_server_that_does_not_answer_the_offer_does_not_compress() {
        assert!(
            Inflater::agreed(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n").is_none()
        );
    }
}
