//! PostgreSQL: a database that several nodes share.

use std::{collections::HashMap, future::poll_fn, task::ready, time::Duration};

use bytes::BytesMut;
use hinotori::cluster::Backoff;
use hinotori_postgres::Target;
use tokio::{
    runtime::{Builder, Runtime},
    task::JoinHandle,
    time::{Instant, timeout},
};
use tokio_postgres::{
    Client, Connection, Socket, Statement,
    tls::TlsStream,
    types::{IsNull, ToSql, Type, to_sql_checked},
};

use super::{
    Row, Value, schema,
    session::{Access, DbError, Dialect, Session},
};

/// How long the database may take to answer; its own time limit for a statement is 3 s.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long bringing the tables to this version may take.
const MIGRATION: Duration = Duration::from_secs(300);

/// The advisory locks of servers that write, and of those that change tables.
const WRITES: i32 = i32::from_be_bytes(*b"room");
const CHANGES: i32 = i32::from_be_bytes(*b"tabl");

/// Who else may write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sharing {
    /// Nobody: clients of the other server would not be notified.
    Alone,
    /// Other nodes.
    Nodes,
    /// It does not write.
    Reader,
}

/// A connection, made again when it is lost.
pub(super) struct Postgres {
    target: Target,
    sharing: Sharing,
    runtime: Runtime,
    link: Option<Link>,
    backoff: Backoff,
    not_before: Instant,
}

/// An open connection with its prepared statements.
struct Link {
    client: Client,
    statements: HashMap<&'static str, Statement>,
    driver: JoinHandle<()>,
}

impl Drop for Link {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Postgres {
    /// Connects once, and brings the tables to this version if it writes.
    pub(super) fn open(target: Target, sharing: Sharing) -> Result<Self, String> {
        let runtime =
            Builder::new_current_thread().enable_all().build().map_err(|error| error.to_string())?;
        let mut postgres = Self {
            target,
            sharing,
            runtime,
            link: None,
            backoff: Backoff::default(),
            not_before: Instant::now(),
        };
        let link = postgres.runtime.block_on(Link::connect(&postgres.target, sharing));
        let failed = |error| format!("cannot open {}: {error}", postgres.target.name);
        let link = link.map_err(failed)?;
        if sharing != Sharing::Reader {
            postgres.runtime.block_on(migrate(&link.client)).map_err(failed)?;
        }
        postgres.link = Some(link);
        Ok(postgres)
    }

    /// The connection, made again if it is lost; not more often than the backoff says.
    fn connected(&mut self) -> Result<(), DbError> {
        if self.link.as_ref().is_some_and(|link| !link.client.is_closed()) {
            return Ok(());
        }
        self.link = None;
        if Instant::now() < self.not_before {
            return Err(DbError::Unavailable("the connection is lost".to_owned()));
        }
        match self.runtime.block_on(Link::connect(&self.target, self.sharing)) {
            Ok(link) => {
                log::info!("event=store_connected database={:?}", self.target.name);
                self.backoff = Backoff::default();
                self.link = Some(link);
                Ok(())
            }
            Err(error) => {
                self.not_before = Instant::now() + self.backoff.next();
                log::warn!("event=store_lost database={:?} why={:?}", self.target.name, error.to_string());
                Err(error)
            }
        }
    }

    fn batch(&mut self, sql: &str) -> Result<(), DbError> {
        let lost = || DbError::Unavailable("the connection is lost".to_owned());
        let link = self.link.as_ref().ok_or_else(lost)?;
        let ran =
            self.runtime.block_on(within(PATIENCE, async { Ok(link.client.batch_execute(sql).await?) }));
        if ran.is_err() {
            // what state it is in is not known
            self.link = None;
        }
        ran
    }
}

impl Link {
    async fn connect(target: &Target, sharing: Sharing) -> Result<Self, DbError> {
        let (client, connection) =
            within(target.patience, async { Ok(target.config.connect(target.tls.clone()).await?) }).await?;
        let link = Self { client, statements: HashMap::new(), driver: tokio::spawn(drive(connection)) };
        within(PATIENCE, async {
            link.client.batch_execute(include_str!("session.sql")).await?;
            let sql = match sharing {
                Sharing::Alone => "SELECT pg_try_advisory_lock($1, hashtext(current_schema()))",
                Sharing::Nodes => "SELECT pg_try_advisory_lock_shared($1, hashtext(current_schema()))",
                Sharing::Reader => return Ok(()),
            };
            match link.client.query_one(sql, &[&WRITES]).await?.try_get(0)? {
                Some(true) => Ok(()),
                Some(false) => Err(DbError::Unavailable(
                    "another server has it open; make both nodes of one cluster with --cluster".to_owned(),
                )),
                None => Err(DbError::Statement("no schema of the search path exists".to_owned())),
            }
        })
        .await?;
        Ok(link)
    }

