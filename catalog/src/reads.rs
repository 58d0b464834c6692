//! What is asked of the tables. Where a miss would be told to a caller as "there is no
//! such thing", the store itself is read again before that is said.

use std::sync::Arc;

use proto::{ScriptPath, TokenId, WorkspaceId};

use crate::open::Catalog;
use crate::table::{Table, WatchState};
use crate::{Account, CatalogError, Head, Key, Kind, Record, Schedule, Token, User, Workspace};

impl Catalog {
    /// The current version of a path; none when there is none or it is archived.
    ///
    /// # Errors
    /// [`CatalogError::Unavailable`] when it is not in the table and NATS is away.
    pub async fn resolve(
        &self,
        workspace: &WorkspaceId,
        path: &ScriptPath,
    ) -> Result<Option<Arc<Head>>, CatalogError> {
        let known = self.tables.heads.as_ref().and_then(|heads| heads.get(&Head::key_of(workspace, path)));
        match known.filter(|head| !head.archived) {
            Some(head) => Ok(Some(head)),
            None => Ok(self.head_in_store(workspace, path).await?.filter(|head| !head.archived)),
        }
    }

    /// The head of a path, an archived one too.
    ///
    /// # Errors
    /// [`CatalogError::Unavailable`] when it is not in the table and NATS is away.
    pub async fn head(
        &self,
        workspace: &WorkspaceId,
        path: &ScriptPath,
    ) -> Result<Option<Arc<Head>>, CatalogError> {
        self.look_up(self.tables.heads.as_ref(), &Head::key_of(workspace, path)).await
    }

    /// Every head of a workspace, archived ones too, in no order.
    ///
    /// # Errors
    /// [`CatalogError::Unavailable`] before the first load.
    pub fn heads(&self, workspace: &WorkspaceId) -> Result<Vec<Arc<Head>>, CatalogError> {
        let heads = loaded(self.tables.heads.as_ref(), Kind::Head)?.all();
        Ok(heads.into_iter().filter(|head| head.workspace == *workspace).collect())
    }

    /// Every schedule of a workspace, in no order.
    ///
    /// # Errors
    /// [`CatalogError::Unavailable`] before the first load.
    pub fn schedules(&self, workspace: &WorkspaceId) -> Result<Vec<Arc<Schedule>>, CatalogError> {
        let schedules = self.all_schedules()?;
        Ok(schedules.into_iter().filter(|schedule| schedule.workspace == *workspace).collect())
    }

    /// Every schedule of every workspace, in no order.
    ///
    /// # Errors
    /// [`CatalogError::Unavailable`] before the first load.
    pub fn all_schedules(&self) -> Result<Vec<Arc<Schedule>>, CatalogError> {
        Ok(loaded(self.tables.schedules.as_ref(), Kind::Schedule)?.all())
    }

    /// A workspace.
    ///
    /// # Errors
    /// [`CatalogError::Unavailable`] when it is not in the table and NATS is away.
    pub async fn workspace(&self, id: &WorkspaceId) -> Result<Option<Arc<Workspace>>, CatalogError> {
        self.look_up(self.tables.workspaces.as_ref(), &Workspace::key_of(id)).await
    }

    /// A workspace as it is now: from the table while its watch is live, else from the store, so that what
    /// bounds others is never read from a table that changes do not reach.
    ///
    /// # Errors
    /// [`CatalogError::Unavailable`] when its watch is not live and NATS is away.
    pub async fn current_workspace(&self, id: &WorkspaceId) -> Result<Option<Arc<Workspace>>, CatalogError> {
        let live = self.tables.workspaces.as_ref().filter(|table| self.is_live(table));
        self.look_up(live, &Workspace::key_of(id)).await
    }

    /// Every workspace, in no order.
    ///
    /// # Errors
    /// [`CatalogError::Unavailable`] before the first load.
    pub fn workspaces(&self) -> Result<Vec<Arc<Workspace>>, CatalogError> {
        Ok(loaded(self.tables.workspaces.as_ref(), Kind::Workspace)?.all())
    }

    /// An account; only auth-service may read them.
    ///
    /// # Errors
    /// [`CatalogError::Unavailable`] when it is not in the table and NATS is away.
    pub async fn account(&self, email: &str) -> Result<Option<Arc<Account>>, CatalogError> {
        self.look_up(self.tables.accounts.as_ref(), &Key::global(Kind::Account, email)).await
    }

