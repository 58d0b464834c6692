//! What confining costs: a program that does nothing, started bare and at each level.

use std::os::unix::fs::{DirBuilderExt, chown};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use lifecycle::supervisor::{Host, Input, Kind, Output, Spare, Spec, Streams};
use sandbox::{Confinement, Grant, Level, Limits, Link, Network, User, Users};
use serde::Serialize;
use uplink::Rules;

use crate::stats::Spread;

/// It ends at once.
pub(crate) const PROGRAM: &str = "/bin/true";

/// The promise: what a launcher adds to a spawn, in milliseconds.
pub(crate) const PROMISE_MS: f64 = 2.0;

/// One way to start a program.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct LauncherReport {
    /// `bare`, or a level.
    pub(crate) level: &'static str,
    /// From the order to the end of everything, with a launcher that waits.
    pub(crate) order_to_end: Spread,
    /// Beforehand: until a launcher waits. Nobody waits for it but a job that comes in the meantime.
    pub(crate) made_ready: Option<Spread>,
    /// Milliseconds that the medians are apart from the bare one's.
    pub(crate) added_ms: f64,
}

/// Measures `samples` starts of each kind, one kind after the other again and again: what the machine does
/// meanwhile is shared by all.
pub(crate) async fn measure(parent: &Path, samples: usize) -> anyhow::Result<Vec<LauncherReport>> {
    let folder = tempfile::Builder::new().permissions(open()).tempdir_in(parent)?;
    let root = rustix::process::geteuid().is_root();
    let users = root.then(|| Users::claim(std::process::id())).transpose()?;
    let user = users.as_ref().map(Users::take).transpose()?;
    let place = Place { folder: folder.path().to_owned(), user: user.map(|lease| lease.user()) };
    let host = Host::new()?;
    let kinds = [None, Some(Level::Process), Some(Level::Landlock), Some(Level::Namespaces)];
    let mut spares = Vec::new();
    for level in kinds {
        spares.push(Some(host.spare().await?));
        if let Some(level) = level {
            std::fs::create_dir_all(place.folder.join(level.as_str()))?;
        }
    }
    std::fs::create_dir_all(place.folder.join("stage"))?;
    let (mut runs, mut waits) = (vec![Vec::new(); kinds.len()], vec![Vec::new(); kinds.len()]);
    for _ in 0..samples {
        for (at, level) in kinds.into_iter().enumerate() {
            let spare = spares[at].take().context("a supervisor was lost")?;
            let (spare, waited, ran) = place.once(spare, level).await?;
            spares[at] = Some(spare);
            runs[at].push(ran);
            waits[at].extend(waited);
        }
    }
    Ok(reports(&kinds, runs, waits))
}

fn reports(
    kinds: &[Option<Level>],
    runs: Vec<Vec<Duration>>,
    waits: Vec<Vec<Duration>>,
) -> Vec<LauncherReport> {
    let mut reports: Vec<LauncherReport> = Vec::new();
    for ((level, runs), waits) in kinds.iter().zip(runs).zip(waits) {
        let order_to_end = Spread::of(runs);
        let bare = reports.first().map_or(order_to_end.p50_ms, |bare| bare.order_to_end.p50_ms);
        reports.push(LauncherReport {
            level: level.map_or("bare", Level::as_str),
            added_ms: order_to_end.p50_ms - bare,
            order_to_end,
            made_ready: level.map(|_| Spread::of(waits)),
        });
    }
    reports
}

fn open() -> std::fs::Permissions {
    std::os::unix::fs::PermissionsExt::from_mode(0o755)
}

/// Where commands run, and as whom.
struct Place {
    folder: PathBuf,
    user: Option<User>,
}

impl Place {
    async fn once(
        &self,
        mut spare: Spare,
        level: Option<Level>,
    ) -> anyhow::Result<(Spare, Option<Duration>, Duration)> {
        let began = Instant::now();
        if let Some(level) = level {
            spare.prepare(self.confinement(level)?).await?;
        }
        let waited = level.map(|_| began.elapsed());
        let began = Instant::now();
        let mut running = spare.start(self.spec(level)).await?;
        let ended = running.control.exited().await?;
        let ran = began.elapsed();
        if !ended.exit.status.success() {
            bail!("{PROGRAM} ended with {:?}", ended.exit.status);
        }
        let spare = running.control.into_spare().context("a supervisor was lost")?;
        Ok((spare, waited, ran))
    }

    /// In a new folder, as every job has.
    fn confinement(&self, level: Level) -> anyhow::Result<Confinement> {
        let folder = self.folder.join(level.as_str());
        std::fs::remove_dir_all(&folder)?;
        for folder in [&folder, &folder.join("tmp")] {
            std::fs::DirBuilder::new().mode(0o700).create(folder)?;
            if let Some(User(id)) = self.user {
                chown(folder, Some(id), Some(id))?;
            }
        }
        Ok(Confinement {
            level,
            user: self.user,
            readable: Vec::new(),
            folder,
            stage: self.folder.join("stage"),
            cgroup: sandbox::Cgroup::default(),
            network: Network::Internet,
            ports: (1..=100).collect(),
            link: Some(Link::default()),
        })
    }

    fn spec(&self, level: Option<Level>) -> Spec {
        let cwd = match level {
            None => self.folder.clone(),
            Some(Level::Namespaces) => PathBuf::from(sandbox::SEEN_FOLDER),
            Some(level) => self.folder.join(level.as_str()),
        };
        let granted =
            Grant { limits: Limits::default(), neighbours: 512, lasting: false, network: Network::Internet };
        Spec {
            program: PathBuf::from(PROGRAM),
            args: Vec::new(),
            env: Vec::new(),
            cwd,
            kind: Kind::Script,
            output: Output::Log(Streams::Merged),
            input: Input::Null,
            grant: level.map(|_| granted),
            rules: Some(Rules::default()),
        }
    }
}
