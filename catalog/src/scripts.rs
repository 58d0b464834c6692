//! Script versions: immutable, so loaded once and kept as long as memory allows.

use std::sync::Arc;

use proto::{ScriptHash, WorkspaceId};

use crate::open::Catalog;
use crate::{CatalogError, Script, blobs};

impl Catalog {
    /// One version of a script, with its source. From memory, else from the store.
    ///
    /// # Errors
    /// [`CatalogError::Unavailable`] when it is not in memory and NATS is away.
    pub async fn script(
        &self,
        workspace: &WorkspaceId,
        hash: ScriptHash,
    ) -> Result<Option<Arc<Script>>, CatalogError> {
        let key = Script::key_of(workspace, hash);
        let name = key.to_string();
        if let Some(script) = self.scripts.get(&name).await {
            return Ok(Some(script));
        }
        let stored = self.store.read::<Script>(&key).await?;
        let Some(mut script) = stored.and_then(|(_, script)| script) else { return Ok(None) };
        if let Some(blob) = &script.content_blob {
            script.script.content = blobs::get(self.store.broker(), blob).await?;
        }
        let script = Arc::new(script);
        self.scripts.insert(name, Arc::clone(&script)).await;
        Ok(Some(script))
    }
}
