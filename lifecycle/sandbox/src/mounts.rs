//! The command's own view of the file system: an empty root with only what it may read bound into
//! it, its own folder, its own `/tmp` and `/proc`, and a handful of devices.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use rustix::fs::{StatVfsMountFlags, statvfs};
use rustix::mount::{
    MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_bind, mount_bind_recursive, mount_change,
    mount_remount, unmount,
};
use rustix::process::{chdir, pivot_root};

use crate::confinement::Confinement;
use crate::filesystem::{DEVICES, SYSTEM};

/// Where a command in a mount namespace sees its folder.
pub const SEEN_FOLDER: &str = "/job";

/// Where it sees the folder `tmp` of that folder.
pub const SEEN_TMP: &str = "/tmp";

const LINKS: [(&str, &str); 4] = [
    ("/proc/self/fd", "dev/fd"),
    ("/proc/self/fd/0", "dev/stdin"),
    ("/proc/self/fd/1", "dev/stdout"),
    ("/proc/self/fd/2", "dev/stderr"),
];

/// Builds the view on the stage and makes it our root; what was the root is out of reach.
pub(crate) fn build(wanted: &Confinement) -> io::Result<()> {
    let root = wanted.stage.as_path();
    // nothing of ours shows outside, and nothing mounted outside from now on shows here
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
    let limits = c"mode=755,size=1m,nr_inodes=4096";
    mount("tmpfs", root, "tmpfs", MountFlags::NOSUID | MountFlags::NODEV, limits)?;
    bind_folder(&wanted.folder, root, SEEN_FOLDER)?;
    bind_folder(&wanted.folder.join("tmp"), root, SEEN_TMP)?;
    for path in readable(wanted) {
        show(&path, root).map_err(|error| named(&path, &error))?;
    }
    if let Some(resolver) = wanted.own_network().and_then(|link| link.resolver.as_ref()) {
        name_servers(resolver, root).map_err(|error| named(resolver, &error))?;
    }
    devices(root)?;
    fs::create_dir(root.join("proc"))?;
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    mount("proc", root.join("proc"), "proc", flags, None)
        .map_err(|error| named(Path::new("/proc"), &error.into()))?;
    become_root(root)
}

fn named(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

/// Without those that lie in another: a folder is shown with all that is in it. `/etc` is shown whole, as its
/// files are replaced while we run; Landlock opens the few of them that are for everybody.
fn readable(wanted: &Confinement) -> Vec<PathBuf> {
    let system = SYSTEM.iter().map(|path| if path.starts_with("/etc/") { "/etc" } else { path });
    let links = ["/etc/resolv.conf", "/etc/localtime"].map(PathBuf::from);
    let behind = links.iter().filter_map(|link| link.canonicalize().ok());
    let mut all: Vec<PathBuf> =
        system.map(PathBuf::from).chain(wanted.readable.iter().cloned()).chain(behind).collect();
    all.sort();
    all.dedup();
    let within = |path: &PathBuf| all.iter().any(|other| other != path && path.starts_with(other));
    all.iter().filter(|path| !within(path)).cloned().collect()
}

/// A link as that link, anything else as it is, not to be written to.
fn show(path: &Path, root: &Path) -> io::Result<()> {
    let Ok(about) = fs::symlink_metadata(path) else { return Ok(()) };
    let target = inside(root, path);
    if let Some(parent) = target.parent() {
        fs::create_dir_all(parent)?;
    }
    if about.is_symlink() {
        return match symlink(fs::read_link(path)?, &target) {
            // below `/tmp`, where a launcher before us has been
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            other => other,
        };
    }
    if about.is_dir() {
        fs::create_dir_all(&target)?;
    } else {
        // it may be there as well
        fs::File::options().write(true).create(true).truncate(false).open(&target)?;
    }
    mount_bind_recursive(path, &target)?;
    let flags = MountFlags::BIND | MountFlags::RDONLY | MountFlags::NOSUID;
    mount_remount(&target, flags | kept(&target)?, "").map_err(Into::into)
}

/// In a user namespace the flags of the mount something comes from cannot be taken away.
fn kept(target: &Path) -> io::Result<MountFlags> {
    let flags = [
        (StatVfsMountFlags::NOSUID, MountFlags::NOSUID),
        (StatVfsMountFlags::NODEV, MountFlags::NODEV),
        (StatVfsMountFlags::NOEXEC, MountFlags::NOEXEC),
        (StatVfsMountFlags::NOATIME, MountFlags::NOATIME),
        (StatVfsMountFlags::RELATIME, MountFlags::RELATIME),
    ];
    let there = statvfs(target)?.f_flag;
    let kept = flags.into_iter().filter(|(seen, _)| there.contains(*seen)).map(|(_, flag)| flag);
    Ok(kept.fold(MountFlags::empty(), |all, flag| all | flag))
}

/// Has the command ask the name servers of `file`, whatever the machine asks. Where the machine has no such
/// file there is nothing to put it over.
fn name_servers(file: &Path, root: &Path) -> io::Result<()> {
    let Ok(target) = Path::new("/etc/resolv.conf").canonicalize() else { return Ok(()) };
    let target = inside(root, &target);
    mount_bind(file, &target)?;
    let flags = MountFlags::BIND | MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV;
    mount_remount(&target, flags | kept(&target)?, "").map_err(Into::into)
}

fn inside(root: &Path, path: &Path) -> PathBuf {
    root.join(path.strip_prefix("/").unwrap_or(path))
}

fn bind_folder(from: &Path, root: &Path, seen: &str) -> io::Result<()> {
    let target = inside(root, Path::new(seen));
    fs::create_dir(&target)?;
    mount_bind(from, &target).map_err(|error| named(from, &error.into()))
}

fn devices(root: &Path) -> io::Result<()> {
    fs::create_dir(root.join("dev"))?;
    for device in DEVICES {
        let target = inside(root, Path::new(device));
        fs::File::create_new(&target)?;
        mount_bind(device, &target)?;
    }
    for (to, at) in LINKS {
        symlink(to, root.join(at))?;
    }
    let shared = root.join("dev/shm");
    fs::create_dir(&shared)?;
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    mount("tmpfs", &shared, "tmpfs", flags, c"mode=1777,size=64m").map_err(Into::into)
}

fn become_root(root: &Path) -> io::Result<()> {
    chdir(root)?;
    pivot_root(".", ".")?;
    unmount(".", UnmountFlags::DETACH)?;
    chdir("/")?;
    mount_remount(
        "/",
        MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV,
        c"mode=755,size=1m,nr_inodes=4096",
    )
    .map_err(Into::into)
}
