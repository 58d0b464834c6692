//! Makes the catalog's stream and buckets, once per installation and again at each
//! start: creating what exists with the same configuration changes nothing.

use std::time::Duration;

use async_nats::jetstream::stream::{self, DiscardPolicy, RetentionPolicy, StorageType};
use broker::Broker;
use broker::names::{BLOBS_BUCKET, CATALOG_BUCKET, CATALOG_PREFIX, CATALOG_STREAM};

use crate::CatalogError;

/// How the streams are kept.
#[derive(Clone, Copy, Debug)]
pub struct Profile {
    /// Copies in a cluster, 1 to 5.
    pub replicas: usize,
}

/// How long it stays visible that a key has expired.
const EXPIRY_MARK: Duration = Duration::from_hours(1);

/// Creates or updates the stream `KV_CATALOG` and the object store `BLOBS`. The broker
/// must be connected as the `provision` user.
///
/// # Errors
/// [`CatalogError::Unavailable`] when NATS is away or refuses the configuration.
pub async fn provision(broker: &Broker, profile: Profile) -> Result<(), CatalogError> {
    let jetstream = broker.jetstream();
    for config in [catalog(profile), blobs(profile)] {
        let name = config.name.clone();
        let made = jetstream.create_or_update_stream(config).await;
        made.map_err(|error| CatalogError::Unavailable(format!("making the stream {name}: {error}")))?;
    }
    Ok(())
}

/// A NATS key-value bucket that takes atomic batches and single expiring keys.
fn catalog(profile: Profile) -> stream::Config {
    stream::Config {
        name: CATALOG_STREAM.to_owned(),
        description: Some(format!("hookmill definitions, key-value bucket {CATALOG_BUCKET}")),
        subjects: vec![format!("{CATALOG_PREFIX}>")],
        max_messages_per_subject: 1,
        deny_delete: true,
        allow_atomic_publish: true,
        allow_message_ttl: true,
        // an expired key leaves a mark that the watches of tables see
        subject_delete_marker_ttl: Some(EXPIRY_MARK),
        ..base(profile)
    }
}

fn blobs(profile: Profile) -> stream::Config {
    stream::Config {
        name: format!("OBJ_{BLOBS_BUCKET}"),
        description: Some("hookmill bodies named by their sha-256".to_owned()),
        subjects: vec![format!("$O.{BLOBS_BUCKET}.C.>"), format!("$O.{BLOBS_BUCKET}.M.>")],
        ..base(profile)
    }
}

fn base(profile: Profile) -> stream::Config {
    stream::Config {
        retention: RetentionPolicy::Limits,
        storage: StorageType::File,
        discard: DiscardPolicy::New,
        allow_rollup: true,
        allow_direct: true,
        num_replicas: profile.replicas,
        ..stream::Config::default()
    }
}
