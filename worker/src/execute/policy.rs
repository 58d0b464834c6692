//! How commands are confined here: the strongest level that the host offers, found by trying it.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lifecycle::supervisor::{Host, Lost, Spare};
use rustix::process::{Resource, getrlimit, setrlimit};
use sandbox::{Cgroups, Confinement, Group, Lease, Level, Link, Network, Users};
use uplink::Rules;

use super::folder::JobFolder;
use super::neighbourhood::Neighbourhood;

/// What is wanted of the sandbox.
#[derive(Clone, Copy, Debug)]
pub struct Isolation {
    /// Which level; `None` for the strongest that the host offers.
    pub level: Option<Level>,
    /// The level below which nothing runs.
    pub minimum: Level,
    /// The network that launchers are made ready for: that of most scripts.
    pub network: Network,
    /// Nothing is confined. Exists only for tests that show what an attack does then.
    #[cfg(feature = "no-sandbox")]
    pub off: bool,
}

impl Isolation {
    /// One that is on.
    pub fn new(level: Option<Level>, minimum: Level, network: Network) -> Self {
        Self {
            level,
            minimum,
            network,
            #[cfg(feature = "no-sandbox")]
            off: false,
        }
    }
}

impl Default for Isolation {
    fn default() -> Self {
        Self::new(None, Level::Landlock, Network::Internet)
    }
}

