//! The database: SQLite or PostgreSQL, by the same statements.
//!
//! The work on it is written as functions of a transaction, [`Tx`], which block. [`Store`] runs them on threads of its own: one
//! writes, others read. What a transaction [broadcasts](Tx::broadcast) goes out on the thread that writes, right after the
//! commit. So the broadcasts of a node are in the order of its commits, and nobody is told of what may still be taken back.

mod address;
mod health;
mod lane;
mod postgres;
mod schema;
mod session;
mod sqlite;
mod tx;
mod value;

use std::sync::Arc;

use hinotori::Endpoint;

pub use address::{Address, InvalidAddress};
pub use health::Health;
use lane::Lane;
use postgres::{Postgres, Sharing};
use session::{Access, Session};
pub use session::{DbError, Dialect};
use sqlite::Sqlite;
pub use tx::Tx;
pub use value::{FromValue, Row, Value};

use crate::failure::Failure;

/// Threads that read PostgreSQL. SQLite has one.
const READERS: usize = 3;

/// The database. Cheap to clone, usable from any thread.
#[derive(Debug, Clone)]
pub struct Store {
    writer: Arc<Lane>,
    reader: Arc<Lane>,
    health: Health,
}

impl Store {
    /// Opens the database, and brings its tables to this version. The endpoint broadcasts what transactions say; `health` is
    /// told how they end.
    ///
    /// `is_node` lets other servers write to it as well. They must be nodes of the same cluster.
    ///
    /// # Errors
    /// Why it cannot be opened, without the password.
    pub fn open(
        address: &Address,
        is_node: bool,
        endpoint: &Endpoint,
        health: Health,
    ) -> Result<Self, String> {
        let (writer, readers): (_, Vec<lane::Open>) = match address {
            Address::Sqlite(file) if is_node => {
                let file = file.display();
                return Err(format!(
                    "nodes cannot share {file}: set --store postgres://…, or remove --cluster"
                ));
            }
            Address::Sqlite(file) => {
                let (to_write, to_read) = (file.clone(), file.clone());
                (open(move || Sqlite::writer(&to_write)), vec![open(move || Sqlite::reader(&to_read))])
            }
            Address::Postgres(dsn) => {
                let target = dsn.target("rooms").map_err(|error| error.to_string())?;
                let open = |sharing| {
                    let target = target.clone();
                    open(move || Postgres::open(target, sharing))
                };
                let sharing = if is_node { Sharing::Nodes } else { Sharing::Alone };
                (open(sharing), (0..READERS).map(|_| open(Sharing::Reader)).collect())
            }
        };
        // the writer makes the tables that the readers need
        let writer = Arc::new(Lane::start("store-write", vec![writer], endpoint)?);
        Ok(Self { writer, reader: Arc::new(Lane::start("store-read", readers, endpoint)?), health })
    }

    /// Runs a transaction that writes. If `work` fails, nothing of it stays.
    ///
    /// # Errors
    /// What `work` returns; [`Failure::Unavailable`] if the database failed. If that was during the commit, the work may have
    /// been done, and nothing was broadcast.
    pub async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Tx<'_>) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        let written = self.writer.run(Access::Write, work).await;
        self.health.note(&written);
        written
    }

    /// Runs a transaction that reads: all statements of it see the database at the same moment.
    ///
    /// # Errors
    /// What `work` returns; [`Failure::Unavailable`] if the database failed.
    pub async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Tx<'_>) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        self.reader.run(Access::Read, work).await
    }
}

/// Opens a connection, on the thread that has it.
fn open<S: Session + 'static>(connect: impl FnOnce() -> Result<S, String> + Send + 'static) -> lane::Open {
    Box::new(move || Ok(Box::new(connect()?)))
}
