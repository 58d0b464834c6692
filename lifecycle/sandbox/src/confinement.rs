//! What is wanted of a launcher, in two parts: before its command is known, and with it.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::cgroup::Cgroup;
use crate::identity::User;
use crate::level::Level;
use crate::limits::Limits;
use crate::link::Link;
use crate::network::Network;

/// All that can be done before the command is known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confinement {
    /// How strongly.
    pub level: Level,
    /// Whom to become; `None` stays who we are, which root must not.
    pub user: Option<User>,
    /// Files and folders the command may read and run, absolute. Those that are not there are passed over.
    pub readable: Vec<PathBuf>,
    /// The one folder the command may write to, absolute, with an empty folder `tmp` in it. With
    /// namespaces it is seen as [`crate::SEEN_FOLDER`].
    pub folder: PathBuf,
    /// An empty folder to build the command's view of the file system on; needed for namespaces.
    pub stage: PathBuf,
    /// The control groups to enter, and to keep limits by.
    pub cgroup: Cgroup,
    /// The widest network that the command may be granted.
    pub network: Network,
    /// The ports of [`Network::Internet`] where Landlock alone guards it.
    pub ports: Vec<u16>,
    /// A network of its own, with namespaces, as the way to [`Network::Internet`]; `None` leaves it to Landlock.
    pub link: Option<Link>,
}

impl Confinement {
    /// What is wanted of a network of its own, if it has one.
    pub fn own_network(&self) -> Option<&Link> {
        let apart = self.level == Level::Namespaces && self.network == Network::Internet;
        self.link.as_ref().filter(|_| apart)
    }
}

/// What one command is granted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// Its bounds.
    pub limits: Limits,
    /// Processes and threads that others of its user may start while it runs. Where the kernel cannot count the
    /// command's own, they share one limit with it, which has room for these.
    pub neighbours: u64,
    /// It takes one job after the other: the CPU time of each is for its supervisor to count, as the kernel counts
    /// that of a process.
    pub lasting: bool,
    /// Whom it may reach: nobody more than its launcher was made ready for.
    pub network: Network,
}
