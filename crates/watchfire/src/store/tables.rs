//! Tables, made when they are missing.

use tokio_postgres::{Error, GenericClient};

/// Makes tables (and indexes), unless all of these names are there.
///
/// `CREATE TABLE IF NOT EXISTS` would do for whoever may create tables; PostgreSQL looks at that right first, and refuses
/// whoever has no more than the rights to read and write.
pub(crate) async fn make_tables(client: &impl GenericClient, names: &[&str], schema: &str) -> Result<(), Error> {
    let all = "SELECT bool_and(to_regclass(name) IS NOT NULL) FROM unnest($1::text[]) AS name";
    match client.query_one(all, &[&names]).await?.get(0) {
        true => Ok(()),
        false => client.batch_execute(schema).await,
    }
}
