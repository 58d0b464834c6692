//! Bodies too large for a record, in the object store `BLOBS` under their own SHA-256:
//! the same body is stored once, and what is read is checked against its name.

use broker::Broker;
use broker::names::BLOBS_BUCKET;
use proto::bearer::sha256;
use tokio::io::AsyncReadExt;
use tokio::time::timeout;

use crate::CatalogError;

/// A body over this is stored as a blob.
pub(crate) const INLINE_MAX_BYTES: usize = 64 * 1024;
/// The largest source of a script.
pub(crate) const MAX_BODY_BYTES: usize = 8 << 20;
/// A body of 8 MiB takes 64 acknowledged chunks.
const TRANSFER_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(10);

/// Stores a body and returns its name.
pub(crate) async fn put(broker: &Broker, body: &str) -> Result<String, CatalogError> {
    let name = hex::encode(sha256(body.as_bytes()));
    let store = async {
        let bucket = broker.jetstream().get_object_store(BLOBS_BUCKET).await.map_err(unavailable)?;
        if bucket.info(&name).await.is_ok_and(|info| !info.deleted && info.size == body.len()) {
            return Ok(());
        }
        bucket.put(name.as_str(), &mut body.as_bytes()).await.map(drop).map_err(unavailable)
    };
    bounded(store).await?;
    Ok(name)
}

/// Reads a body back.
pub(crate) async fn get(broker: &Broker, name: &str) -> Result<String, CatalogError> {
    let load = async {
        let bucket = broker.jetstream().get_object_store(BLOBS_BUCKET).await.map_err(unavailable)?;
        let mut object = bucket.get(name).await.map_err(unavailable)?;
        let mut body = Vec::with_capacity(object.info().size.min(MAX_BODY_BYTES));
        object.read_to_end(&mut body).await.map_err(unavailable)?;
        Ok(body)
    };
    let body = bounded(load).await?;
    let malformed = |why: &str| CatalogError::Malformed { key: format!("blob {name}"), why: why.to_owned() };
    if hex::encode(sha256(&body)) != name {
        return Err(malformed("its SHA-256 is another"));
    }
    String::from_utf8(body).map_err(|_| malformed("it is not UTF-8"))
}

async fn bounded<T>(work: impl Future<Output = Result<T, CatalogError>>) -> Result<T, CatalogError> {
    let late =
        |_| CatalogError::Unavailable(format!("a blob took longer than {} s", TRANSFER_TIMEOUT.as_secs()));
    timeout(TRANSFER_TIMEOUT, work).await.map_err(late)?
}

fn unavailable(error: impl std::fmt::Display) -> CatalogError {
    CatalogError::Unavailable(error.to_string())
}