/// Why no level will do.
#[derive(Debug, thiserror::Error)]
pub enum NoIsolation {
    /// What is reached is less than the minimum.
    #[error("the sandbox reaches {reached}, and sandbox-minimum is {minimum}: {why}")]
    TooWeak {
        /// `nothing` or a level's word.
        reached: &'static str,
        /// What is demanded.
        minimum: Level,
        /// What stood in the way of each stronger level.
        why: String,
    },
    /// There are no users for commands.
    #[error("users for scripts: {0}")]
    Users(#[from] sandbox::NoUsers),
    /// The supervisor itself does not start.
    #[error("the supervisor: {0}")]
    Supervisor(#[from] std::io::Error),
}

/// The way in which commands are confined.
#[derive(Clone, Debug)]
pub(super) struct Policy {
    level: Option<Level>,
    /// Why not more.
    shortfall: Option<String>,
    readable: Vec<PathBuf>,
    stage: PathBuf,
    users: Option<Users>,
    cgroups: Option<Arc<Cgroups>>,
    network: Network,
    /// What a network of a script's own needs, if the host lets it have one.
    link: Option<Link>,
    neighbourhood: Neighbourhood,
    /// The work folder is ours.
    _lock: Option<Arc<File>>,
}

/// What belongs to one supervisor for as long as it lives.
#[derive(Debug, Default)]
pub(super) struct Seat {
    user: Option<Lease>,
    group: Option<Group>,
}

impl Seat {
    pub(super) fn user(&self) -> Option<sandbox::User> {
        self.user.as_ref().map(Lease::user)
    }
}

impl Policy {
    /// Tries the levels, the strongest first. `work_dir` is the worker's own.
    pub(super) async fn establish(
        wanted: Isolation,
        neighbourhood: &Neighbourhood,
        host: &Host,
        work_dir: &Path,
        jobs_dir: &Path,
    ) -> Result<Self, NoIsolation> {
        let root = rustix::process::geteuid().is_root();
        all_we_may_have();
        let mut policy = Self {
            level: None,
            shortfall: None,
            readable: Vec::new(),
            stage: work_dir.join("stage"),
            network: wanted.network,
            link: None,
            neighbourhood: neighbourhood.clone(),
            _lock: None,
            users: root.then(|| Users::claim(seed())).transpose()?,
            cgroups: Cgroups::delegated(&nonce()).map(Arc::new),
        };
        std::fs::create_dir_all(&policy.stage)?;
        #[cfg(feature = "no-sandbox")]
        if wanted.off {
            return Ok(Self { users: None, cgroups: None, ..policy });
        }
        // whoever runs as we do must not look into us: we know secrets, and so does our environment
        rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)
            .map_err(std::io::Error::from)?;
        let mut reasons = Vec::new();
        let own = neighbourhood.link(work_dir)?;
        for (level, link) in candidates(wanted.level, own) {
            (policy.level, policy.link) = (Some(level), link);
            match policy.try_out(host, jobs_dir).await {
                Ok(()) => break,
                Err(why) if policy.link.is_some() => reasons.push(format!("{OWN_NETWORK}: {why}")),
                Err(why) => reasons.push(format!("{level}: {why}")),
            }
            policy.level = None;
        }
        policy.checked(wanted.minimum, &reasons.join("; "))
    }

    fn checked(mut self, minimum: Level, why: &str) -> Result<Self, NoIsolation> {
        if self.level < Some(minimum) {
            let reached = self.level.map_or("nothing", Level::as_str);
            return Err(NoIsolation::TooWeak { reached, minimum, why: why.to_owned() });
        }
        self.shortfall = (!why.is_empty()).then(|| why.to_owned());
        Ok(self)
    }

    async fn try_out(&self, host: &Host, jobs_dir: &Path) -> Result<(), Lost> {
        let seat = Arc::new(self.seat()?);
        let folder = JobFolder::create(jobs_dir, seat.user())?;
        let mut spare = host.spare().await?;
        spare.keep(Arc::clone(&seat) as _);
        // whatever most scripts have, some have the internet
        let policy = Self { network: Network::Internet, ..self.clone() };
        policy.prepare(&mut spare, &seat, &folder).await
    }

    /// What a further supervisor needs.
    pub(super) fn seat(&self) -> std::io::Result<Seat> {
        let user = self.users.as_ref().map(Users::take).transpose().map_err(std::io::Error::other)?;
        let group = self.cgroups.as_ref().map(Cgroups::make).transpose()?;
        Ok(Seat { user, group })
    }

    /// Has a launcher wait for a command in `folder`.
    pub(super) async fn prepare(
        &self,
        spare: &mut Spare,
        seat: &Seat,
        folder: &JobFolder,
    ) -> Result<(), Lost> {
        let Some(level) = self.level else { return Ok(()) };
        let wanted = Confinement {
            level,
            user: seat.user(),
            readable: self.readable.clone(),
            folder: folder.path().to_owned(),
            stage: self.stage.clone(),
            network: self.network,
            ports: self.neighbourhood.ports().to_vec(),
            link: self.link.clone(),
            cgroup: seat.group.as_ref().map(|group| group.files.clone()).unwrap_or_default(),
        };
        spare.prepare(wanted).await
    }

    /// The same, but that commands may read and run these, too.
    pub(super) fn allowing(&self, readable: impl IntoIterator<Item = PathBuf>) -> Self {
        let mut policy = self.clone();
        for path in readable {
            // not all of the machine, and not what other jobs write to
            if path.is_absolute() && !self.stage.starts_with(&path) {
                policy.readable.push(path);
            } else {
                tracing::warn!(path = %path.display(), "scripts may not read this folder: their own lie in it");
            }
        }
        policy.readable.sort();
        policy.readable.dedup();
        policy
    }

    /// The same, keeping the lock of the work folder for as long as anybody has it.
    pub(super) fn holding(self, lock: File) -> Self {
        Self { _lock: Some(Arc::new(lock)), ..self }
    }

    /// The level reached; `None` only in tests that switch it off.
    pub(super) fn level(&self) -> Option<Level> {
        self.level
    }

    /// What stood in the way of a stronger level.
    pub(super) fn shortfall(&self) -> Option<&str> {
        self.shortfall.as_deref()
    }

    /// Where those of scripts lie.
    pub(super) fn control_groups(&self) -> Vec<PathBuf> {
        self.cgroups.iter().flat_map(|cgroups| cgroups.folders()).map(Path::to_owned).collect()
    }

    /// Whether control groups keep memory and processes.
    pub(super) fn has_cgroups(&self) -> bool {
        self.cgroups.as_ref().is_some_and(|cgroups| cgroups.keep_limits())
    }

    /// Whether scripts have a network of their own.
    pub(super) fn has_own_network(&self) -> bool {
        self.link.is_some()
    }

    /// Whom the next command may reach, if it has a network of its own.
    pub(super) async fn rules(&self) -> Option<Rules> {
        self.link.as_ref()?;
        Some(self.neighbourhood.rules().await)
    }

    /// Where a command sees its folder.
    pub(super) fn seen(&self, folder: &JobFolder) -> PathBuf {
        match self.level {
            Some(Level::Namespaces) => PathBuf::from(sandbox::SEEN_FOLDER),
            Some(Level::Process | Level::Landlock) | None => folder.path().to_owned(),
        }
    }

    /// Where a command sees its folder for temporary files.
    pub(super) fn seen_tmp(&self, folder: &JobFolder) -> PathBuf {
        match self.level {
            Some(Level::Namespaces) => PathBuf::from(sandbox::SEEN_TMP),
            Some(Level::Process | Level::Landlock) | None => folder.tmp(),
        }
    }
}

/// What is said to be in the way when only the network of one's own is.
const OWN_NETWORK: &str = "a network of a script's own";

/// What is tried, the strongest first.
fn candidates(only: Option<Level>, link: Link) -> Vec<(Level, Option<Link>)> {
    let levels = Level::ALL.into_iter().filter(|level| only.is_none_or(|only| only == *level));
    let with_link =
        (only.is_none_or(|only| only == Level::Namespaces)).then_some((Level::Namespaces, Some(link)));
    with_link.into_iter().chain(levels.map(|level| (level, None))).collect()
}

/// Several workers may live in one process.
fn nonce() -> String {
    uuid::Uuid::new_v4().simple().to_string().chars().take(8).collect()
}

/// Workers that cannot see each other, in containers of one machine, had better not choose alike.
fn seed() -> u32 {
    uuid::Uuid::new_v4().as_fields().0
}

/// The kernel counts descriptors on their way, and processes, for the user, a script's among them where it runs as
/// we do: there must be room for ours.
fn all_we_may_have() {
    for resource in [Resource::Nofile, Resource::Nproc] {
        let mut limit = getrlimit(resource);
        limit.current = limit.maximum;
        if let Err(error) = setrlimit(resource, limit) {
            tracing::debug!(?resource, %error, "no more than the system gave us");
        }
    }
}
