//! The tables, made and brought to this version.

use tokio_postgres::{Client, GenericClient};

use super::failure::Failure;

/// What leads from each version of the tables to the next: the row of `schema_version` is how many of them have been run.
const VERSIONS: [&str; 1] = [include_str!("schema_1.sql")];

/// The advisory lock of whoever changes tables.
const CHANGES: i32 = i32::from_be_bytes(*b"tabl");

/// Makes the tables those of this version, all at once or not at all.
pub(super) async fn migrate(client: &mut Client) -> Result<(), Failure> {
    let transaction = client.transaction().await?;
    // other servers may start at the same time, and an index takes its time
    transaction.batch_execute("SET LOCAL statement_timeout = 0").await?;
    let lock = "SELECT pg_advisory_xact_lock($1, hashtext(current_schema()))";
    transaction.query_one(lock, &[&CHANGES]).await?;
    let known = i32::try_from(VERSIONS.len()).unwrap_or(i32::MAX);
    let found = version(&transaction).await?;
    if found > known {
        return Err(Failure::Newer { found, known });
    }
    for (version, sql) in (1..).zip(VERSIONS).skip_while(|(version, _)| *version <= found) {
        transaction.batch_execute(sql).await?;
        let set = format!("DELETE FROM schema_version; INSERT INTO schema_version VALUES ({version})");
        transaction.batch_execute(&set).await?;
    }
    Ok(transaction.commit().await?)
}

/// The tables are there, and those of this version.
pub(super) async fn is_current(client: &Client) -> Result<(), Failure> {
    let known = i32::try_from(VERSIONS.len()).unwrap_or(i32::MAX);
    match version(client).await? {
        found if found == known => Ok(()),
        0 => Err(Failure::Missing),
        found if found > known => Err(Failure::Newer { found, known }),
        _ => Err(Failure::Older),
    }
}

/// The version of the tables; 0 if there are none.
async fn version(client: &impl GenericClient) -> Result<i32, Failure> {
    // tables elsewhere on the search path are another chat's
    let find =
        "SELECT EXISTS (SELECT FROM pg_tables WHERE schemaname = current_schema() AND tablename = ANY($1))";
    let has = async |tables: &[&str]| client.query_one(find, &[&tables]).await?.try_get::<_, bool>(0);
    match (has(&["schema_version"]).await?, has(&["topics", "messages", "writers"]).await?) {
        (false, false) => Ok(0),
        (true, true) => {
            let row = client.query_one("SELECT max(version) FROM schema_version", &[]).await?;
            row.try_get::<_, Option<i32>>(0)?.ok_or(Failure::Foreign)
        }
        _ => Err(Failure::Foreign),
    }
}
