//! What the programs of this workspace have in common: the settings of a server as flags or environment variables, and
//! serving an `App` as these say. Each program adds settings of its own and says where the groups of settings go.
//!
//! | file | contents |
//! |---|---|
//! | `listen.rs`, `clients.rs`, `limits.rs`, `drain.rs` | groups of settings, with what they mean to the library |
//! | `engine.rs`, `store_engine.rs` | what connects nodes, as the value of a setting |
//! | `secret.rs` | settings that may have a password in them |
//! | `command.rs` | other defaults for one program; its README against its settings |
//! | `program.rs` | the log, and the exit code |
//! | `server.rs` | serves until it is told to stop |
//! | `health_check.rs` | asks the server that runs with the same settings how it is |

mod clients;
mod command;
mod drain;
mod engine;
mod health_check;
mod limits;
mod listen;
mod program;
mod secret;
mod server;
mod store_engine;

pub use clients::Clients;
pub use command::{assert_readme_has, with_defaults};
pub use drain::Drain;
pub use engine::{ClusterName, Engine, InvalidEngine};
pub use health_check::health_check;
pub use limits::Limits;
pub use listen::Listen;
pub use program::{exit_code, start_log};
pub use secret::Secret;
pub use server::serve;
pub use store_engine::{InvalidStoreEngine, StoreEngine};

use clap::builder::RangedU64ValueParser;

/// Parses a number that is at least 1.
#[must_use]
pub fn positive() -> RangedU64ValueParser<usize> {
    RangedU64ValueParser::new().range(1..)
}
