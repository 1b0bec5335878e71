//! Both sides of a connection, after every possible agreement.

use bytes::Bytes;
use flate2::{Compress, Compression, FlushCompress};

use super::{Agreement, InflateError, Window, deflate, deflate::Incompressible, peer};

fn agreed(offer: &str) -> Agreement {
    Agreement::negotiate([offer.as_bytes()]).unwrap_or_else(|| panic!("{offer} is declined"))
}

/// What a client with a window of this many bits sends, with or without context takeover.
fn client(bits: u8, takes_over: bool) -> impl FnMut(&[u8]) -> Vec<u8> {
    let mut compressor = Compress::new_with_window_bits(Compression::best(), false, bits);
    move |message| {
        if !takes_over {
            compressor.reset();
        }
        let mut payload = Vec::with_capacity(message.len() + 100);
        compressor.compress_vec(message, &mut payload, FlushCompress::Sync).unwrap();
        payload.strip_suffix(&peer::TAIL).unwrap_or_default().to_vec()
    }
}

#[test]
fn what_is_sent_fits_the_window_that_was_agreed_on() {
    let history: String =
        (0..1_100).map(|at| format!(r#"{{"id":{at},"body":"message {}"}},"#, at * at)).collect();
    let message = [Bytes::from(history.clone())];
    for bits in 8..=15 {
        let window = agreed(&format!("permessage-deflate; server_max_window_bits={bits}")).window();
        let mut payload = vec![];
        deflate(window, &message, &mut payload).unwrap();
        assert_eq!(peer::read(&payload, 1 << bits), history.as_bytes(), "{bits} bits");
    }
    assert_eq!(agreed("permessage-deflate").window(), Window::Full);
    assert_eq!(deflate(Window::Full, &[], &mut vec![]), Err(Incompressible));
}

#[test]
fn what_comes_is_read_with_the_context_that_was_agreed_on_and_no_more() {
    let message = "a client that takes its context over says this in fewer bytes the second time".as_bytes();
    for bits in 9..=15 {
        let offer = format!("permessage-deflate; client_max_window_bits={bits}");
        let mut reader = agreed(&offer).inflate();
        let mut send = client(bits, true);
        let payloads = [send(message), send(message)];
        assert!(payloads[1].len() < payloads[0].len() / 4);
        for payload in &payloads {
            assert_eq!(reader.inflate(payload, message.len()).unwrap(), message, "{bits} bits");
        }
        let mut reader = agreed(&format!("{offer}; client_no_context_takeover")).inflate();
        assert_eq!(reader.inflate(&payloads[0], message.len()).unwrap(), message);
        assert_eq!(
            reader.inflate(&payloads[1], message.len()),
            Err(InflateError::Malformed),
            "it refers back"
        );
        let mut send = client(bits, false);
        for _ in 0..2 {
            assert_eq!(reader.inflate(&send(message), message.len()).unwrap(), message);
        }
    }
}

#[test]
fn a_client_may_refer_to_its_window_and_no_further() {
    // fixed Huffman codes: three bytes from 256 back
    let refers_back = b"\x02\xfa\x1f\x00";
    for (length, outcome) in [(255, Err(InflateError::Malformed)), (256, Ok("abc")), (257, Ok("bcd"))] {
        let mut reader = agreed("permessage-deflate; client_max_window_bits=8").inflate();
        let message: Vec<u8> = (b'a'..=b'z').cycle().take(length).collect();
        // in two parts, so that the second is at the end of a history
        let mut send = client(9, true);
        for message in [&message[..100], &message[100..]] {
            assert_eq!(reader.inflate(&send(message), 1_000).unwrap(), message);
        }
        assert_eq!(reader.inflate(refers_back, 1_000), outcome.map(Into::into), "after {length} bytes");
    }
    let mut reader = agreed("permessage-deflate; client_max_window_bits=9").inflate();
    let mut send = client(15, true);
    let unit: Vec<u8> = (0..200u8).collect();
    for (message, outcome) in [
        (&unit[..], Ok(())),
        (&[b'x'; 200], Ok(())),
        (&unit, Ok(())), // 400 bytes back
        (&[b'y'; 400], Ok(())),
        (&unit, Err(InflateError::Malformed)), // 600 bytes back
    ] {
        assert_eq!(reader.inflate(&send(message), 1_000).map(|read| assert_eq!(read, message)), outcome);
    }
}
