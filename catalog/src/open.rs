//! [`Catalog`]: the tables a process may read, their watches, and its own writes.

use std::sync::Arc;

use broker::Broker;
use moka::future::Cache;
use tokio::task::JoinSet;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::batch::{Batch, Committed, Write};
use crate::store::Store;
use crate::table::{Table, WatchState};
use crate::{
    Account, CatalogError, Head, Key, Kind, Record, Revoked, Schedule, Script, Token, User, Workspace, watch,
};

/// The bodies of script versions kept in memory, in bytes.
const SCRIPT_CACHE_BYTES: u64 = 64 << 20;

/// Which kinds each service watches: no more than its NATS user may read.
pub mod kinds {
    use crate::Kind;

    /// A gateway's.
    pub const GATEWAY: &[Kind] = &[Kind::Workspace, Kind::User, Kind::Revoked, Kind::Head, Kind::Schedule];
    /// auth-service's.
    pub const AUTH_SERVICE: &[Kind] =
        &[Kind::Workspace, Kind::Account, Kind::User, Kind::Token, Kind::Revoked];
    /// A worker's.
    pub const WORKER: &[Kind] = &[Kind::Head];
}

/// What is defined, as one process sees it. Cheap to clone; its watches end with the last clone.
#[derive(Clone)]
pub struct Catalog {
    pub(crate) store: Store,
    pub(crate) tables: Arc<Tables>,
    pub(crate) scripts: Cache<String, Arc<Script>>,
    _watches: Arc<DropGuard>,
}

/// One table per watched kind; none where the process does not watch the kind.
#[derive(Default)]
pub(crate) struct Tables {
    pub(crate) workspaces: Option<Arc<Table<Workspace>>>,
    pub(crate) accounts: Option<Arc<Table<Account>>>,
    pub(crate) users: Option<Arc<Table<User>>>,
    pub(crate) tokens: Option<Arc<Table<Token>>>,
    pub(crate) revoked: Option<Arc<Table<Revoked>>>,
    pub(crate) heads: Option<Arc<Table<Head>>>,
    pub(crate) schedules: Option<Arc<Table<Schedule>>>,
    changes: tokio::sync::watch::Sender<u64>,
}

impl Catalog {
    /// Starts watching `kinds` and returns at once; [`Catalog::ready`] waits for the
    /// first load. Kinds that are loaded on demand (scripts, schedules' defaults) or only
    /// written (audit) need not be named.
    pub fn open(broker: Broker, kinds: &[Kind]) -> Self {
        let stop = CancellationToken::new();
        let mut tables = Tables::default();
        for kind in kinds {
            tables.watch(*kind, &broker, &stop);
        }
        let weight = |_: &String, script: &Arc<Script>| {
            u32::try_from(script.script.content.len() + 4096).unwrap_or(u32::MAX)
        };
        let scripts = Cache::builder().max_capacity(SCRIPT_CACHE_BYTES).weigher(weight).build();
        let watches = Arc::new(stop.drop_guard());
        Self { store: Store::new(broker), tables: Arc::new(tables), scripts, _watches: watches }
    }

    /// Waits until every watched table was loaded once.
    pub async fn ready(&self) {
        let mut loads = JoinSet::new();
        for mut state in self.tables.states() {
            loads.spawn(async move { drop(state.wait_for(|state| *state != WatchState::Loading).await) });
        }
        drop(loads.join_all().await);
    }

    /// Whether every watched table was loaded once.
    pub fn is_ready(&self) -> bool {
        self.tables.states().iter().all(|state| *state.borrow() != WatchState::Loading)
    }

    /// Whether the watches of all tables are live at this moment.
    pub fn is_current(&self) -> bool {
        self.store.broker().is_up()
            && self.tables.states().iter().all(|state| *state.borrow() == WatchState::Current)
    }

    /// Whether the watch of revocations is live: while it is not, an identity may be
    /// cached for 30 s at most.
    pub fn revocations_current(&self) -> bool {
        self.tables.revoked.as_ref().is_some_and(|table| self.is_live(table))
    }