    async fn query(&mut self, sql: &'static str, values: &[Value]) -> Result<Vec<Row>, DbError> {
        let statement = match self.statements.get(sql) {
            Some(statement) => statement.clone(),
            None => {
                let statement = self.client.prepare(sql).await?;
                self.statements.insert(sql, statement.clone());
                statement
            }
        };
        let values: Vec<&(dyn ToSql + Sync)> = values.iter().map(|value| value as _).collect();
        let rows = self.client.query(&statement, &values).await?;
        rows.iter().map(read).collect()
    }
}

/// Drives the connection until either side ends it.
async fn drive<T: TlsStream + Unpin>(mut connection: Connection<Socket, T>) {
    poll_fn(|context| {
        while let Some(Ok(_)) = ready!(connection.poll_message(context)) {}
        std::task::Poll::Ready(())
    })
    .await;
}

async fn within<T>(limit: Duration, what: impl Future<Output = Result<T, DbError>>) -> Result<T, DbError> {
    let late = || DbError::Unavailable("it did not answer in time".to_owned());
    timeout(limit, what).await.unwrap_or_else(|_| Err(late()))
}

/// Brings the tables to this version, all at once or not at all. The newest row of `schema_version` is theirs.
async fn migrate(client: &Client) -> Result<(), DbError> {
    within(MIGRATION, async {
        client.batch_execute("BEGIN; SET LOCAL statement_timeout = 0").await?;
        // other nodes may start at the same time
        client.query_one("SELECT pg_advisory_xact_lock($1, hashtext(current_schema()))", &[&CHANGES]).await?;
        client.batch_execute("CREATE TABLE IF NOT EXISTS schema_version (version INTEGER NOT NULL)").await?;
        let row = client.query_one("SELECT coalesce(max(version), 0) FROM schema_version", &[]).await?;
        let found = row.try_get::<_, i32>(0)?.into();
        for (version, script) in schema::since(found, Dialect::Postgres).map_err(DbError::Statement)? {
            client.batch_execute(&script).await?;
            client.batch_execute(&format!("INSERT INTO schema_version VALUES ({version})")).await?;
        }
        Ok(client.batch_execute("COMMIT").await?)
    })
    .await
}

impl Session for Postgres {
    fn begin(&mut self, access: Access) -> Result<(), DbError> {
        self.connected()?;
        self.batch(match access {
            Access::Read => "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
            Access::Write => "BEGIN",
        })
    }

    fn commit(&mut self) -> Result<(), DbError> {
        self.batch("COMMIT")
    }

    fn rollback(&mut self) {
        // without a connection there is nothing to take back
        let _ = self.batch("ROLLBACK");
    }

    fn query(&mut self, sql: &'static str, values: &[Value]) -> Result<Vec<Row>, DbError> {
        let lost = || DbError::Unavailable("the connection is lost".to_owned());
        let link = self.link.as_mut().ok_or_else(lost)?;
        let found = self.runtime.block_on(within(PATIENCE, link.query(sql, values)));
        if let Err(DbError::Unavailable(_)) = found {
            self.link = None;
        }
        found
    }

    fn dialect(&self) -> Dialect {
        Dialect::Postgres
    }
}

fn read(row: &tokio_postgres::Row) -> Result<Row, DbError> {
    let values = row.columns().iter().enumerate().map(|(at, column)| {
        Ok(match *column.type_() {
            Type::INT8 => row.try_get::<_, Option<i64>>(at)?.into(),
            Type::INT4 => row.try_get::<_, Option<i32>>(at)?.map(i64::from).into(),
            Type::BOOL => row.try_get::<_, Option<bool>>(at)?.into(),
            Type::BYTEA => row.try_get::<_, Option<&[u8]>>(at)?.into(),
            _ => row.try_get::<_, Option<&str>>(at)?.into(),
        })
    });
    Ok(Row(values.collect::<Result<_, DbError>>()?))
}

impl ToSql for Value {
    fn to_sql(
        &self,
        of: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        match self {
            Self::Null => Ok(IsNull::Yes),
            Self::Integer(integer) => match *of {
                Type::INT4 => i32::try_from(*integer)?.to_sql(of, out),
                _ => integer.to_sql(of, out),
            },
            Self::Text(text) => text.to_sql(of, out),
            Self::Bytes(bytes) => bytes.to_sql(of, out),
        }
    }

    fn accepts(of: &Type) -> bool {
        [Type::INT8, Type::INT4, Type::TEXT, Type::VARCHAR, Type::BYTEA].contains(of)
    }

    to_sql_checked!();
}

impl From<tokio_postgres::Error> for DbError {
    fn from(error: tokio_postgres::Error) -> Self {
        match error.as_db_error() {
            // its details may have data in them
            Some(error) => {
                let text = format!("{} (SQLSTATE {})", error.message(), error.code().code());
                let is_passing =
                    ["08", "40", "53", "57"].iter().any(|class| error.code().code().starts_with(class));
                if is_passing { Self::Unavailable(text) } else { Self::Statement(text) }
            }
            None if error.is_closed()
                || std::error::Error::source(&error).is_some_and(|why| why.is::<std::io::Error>()) =>
            {
                Self::Unavailable(error.to_string())
            }
            None => Self::Statement(error.to_string()),
        }
    }
}
