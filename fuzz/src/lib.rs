//! The properties that the fuzz targets check, beyond the absence of panics.

mod compressed;
mod messages;
mod nodes;
mod signed;
mod stream;
mod terms;

pub use compressed::inflate;
pub use messages::{longpoll_body, v1_text, v2_binary, v2_text};
pub use nodes::envelope;
pub use signed::token;
pub use stream::frames;
pub use terms::phoenix_token;
