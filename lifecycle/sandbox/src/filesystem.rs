//! Landlock: what of the file system a command may touch, and whom it may signal.
//!
//! A right that no rule gives is denied; rules are for what is there when the command starts
//! (<https://docs.kernel.org/userspace-api/landlock.html>).

use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access, AccessFs, BitFlags, CompatLevel, Compatible, Ruleset, RulesetAttr, RulesetCreatedAttr,
    RulesetError, Scope, path_beneath_rules,
};

use crate::confinement::Confinement;
use crate::level::Level;
use crate::mounts::{SEEN_FOLDER, SEEN_TMP};

/// What every kernel with Landlock that we accept has: truncation included (Linux 6.2).
const REQUIRED: ABI = ABI::V3;

/// The newest rights that are used where they are known.
const WANTED: ABI = ABI::V6;

/// Of the system: programs, libraries, and the few settings that programs read.
pub(crate) const SYSTEM: [&str; 40] = [
    "/usr",
    "/bin",
    "/sbin",
    "/lib",
    "/lib32",
    "/lib64",
    "/libx32",
    "/etc/alternatives",
    "/etc/bash.bashrc",
    "/etc/ca-certificates",
    "/etc/ca-certificates.conf",
    "/etc/crypto-policies",
    "/etc/debian_version",
    "/etc/environment",
    "/etc/gai.conf",
    "/etc/group",
    "/etc/host.conf",
    "/etc/hosts",
    "/etc/inputrc",
    "/etc/ld.so.cache",
    "/etc/ld.so.conf",
    "/etc/ld.so.conf.d",
    "/etc/ld.so.preload",
    "/etc/locale.alias",
    "/etc/localtime",
    "/etc/magic",
    "/etc/mime.types",
    "/etc/nsswitch.conf",
    "/etc/os-release",
    "/etc/passwd",
    "/etc/pki",
    "/etc/profile",
    "/etc/profile.d",
    "/etc/protocols",
    "/etc/resolv.conf",
    "/etc/services",
    "/etc/ssl",
    "/etc/terminfo",
    "/etc/timezone",
    "/etc/xdg",
];

/// Of the kernel's view of the machine: how many cores and how much memory, no process.
const MACHINE: [&str; 9] = [
    "/proc/cpuinfo",
    "/proc/filesystems",
    "/proc/loadavg",
    "/proc/meminfo",
    "/proc/stat",
    "/proc/sys/kernel",
    "/proc/sys/vm",
    "/proc/uptime",
    "/proc/version",
];

/// Devices that are nobody's.
pub(crate) const DEVICES: [&str; 5] = ["/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom"];

/// From now on, for us and all that we start.
pub(crate) fn restrict(wanted: &Confinement) -> Result<(), RulesetError> {
    let (read, all) = (AccessFs::from_read(WANTED), AccessFs::from_all(WANTED));
    let device: BitFlags<AccessFs> = AccessFs::ReadFile | AccessFs::WriteFile | AccessFs::IoctlDev;
    let folders = writable(wanted);
    ruleset(wanted)?
        .create()?
        .add_rules(path_beneath_rules(SYSTEM, read))?
        .add_rules(path_beneath_rules(&wanted.readable, read))?
        .add_rules(path_beneath_rules(processes(wanted.level), read))?
        .add_rules(path_beneath_rules(DEVICES, device))?
        .add_rules(path_beneath_rules(&folders, all))?
        .restrict_self()?;
    Ok(())
}

/// Without a user of its own a command is kept from the signals of its neighbours by Landlock alone
/// (Linux 6.12); with one that is a second line.
fn ruleset(wanted: &Confinement) -> Result<Ruleset, RulesetError> {
    let scopes = if wanted.user.is_some() || wanted.level == Level::Namespaces {
        CompatLevel::BestEffort
    } else {
        CompatLevel::HardRequirement
    };
    Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(AccessFs::from_all(REQUIRED))?
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(WANTED))?
        .set_compatibility(scopes)
        .scope(Scope::from_all(WANTED))
        .map(|ruleset| ruleset.set_compatibility(CompatLevel::BestEffort))
}

fn writable(wanted: &Confinement) -> Vec<PathBuf> {
    match wanted.level {
        Level::Namespaces => [SEEN_FOLDER, SEEN_TMP, "/dev/shm"].map(PathBuf::from).into(),
        Level::Process | Level::Landlock => vec![wanted.folder.clone()],
    }
}

/// In a process namespace `/proc` shows the command's own processes; elsewhere it shows all, so that only
/// the one that is the command itself may be opened.
fn processes(level: Level) -> Vec<PathBuf> {
    match level {
        Level::Namespaces => vec![PathBuf::from("/proc")],
        Level::Process | Level::Landlock => {
            let own = Path::new("/proc").join(std::process::id().to_string());
            MACHINE.iter().map(PathBuf::from).chain([own]).collect()
        }
    }
}
