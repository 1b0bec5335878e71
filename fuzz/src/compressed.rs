//! Compressed messages.

use hinotori_protocol::wire::{
    Frame, Opcode,
    compression::{Agreement, Inflate, InflateError, Window},
};
use miniz_oxide::inflate::{TINFLStatus, decompress_to_vec_with_limit};

/// More than any input of 4 KiB inflates to without being a bomb.
const LIMIT: usize = 64 * 1024;

/// What a client omits at the end of a message, and the end of a stream.
const TAIL: [u8; 9] = [0, 0, 0xff, 0xff, 1, 0, 0, 0xff, 0xff];

/// The first byte selects a client's window, the second a limit, and the rest is a payload. Checks that the result
/// stays within the limit, does not depend on the limit, and agrees with another implementation. Also compresses the
/// rest as a message and inflates it again.
pub fn inflate(data: &[u8]) {
    let Some((&[bits, limit], payload)) = data.split_first_chunk::<2>() else { return };
    let limit = usize::from(limit) * 8;
    let read = client(bits).inflate(payload, LIMIT);
    match &read {
        Ok(message) if message.len() <= limit => {
            assert_eq!(client(bits).inflate(payload, limit), read);
        }
        Ok(_) | Err(InflateError::TooBig) => {
            assert_eq!(client(bits).inflate(payload, limit), Err(InflateError::TooBig));
        }
        Err(InflateError::Malformed) => assert!(client(bits).inflate(payload, limit).is_err()),
    }
    if !payload.is_empty() {
        let other = decompress_to_vec_with_limit(&[payload, &TAIL].concat(), LIMIT);
        match (&read, other) {
            // the other implementation stops at the end of a stream, but a message may continue after it
            (Ok(message), other) => assert!(message.starts_with(&other.expect("it is DEFLATE"))),
            (Err(InflateError::TooBig), Err(error)) => assert_eq!(error.status, TINFLStatus::HasMoreOutput),
            (Err(_), _) => {}
        }
    }
    // together with what was read before
    let mut client = client(bits);
    for message in [b"before", payload, payload] {
        comes_back(&mut client, message);
        let _ = client.inflate(payload, LIMIT);
    }
}

fn client(bits: u8) -> Inflate {
    let offer = format!("permessage-deflate; client_max_window_bits={}", 8 + bits % 8);
    Agreement::negotiate([offer.as_bytes()]).expect("the offer can be met").inflate()
}

/// Checks that a message compressed with any window inflates to the same message.
fn comes_back(client: &mut Inflate, message: &[u8]) {
    let frame = Frame::of(Opcode::Binary, message);
    for window in Window::ALL {
        let Some(compressed) = frame.deflated(window) else { continue };
        assert!(compressed.size() < frame.size());
        let payload = compressed.into_message().concat();
        assert_eq!(client.inflate(&payload, message.len()).as_deref(), Ok(message));
    }
}
