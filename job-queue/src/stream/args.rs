//! Arguments above 256 KiB travel by reference: the object store holds them, the
//! envelope names them.

use std::time::Duration;

use async_nats::jetstream::object_store::GetErrorKind;
use broker::{Broker, names};
use bytes::Bytes;
use proto::{JobId, WorkspaceId};
use tokio::io::AsyncReadExt;
use uuid::Uuid;

use super::objects;
use crate::model::Args;

/// Larger arguments, of more bytes than this, go to the object store.
const INLINE: usize = 256 * 1024;

/// Whether arguments of so many bytes go there.
pub(crate) fn is_stored(bytes: usize) -> bool {
    bytes > INLINE
}

/// How long reading them may take.
const READ_WITHIN: Duration = Duration::from_secs(30);

/// Large arguments could not be stored or read.
#[derive(Debug, thiserror::Error)]
pub enum ArgsError {
    /// The store is away.
    #[error("the argument store is not available: {0}")]
    Unavailable(String),
    /// The object is gone or not what the envelope says.
    #[error("the stored arguments `{object}` cannot be used: {why}")]
    Lost {
        /// Its name.
        object: String,
        /// What is wrong.
        why: String,
    },
}

/// The object store of large arguments.
#[derive(Clone)]
pub struct ArgsStore(Broker);

impl ArgsStore {
    /// Over this connection.
    pub fn new(broker: Broker) -> Self {
        Self(broker)
    }

    /// Arguments ready for an envelope: small ones as they are, large ones stored first.
    ///
    /// # Errors
    /// The store is away.
    pub async fn keep(&self, workspace: &WorkspaceId, id: JobId, args: Bytes) -> Result<Args, ArgsError> {
        if !is_stored(args.len()) {
            return Ok(Args::Inline(args));
        }
        // an object of its own: the same job may be published by several callers at once, of whom one succeeds
        let nuid = Uuid::new_v4().simple().to_string();
        let object = format!("{}/{id}/{nuid}", workspace.token());
        let size = args.len() as u64;
        objects::put(&self.0, &object, &nuid, args).await.map_err(unavailable)?;
        Ok(Args::Stored { object, size })
    }

    /// Removes what was kept for a job that was not published after all. What cannot be removed is left to the
    /// [`crate::Collector`].
    pub async fn drop_kept(&self, args: &Args) {
        let Args::Stored { object, .. } = args else { return };
        if let Err(error) = objects::remove_named(&self.0, object).await {
            tracing::debug!(object, %error, "arguments that nobody needs stay for a while");
        }
    }

    /// The arguments themselves.
    ///
    /// # Errors
    /// The store is away, or the object is gone.
    pub async fn load(&self, args: &Args) -> Result<Bytes, ArgsError> {
        match args {
            Args::Inline(bytes) => Ok(bytes.clone()),
            Args::Stored { object, size } => {
                // a reader whose object is replaced meanwhile is not told
                let read = tokio::time::timeout(READ_WITHIN, self.read(object, *size)).await;
                read.unwrap_or_else(|_| {
                    Err(unavailable(format!("not read within {} s", READ_WITHIN.as_secs())))
                })
            }
        }
    }

    async fn read(&self, name: &str, size: u64) -> Result<Bytes, ArgsError> {
        let store = self.0.jetstream().get_object_store(names::ARGS_BUCKET).await.map_err(unavailable)?;
        let lost = |why: String| ArgsError::Lost { object: name.to_owned(), why };
        let object = match store.get(name).await {
            Ok(object) => object,
            Err(error) if error.kind() == GetErrorKind::NotFound => {
                let whole = objects::is_whole(&self.0, name).await.map_err(unavailable)?;
                return Err(if whole { unavailable(error) } else { lost("not found".to_owned()) });
            }
            Err(error) => return Err(unavailable(error)),
        };
        let mut bytes = Vec::new();
        // the reader checks the digest; the bound is the envelope's own word
        object.take(size + 1).read_to_end(&mut bytes).await.map_err(unavailable)?;
        let matches = bytes.len() as u64 == size;
        if matches { Ok(bytes.into()) } else { Err(lost(format!("{} bytes instead of {size}", bytes.len()))) }
    }
}

#[expect(clippy::needless_pass_by_value, reason = "the form `map_err` takes")]
fn unavailable(error: impl ToString) -> ArgsError {
    ArgsError::Unavailable(error.to_string())
}