    /// Every account, in no order.
    ///
    /// # Errors
    /// [`CatalogError::Unavailable`] before the first load.
    pub fn accounts(&self) -> Result<Vec<Arc<Account>>, CatalogError> {
        Ok(loaded(self.tables.accounts.as_ref(), Kind::Account)?.all())
    }

    /// A user of a workspace by name.
    ///
    /// # Errors
    /// [`CatalogError::Unavailable`] when it is not in the table and NATS is away.
    pub async fn user(
        &self,
        workspace: &WorkspaceId,
        username: &str,
    ) -> Result<Option<Arc<User>>, CatalogError> {
        self.look_up(self.tables.users.as_ref(), &Key::scoped(Kind::User, workspace, username)).await
    }

    /// The user an account is in a workspace. Emails are no keys, so a user made within
    /// the last milliseconds elsewhere may be missing.
    ///
    /// # Errors
    /// [`CatalogError::Unavailable`] before the first load.
    pub fn user_by_email(
        &self,
        workspace: &WorkspaceId,
        email: &str,
    ) -> Result<Option<Arc<User>>, CatalogError> {
        Ok(self.memberships(email)?.into_iter().find(|user| user.workspace == *workspace))
    }

    /// The users an account is, one per workspace.
    ///
    /// # Errors
    /// [`CatalogError::Unavailable`] before the first load.
    pub fn memberships(&self, email: &str) -> Result<Vec<Arc<User>>, CatalogError> {
        Ok(loaded(self.tables.users.as_ref(), Kind::User)?.indexed(email))
    }

    /// Every user of a workspace, in no order.
    ///
    /// # Errors
    /// [`CatalogError::Unavailable`] before the first load.
    pub fn users(&self, workspace: &WorkspaceId) -> Result<Vec<Arc<User>>, CatalogError> {
        let users = loaded(self.tables.users.as_ref(), Kind::User)?.all();
        Ok(users.into_iter().filter(|user| user.workspace == *workspace).collect())
    }

    /// A token by the SHA-256 of its bearer; only auth-service may read them.
    ///
    /// # Errors
    /// [`CatalogError::Unavailable`] when it is not in the table and NATS is away.
    pub async fn token(&self, sha256: &[u8]) -> Result<Option<Arc<Token>>, CatalogError> {
        self.look_up(self.tables.tokens.as_ref(), &Key::token(sha256)).await
    }

    /// Whether a token was revoked within the last 24 hours, as far as the watch knows:
    /// see [`Catalog::revocations_current`].
    ///
    /// # Errors
    /// [`CatalogError::Unavailable`] before the first load.
    pub fn is_revoked(&self, token: &TokenId) -> Result<bool, CatalogError> {
        let revoked = loaded(self.tables.revoked.as_ref(), Kind::Revoked)?;
        Ok(revoked.get(&Key::global(Kind::Revoked, token.as_str())).is_some())
    }

    /// The tokens of an account with their keys, in no order.
    ///
    /// # Errors
    /// [`CatalogError::Unavailable`] before the first load.
    pub fn tokens_of(&self, email: &str) -> Result<Vec<(Key, Arc<Token>)>, CatalogError> {
        Ok(loaded(self.tables.tokens.as_ref(), Kind::Token)?.indexed_keys(email))
    }

    /// From the table, or from the store when the table has none.
    async fn look_up<T: Record>(
        &self,
        table: Option<&Arc<Table<T>>>,
        key: &Key,
    ) -> Result<Option<Arc<T>>, CatalogError> {
        if let Some(record) = table.and_then(|table| table.get(key)) {
            return Ok(Some(record));
        }
        Ok(self.store.read(key).await?.and_then(|(_, record)| record).map(Arc::new))
    }

    async fn head_in_store(
        &self,
        workspace: &WorkspaceId,
        path: &ScriptPath,
    ) -> Result<Option<Arc<Head>>, CatalogError> {
        self.look_up(None, &Head::key_of(workspace, path)).await
    }
}

/// A table that can say that something is absent.
fn loaded<T: Record>(table: Option<&Arc<Table<T>>>, kind: Kind) -> Result<&Arc<Table<T>>, CatalogError> {
    let name = kind.as_str();
    let Some(table) = table else {
        return Err(CatalogError::Unavailable(format!("this process does not watch the kind {name}")));
    };
    if *table.state().borrow() == WatchState::Loading {
        return Err(CatalogError::Unavailable(format!("the kind {name} is not loaded yet")));
    }
    Ok(table)
}
