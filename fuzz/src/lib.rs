//! What the fuzz targets check: more than that nothing panics.
//!
//! The parsers are private, and the server around them takes minutes to build with coverage. So their source files are
//! compiled here once more, by their paths: nothing of the product knows of the fuzzer, and nothing else is built.

#![allow(dead_code, unused_imports, unreachable_pub, reason = "only a part of these modules is used here")]

#[path = "../../src/transport/frames.rs"]
mod frames;
mod messages;
mod signed;
mod socket;
mod stream;
mod telemetry;
#[path = "../../src/token.rs"]
mod token;
#[path = "../../src/wire/mod.rs"]
mod wire;

pub use messages::{longpoll_body, v1_text, v2_binary, v2_text};
pub use signed::token;
pub use stream::frames;
