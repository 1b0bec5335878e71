//! Rooms: a chat for a team, on hinotori. `README.md` has the map of the files, `PROTOCOL.md` what clients send and receive.
//!
//! ```text
//! user_socket, team_channel, user_channel, room_channel    what clients send and receive
//! http                                                     sessions, pictures, the page
//! domain                                                   what the application does, and who may do it
//! tables                                                   SQL
//! store                                                    transactions, on SQLite or PostgreSQL
//! ```

mod answer;
pub mod clock;
pub mod demo;
pub mod domain;
pub mod failure;
pub mod fields;
pub mod http;
pub mod ids;
pub mod limits;
pub mod passwords;
pub mod room_channel;
pub mod server;
mod session_watch;
pub mod settings;
pub mod store;
mod tables;
pub mod team;
pub mod team_channel;
pub mod topics;
pub mod user_channel;
pub mod user_socket;
