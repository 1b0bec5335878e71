//! WebSocket frames.

use hinotori_protocol::{
    frames::{Frames, Incoming},
    reason::Closed,
    wire::compression::Agreement,
};

const MAX_FRAME: usize = 100;
const MAX_MESSAGE: usize = 500;

/// The longest control frame, which has its own limit, plus its header.
const CONTROL: usize = 125 + 14;

/// The first byte selects how the rest is cut into reads. Checks that the result does not depend on the cuts, that
/// nothing is read after the end, and that no more than one frame and one message is held, with and without
/// compression.
pub fn frames(data: &[u8]) {
    let Some((&size, bytes)) = data.split_first() else { return };
    let pieces: Vec<&[u8]> = bytes.chunks(usize::from(size).max(1)).collect();
    check(&pieces, bytes, || Frames::new(MAX_FRAME, MAX_MESSAGE));
    check(&pieces, bytes, || {
        Frames::new(MAX_FRAME, MAX_MESSAGE).with_inflate(Agreement::default().inflate())
    });
}

fn check(pieces: &[&[u8]], bytes: &[u8], frames: impl Fn() -> Frames) {
    let whole = read(frames(), &[bytes]);
    assert_eq!(read(frames(), pieces), whole);
    let is_end = |incoming: &Incoming| matches!(incoming, Incoming::Close(_) | Incoming::Broken(_));
    assert!(whole.iter().rev().skip(1).all(|incoming| !is_end(incoming)), "{whole:?}");
    for incoming in whole {
        match incoming {
            Incoming::Text(text) => {
                assert!(text.len() <= MAX_MESSAGE);
            }
            Incoming::Binary(data) => assert!(data.len() <= MAX_MESSAGE),
            Incoming::Ping(data) => assert!(data.len() <= 125),
            Incoming::Broken(why) => {
                let may_be = [Closed::Protocol, Closed::InvalidText, Closed::Inflate, Closed::TooBig];
                assert!(may_be.contains(&why));
            }
            Incoming::Pong | Incoming::Close(_) => {}
        }
    }
}

fn read(mut frames: Frames, pieces: &[&[u8]]) -> Vec<Incoming> {
    let mut read = vec![];
    for mut piece in pieces.iter().copied() {
        read.extend(std::iter::from_fn(|| frames.next(&mut piece)));
        assert!(frames.held() <= CONTROL + MAX_MESSAGE, "{} bytes held", frames.held());
    }
    read
}
