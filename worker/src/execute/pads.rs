//! Launch pads: each a supervisor with a launcher that waits, confined to a new folder, for the
//! script whose files are put there. What costs time is done before there is a job.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use lifecycle::supervisor::{Host, Lost, Running, Spare, Spec};

use super::folder::JobFolder;
use super::policy::{Policy, Seat};

/// A new launcher for a supervisor whose command has ended is made ready this much later: the answer
/// of that command, which is still on its way through other processes, has the cores first.
const READY_AFTER: Duration = Duration::from_millis(10);

/// One that stays away is replaced this much later: another that had stayed away may come back first.
const REPLACED_AFTER: Duration = Duration::from_millis(200);

/// Pads ready beyond the number of scripts at a time: while some are made ready again others are used, by a
/// caller too who asks for one short script after the other.
const MORE: usize = 3;

/// A stock of pads. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Pads(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    host: Host,
    policy: Policy,
    jobs_dir: PathBuf,
    keep: usize,
    stock: Mutex<Stock>,
    /// Shared by every team there is, ready or not.
    roll: Arc<()>,
}

#[derive(Debug, Default)]
struct Stock {
    ready: Vec<(Team, Arc<JobFolder>)>,
    /// Without a launcher that waits.
    bare: Vec<Team>,
}

/// A supervisor and what it has.
#[derive(Debug)]
struct Team {
    spare: Spare,
    seat: Arc<Seat>,
    on_roll: Arc<()>,
}

/// A folder to write a script to, and who will run it.
#[derive(Debug)]
pub(super) struct Pad {
    /// Where the script's files go.
    pub(super) folder: Arc<JobFolder>,
    team: Option<Team>,
    pads: Pads,
}

/// What is left of a pad while its script runs.
#[derive(Debug)]
pub(super) struct Launched {
    folder: Arc<JobFolder>,
    seat: Arc<Seat>,
    /// `None` once it is no matter of the stock any more.
    on_roll: Option<Arc<()>>,
    pads: Pads,
}

impl Pads {
    /// A stock of those that come back, enough for as many `scripts` at a time, without any at first.
    pub(super) fn empty(host: Host, policy: Policy, jobs_dir: PathBuf, scripts: NonZeroUsize) -> Self {
        let keep = scripts.get() + MORE;
        let (stock, roll) = (Mutex::default(), Arc::default());
        Self(Arc::new(Shared { host, policy, jobs_dir, keep, stock, roll }))
    }

    /// Fills the stock in the background. Must be called inside a tokio runtime. Those that first jobs, in a hurry,
    /// have had made for them count: with as many jobs as scripts may run at a time there is never one too many.
    pub(super) fn fill(&self) {
        let filled = self.clone();
        tokio::spawn(async move {
            while Arc::strong_count(&filled.0.roll) <= filled.0.keep {
                if let Err(error) = filled.add().await {
                    tracing::warn!(%error, "no launcher could be made ready ahead of the first job");
                    return;
                }
            }
        });
    }

    /// Whether as many as are kept are ready.
    pub(super) fn are_full(&self) -> bool {
        self.stock(|stock| stock.ready.len() >= self.0.keep)
    }

    pub(super) fn policy(&self) -> &Policy {
        &self.0.policy
    }

    /// One that is ready; else one is made ready while the caller waits.
    ///
    /// # Errors
    /// The system has no process left, or does not allow the confinement any more.
    pub(super) async fn take(&self) -> Result<Pad, Lost> {
        let ready = self.stock(|stock| stock.ready.pop());
        let (team, folder) = match ready {
            Some(ready) => ready,
            None => self.make_ready().await?,
        };
        Ok(Pad { folder, team: Some(team), pads: self.clone() })
    }

    async fn make_ready(&self) -> Result<(Team, Arc<JobFolder>), Lost> {
        // a supervisor that was killed while it had nothing to do is passed over
        while let Some(team) = self.stock(|stock| stock.bare.pop()) {
            match self.prepare(team).await {
                Err(Lost::SupervisorDied | Lost::Io(_)) => {
                    tracing::warn!("a supervisor was gone before it had a command");
                }
                other => return other,
            }
        }
        self.prepare(self.team().await?).await
    }

    async fn team(&self) -> Result<Team, Lost> {
        let shared = Arc::clone(&self.0);
        let seat = Arc::new(blocking(move || shared.policy.seat()).await?);
        let mut spare = self.0.host.spare().await?;
        spare.keep(Arc::clone(&seat) as _);
        Ok(Team { spare, seat, on_roll: Arc::clone(&self.0.roll) })
    }

