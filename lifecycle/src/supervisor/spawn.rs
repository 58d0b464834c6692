//! Starts the one command of a supervisor: own process group, given environment, no signal
//! state and no descriptors of ours.

use std::ffi::CString;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use nix::spawn::{PosixSpawnAttr, PosixSpawnFileActions, PosixSpawnFlags, posix_spawn};
use nix::sys::signal::SigSet;
use rustix::process::{Pid, Resource, Rlimit};

use super::wire::{Output, Spec};

/// Starts the command; its id is also that of its process group.
///
/// `posix_spawn` shares our memory until the exec, so a large parent costs nothing, and it sets
/// mask and dispositions in the child, which ours (blocked for the signal descriptor) must not reach.
pub(super) fn spawn(spec: &Spec) -> io::Result<Pid> {
    let argv = c_strings(
        std::iter::once(spec.program.as_os_str().as_bytes()).chain(spec.args.iter().map(String::as_bytes)),
    )?;
    let pairs: Vec<String> = spec.env.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let env = c_strings(pairs.iter().map(String::as_bytes))?;
    let output = open_output(&spec.output)?;
    let null = File::open("/dev/null")?;
    rustix::process::chdir(&spec.cwd)?;
    no_core_dumps();
    let pid = posix_spawn(
        spec.program.as_path(),
        &descriptors(null.as_fd(), output.as_fd())?,
        &attributes()?,
        &argv,
        &env,
    )?;
    step_back(null.as_fd())?;
    Pid::from_raw(pid.as_raw()).ok_or_else(|| io::Error::other("the kernel gave no process id"))
}

fn c_strings<'a>(texts: impl Iterator<Item = &'a [u8]>) -> io::Result<Vec<CString>> {
    texts
        .map(|text| CString::new(text).map_err(|_| invalid("a NUL byte in an argument or the environment")))
        .collect()
}

fn invalid(text: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, text)
}

fn open_output(output: &Output) -> io::Result<OwnedFd> {
    match output {
        Output::Log => io::stdout().as_fd().try_clone_to_owned(),
        Output::Inherit => io::stderr().as_fd().try_clone_to_owned(),
        Output::File(path) => Ok(OpenOptions::new().create(true).append(true).open(path)?.into()),
    }
}

/// Only 0, 1 and 2: all else of ours closes on exec.
fn descriptors(input: BorrowedFd<'_>, output: BorrowedFd<'_>) -> io::Result<PosixSpawnFileActions> {
    let mut actions = PosixSpawnFileActions::init()?;
    actions.add_dup2(input.as_raw_fd(), 0)?;
    actions.add_dup2(output.as_raw_fd(), 1)?;
    actions.add_dup2(output.as_raw_fd(), 2)?;
    Ok(actions)
}

fn attributes() -> io::Result<PosixSpawnAttr> {
    let mut attributes = PosixSpawnAttr::init()?;
    attributes.set_pgroup(nix::unistd::Pid::from_raw(0))?;
    attributes.set_sigmask(&SigSet::empty())?;
    attributes.set_sigdefault(&SigSet::all())?;
    attributes.set_flags(
        PosixSpawnFlags::POSIX_SPAWN_SETPGROUP
            | PosixSpawnFlags::POSIX_SPAWN_SETSIGMASK
            | PosixSpawnFlags::POSIX_SPAWN_SETSIGDEF,
    )?;
    Ok(attributes)
}

fn no_core_dumps() {
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    // lowering a limit needs no right; were it refused, a core file in a throw-away folder is harmless
    let _ = rustix::process::setrlimit(Resource::Core, none);
}

/// Gives up the log pipe, so that it ends with the command, and the command's folder.
fn step_back(null: BorrowedFd<'_>) -> io::Result<()> {
    rustix::stdio::dup2_stdout(null)?;
    rustix::process::chdir("/")?;
    Ok(())
}