    /// Whether changes reach a table.
    pub(crate) fn is_live<T: Record>(&self, table: &Table<T>) -> bool {
        self.store.broker().is_up() && *table.state().borrow() == WatchState::Current
    }

    /// Ticks after every change of a watched table, of a record or of how current it is:
    /// for whoever waits until a table shows something.
    pub fn changes(&self) -> tokio::sync::watch::Receiver<u64> {
        self.tables.changes.subscribe()
    }

    /// Writes a batch, and shows it in this process's own tables at once.
    ///
    /// # Errors
    /// [`CatalogError::Conflict`] when an expectation does not hold (nothing was written),
    /// [`CatalogError::Unavailable`] when NATS is away or silent.
    pub async fn commit(&self, batch: &Batch) -> Result<Committed, CatalogError> {
        let committed = self.store.commit(batch).await?;
        for (revision, write) in (committed.first_revision..).zip(&batch.writes) {
            self.tables.apply(write, revision);
        }
        Ok(committed)
    }

    /// The record of a key read from the store, with the revision a write after it must
    /// expect; the record is none when the key was deleted.
    ///
    /// # Errors
    /// [`CatalogError::Unavailable`] when NATS is away or silent, or the record cannot be read.
    pub async fn read<T: Record>(&self, key: &Key) -> Result<Option<(u64, Option<T>)>, CatalogError> {
        self.store.read(key).await
    }
}

impl Tables {
    fn watch(&mut self, kind: Kind, broker: &Broker, stop: &CancellationToken) {
        match kind {
            Kind::Workspace => self.workspaces = Some(self.start(broker, stop)),
            Kind::Account => self.accounts = Some(self.start(broker, stop)),
            Kind::User => self.users = Some(self.start(broker, stop)),
            Kind::Token => self.tokens = Some(self.start(broker, stop)),
            Kind::Revoked => self.revoked = Some(self.start(broker, stop)),
            Kind::Head => self.heads = Some(self.start(broker, stop)),
            Kind::Schedule => self.schedules = Some(self.start(broker, stop)),
            Kind::Script | Kind::ScheduleDefaults | Kind::Audit => {}
        }
    }

    fn start<T: Record>(&self, broker: &Broker, stop: &CancellationToken) -> Arc<Table<T>> {
        let table = Arc::new(Table::new(self.changes.clone()));
        tokio::spawn(watch::run(broker.clone(), Arc::clone(&table), stop.clone()));
        table
    }

    fn states(&self) -> Vec<tokio::sync::watch::Receiver<WatchState>> {
        let states = [
            self.workspaces.as_ref().map(|table| table.state()),
            self.accounts.as_ref().map(|table| table.state()),
            self.users.as_ref().map(|table| table.state()),
            self.tokens.as_ref().map(|table| table.state()),
            self.revoked.as_ref().map(|table| table.state()),
            self.heads.as_ref().map(|table| table.state()),
            self.schedules.as_ref().map(|table| table.state()),
        ];
        states.into_iter().flatten().collect()
    }

    fn apply(&self, write: &Write, revision: u64) {
        match write.key.kind {
            Kind::Workspace => apply(self.workspaces.as_ref(), write, revision),
            Kind::Account => apply(self.accounts.as_ref(), write, revision),
            Kind::User => apply(self.users.as_ref(), write, revision),
            Kind::Token => apply(self.tokens.as_ref(), write, revision),
            Kind::Revoked => apply(self.revoked.as_ref(), write, revision),
            Kind::Head => apply(self.heads.as_ref(), write, revision),
            Kind::Schedule => apply(self.schedules.as_ref(), write, revision),
            Kind::Script | Kind::ScheduleDefaults | Kind::Audit => {}
        }
    }
}

fn apply<T: Record>(table: Option<&Arc<Table<T>>>, write: &Write, revision: u64) {
    let outcome = table.map_or(Ok(()), |table| table.apply(&write.key, revision, write.value.as_ref()));
    if let Err(error) = outcome {
        tracing::error!(%error, "a record just written cannot be read");
    }
}