    async fn prepare(&self, mut team: Team) -> Result<(Team, Arc<JobFolder>), Lost> {
        let (shared, user) = (Arc::clone(&self.0), team.seat.user());
        let folder = Arc::new(blocking(move || JobFolder::create(&shared.jobs_dir, user)).await?);
        self.0.policy.prepare(&mut team.spare, &team.seat, &folder).await?;
        Ok((team, folder))
    }

    async fn add(&self) -> Result<(), Lost> {
        let ready = self.make_ready().await?;
        self.stock(|stock| stock.ready.push(ready));
        Ok(())
    }

    fn stock<T>(&self, change: impl FnOnce(&mut Stock) -> T) -> T {
        change(&mut self.0.stock.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes back a supervisor whose command has ended, and soon has a launcher wait there; one too many is
    /// ended.
    fn give_back(&self, team: Team) {
        let kept = self.stock(|stock| {
            let kept = stock.ready.len() + stock.bare.len() < self.0.keep;
            if kept {
                stock.bare.push(team);
            }
            kept
        });
        let (Ok(runtime), true) = (tokio::runtime::Handle::try_current(), kept) else { return };
        let pads = self.clone();
        runtime.spawn(async move {
            tokio::time::sleep(READY_AFTER).await;
            let bare = pads.stock(|stock| stock.bare.pop());
            // somebody may have been in a hurry
            let Some(team) = bare else { return };
            match pads.prepare(team).await {
                Ok(ready) => pads.stock(|stock| stock.ready.push(ready)),
                Err(error) => tracing::warn!(%error, "no launcher could be made ready ahead of a job"),
            }
        });
    }
}

impl Pad {
    /// Where the command will see its folder, and that for temporary files.
    pub(super) fn seen(&self) -> (PathBuf, PathBuf) {
        let policy = self.pads.policy();
        (policy.seen(&self.folder), policy.seen_tmp(&self.folder))
    }

    /// Starts the command. One whose supervisor was killed meanwhile is started by another in the same folder.
    ///
    /// # Errors
    /// As [`Spare::start`]; the system has no process left.
    pub(super) async fn start(mut self, spec: Spec) -> Result<(Running, Launched), Lost> {
        loop {
            let team = match self.team.take() {
                Some(team) => team,
                None => self.substitute().await?,
            };
            match team.spare.start(spec.clone()).await {
                Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => {
                    tracing::warn!("a supervisor was gone before it had a command");
                }
                other => {
                    let pads = self.pads.clone();
                    let (folder, seat, on_roll) = (Arc::clone(&self.folder), team.seat, Some(team.on_roll));
                    let launched = Launched { folder, seat, on_roll, pads };
                    return Ok((other?, launched));
                }
            }
        }
    }

    async fn substitute(&self) -> Result<Team, Lost> {
        let mut team = self.pads.team().await?;
        let (shared, folder, user) = (Arc::clone(&self.pads.0), Arc::clone(&self.folder), team.seat.user());
        blocking(move || folder.hand_to(user)).await?;
        shared.policy.prepare(&mut team.spare, &team.seat, &self.folder).await?;
        Ok(team)
    }
}

impl Drop for Pad {
    /// A job that is somebody else's now, or ended before it began.
    fn drop(&mut self) {
        if let Some(team) = self.team.take() {
            self.pads.give_back(team);
        }
    }
}

impl Launched {
    /// Where it runs.
    pub(super) fn folder(&self) -> Arc<JobFolder> {
        Arc::clone(&self.folder)
    }

    /// What was started stays for longer than a job: the stock is filled up without it.
    pub(super) fn stays(&mut self) {
        if self.on_roll.take().is_none() {
            return;
        }
        let pads = self.pads.clone();
        tokio::spawn(async move {
            tokio::time::sleep(REPLACED_AFTER).await;
            pads.fill();
        });
    }

    /// The supervisor has nothing to do any more, if it is still there; the folder is out of reach for whoever
    /// has its user next.
    pub(super) fn end(self, spare: Option<Spare>) {
        if let Some(spare) = spare {
            self.folder.take_back();
            let on_roll = self.on_roll.unwrap_or_else(|| Arc::clone(&self.pads.0.roll));
            self.pads.give_back(Team { spare, seat: self.seat, on_roll });
        }
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> std::io::Result<T> + Send + 'static,
) -> std::io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(std::io::Error::other)?
}
