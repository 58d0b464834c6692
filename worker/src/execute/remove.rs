//! Removes what a script has left, however deep it nested it and whatever rights it took from itself. One folder
//! is open at a time: a folder in another is moved up beside it and emptied in its turn, so that neither
//! descriptors, nor the stack, nor the length of a path can run out.

use std::collections::VecDeque;
use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Dir, Mode, OFlags, chmodat, openat, renameat, unlinkat};
use rustix::io::Errno;

const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Removes the folder `path` and all that is in it; nothing is there afterwards, or an error says why. Nobody may
/// be at work in it any more.
pub(super) fn remove_tree(path: &Path) -> io::Result<()> {
    let top = match open(CWD, path) {
        Err(Errno::NOENT) => return Ok(()),
        other => other?,
    };
    let mut waiting = VecDeque::new();
    let mut moved = 0_u64;
    empty(top.as_fd(), top.as_fd(), &mut waiting, &mut moved)?;
    while let Some(name) = waiting.pop_front() {
        let folder = open(top.as_fd(), name.as_c_str())?;
        empty(top.as_fd(), folder.as_fd(), &mut waiting, &mut moved)?;
        unlinkat(&top, name.as_c_str(), AtFlags::REMOVEDIR)?;
    }
    std::fs::remove_dir(path)
}

/// Opens a folder, giving its owner the right to.
fn open<P: rustix::path::Arg + Copy>(at: BorrowedFd<'_>, path: P) -> Result<OwnedFd, Errno> {
    match openat(at, path, FOLDER, Mode::empty()) {
        Err(Errno::ACCESS) => {
            chmodat(at, path, Mode::RWXU, AtFlags::empty())?;
            openat(at, path, FOLDER, Mode::empty())
        }
        other => other,
    }
}

/// Removes the files of `folder`, and moves its folders to `top` under new names.
fn empty(
    top: BorrowedFd<'_>,
    folder: BorrowedFd<'_>,
    waiting: &mut VecDeque<CString>,
    moved: &mut u64,
) -> io::Result<()> {
    // what belongs to its owner may still be without the right to be changed
    rustix::fs::fchmod(folder, Mode::RWXU)?;
    let names: Vec<CString> = Dir::read_from(folder)?
        .filter_map(|entry| Some(entry.ok()?.file_name().to_owned()))
        .filter(|name| name.as_c_str() != c"." && name.as_c_str() != c"..")
        .collect();
    for name in names {
        match unlinkat(folder, name.as_c_str(), AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(Errno::ISDIR) => move_up(top, folder, &name, waiting, moved)?,
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

fn move_up(
    top: BorrowedFd<'_>,
    folder: BorrowedFd<'_>,
    name: &CStr,
    waiting: &mut VecDeque<CString>,
    moved: &mut u64,
) -> io::Result<()> {
    if unlinkat(folder, name, AtFlags::REMOVEDIR).is_ok() {
        return Ok(());
    }
    // to be moved it must be changed, as `..` is in it
    chmodat(folder, name, Mode::RWXU, AtFlags::empty())?;
    loop {
        let new = CString::new(format!("{PREFIX}{moved}"))?;
        *moved += 1;
        match renameat(folder, name, top, new.as_c_str()) {
            Ok(()) => {
                waiting.push_back(new);
                return Ok(());
            }
            // a script has a folder of that name
            Err(Errno::NOTEMPTY | Errno::EXIST | Errno::NOTDIR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Begins the names of folders that have been moved up.
const PREFIX: &str = ".hookmill-moved-";

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn deeper_than_paths_and_descriptors_go() {
        let work = tempfile::tempdir().unwrap();
        let top = work.path().join("top");
        fs::create_dir(&top).unwrap();
        let name = "d".repeat(200);
        let mut at = open(CWD, top.as_path()).unwrap();
        for level in 0..3000 {
            rustix::fs::mkdirat(&at, name.as_str(), Mode::RWXU).unwrap();
            let flags = OFlags::CREATE | OFlags::WRONLY;
            openat(&at, format!("f{level}"), flags, Mode::RUSR).unwrap();
            let below = open(at.as_fd(), name.as_str()).unwrap();
            if level % 7 == 0 {
                rustix::fs::fchmod(&at, Mode::empty()).unwrap();
            }
            at = below;
        }
        remove_tree(&top).unwrap();
        assert!(!top.exists());
        remove_tree(&top).unwrap();
    }

    #[test]
    fn links_are_not_followed_and_clashing_names_are_no_matter() {
        let (work, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::write(elsewhere.path().join("keep"), "").unwrap();
        let top = work.path().join("top");
        fs::create_dir_all(top.join("a/b/c")).unwrap();
        fs::create_dir_all(top.join(".hookmill-moved-0/x/y")).unwrap();
        fs::write(top.join(".hookmill-moved-1"), "").unwrap();
        std::os::unix::fs::symlink(elsewhere.path(), top.join("a/b/link")).unwrap();
        fs::set_permissions(top.join("a/b"), PermissionsExt::from_mode(0o000)).unwrap();
        remove_tree(&top).unwrap();
        assert!(!top.exists() && elsewhere.path().join("keep").exists());
        let link = work.path().join("link");
        std::os::unix::fs::symlink(elsewhere.path(), &link).unwrap();
        assert!(remove_tree(&link).is_err());
        assert!(elsewhere.path().join("keep").exists());
    }
}
