//! Starts a supervisor's command: own process group, given environment, no signal
//! state and no descriptors of ours.

use std::ffi::CString;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::spawn::{PosixSpawnAttr, PosixSpawnFileActions, PosixSpawnFlags, posix_spawn};
use nix::sys::signal::SigSet;
use rustix::process::{Pid, Resource, Rlimit};

use super::wire::{Input, Output, Spec};

/// The process group of a command.
#[derive(Clone, Copy)]
pub(crate) enum Group {
    /// Its own.
    Own,
    /// That of who starts it.
    Ours,
}

/// Starts the command; its id is also that of its process group if that is its own. `pipes` are those of its
/// standard output and, if that is to be apart, its standard error, and its channel if it has one; the command
/// alone holds them afterwards.
pub(crate) fn spawn(spec: &Spec, pipes: Vec<OwnedFd>, group: Group) -> io::Result<Pid> {
    let pairs: Vec<String> = spec.env.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let mut pipes = pipes.into_iter();
    let outputs = Outputs::open(&spec.output, &mut pipes)?;
    let input = input(spec.input, &mut pipes)?;
    let errors = outputs.errors.as_ref().unwrap_or(&outputs.standard);
    let program = Program {
        path: spec.program.as_path(),
        args: &spec.args.iter().map(String::as_str).collect::<Vec<_>>(),
        env: &pairs,
        descriptors: [input.as_fd(), outputs.standard.as_fd(), errors.as_fd()],
    };
    rustix::process::chdir(&spec.cwd)?;
    let spawned = program.start(group);
    // its folder is to be removed
    rustix::process::chdir("/")?;
    spawned
}

/// A program to start, in the working directory that we are in.
pub(crate) struct Program<'a> {
    pub(crate) path: &'a Path,
    /// Without its own name.
    pub(crate) args: &'a [&'a str],
    /// `NAME=value` each.
    pub(crate) env: &'a [String],
    /// Its 0, 1 and 2; all else of ours closes on exec.
    pub(crate) descriptors: [BorrowedFd<'a>; 3],
}

impl Program<'_> {
    /// `posix_spawn` shares our memory until the exec, so a large parent costs nothing, and it sets
    /// mask and dispositions in the child, which ours (blocked for the signal descriptor, or ignored by
    /// whoever started us) must not reach.
    pub(crate) fn start(&self, group: Group) -> io::Result<Pid> {
        let name = std::iter::once(self.path.as_os_str().as_bytes());
        let argv = c_strings(name.chain(self.args.iter().map(|arg| arg.as_bytes())))?;
        let env = c_strings(self.env.iter().map(String::as_bytes))?;
        let mut descriptors = PosixSpawnFileActions::init()?;
        for (descriptor, number) in self.descriptors.iter().zip(0..) {
            descriptors.add_dup2(descriptor.as_raw_fd(), number)?;
        }
        let pid = posix_spawn(self.path, &descriptors, &attributes(group)?, &argv, &env)?;
        Pid::from_raw(pid.as_raw()).ok_or_else(|| io::Error::other("the kernel gave no process id"))
    }
}

fn c_strings<'a>(texts: impl Iterator<Item = &'a [u8]>) -> io::Result<Vec<CString>> {
    texts
        .map(|text| CString::new(text).map_err(|_| invalid("a NUL byte in an argument or the environment")))
        .collect()
}

fn invalid(text: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, text)
}

/// The command's 0.
pub(crate) fn input(of: Input, pipes: &mut impl Iterator<Item = OwnedFd>) -> io::Result<OwnedFd> {
    match of {
        Input::Null => Ok(File::open("/dev/null")?.into()),
        Input::Channel => pipes.next().ok_or_else(|| invalid("the channel did not come")),
    }
}

/// The command's 1 and 2.
struct Outputs {
    standard: OwnedFd,
    /// `None` if it goes where `standard` goes.
    errors: Option<OwnedFd>,
}

impl Outputs {
    fn open(output: &Output, pipes: &mut impl Iterator<Item = OwnedFd>) -> io::Result<Self> {
        let mut pipe = || pipes.next().ok_or_else(|| invalid("a pipe for the output did not come"));
        let standard = match output {
            Output::Log(_) => pipe()?,
            Output::Inherit => io::stderr().as_fd().try_clone_to_owned()?,
            Output::File(path) => OpenOptions::new().create(true).append(true).open(path)?.into(),
        };
        let errors = output.is_apart().then(pipe).transpose()?;
        Ok(Self { standard, errors })
    }
}

fn attributes(group: Group) -> io::Result<PosixSpawnAttr> {
    let mut attributes = PosixSpawnAttr::init()?;
    attributes.set_sigmask(&SigSet::empty())?;
    attributes.set_sigdefault(&SigSet::all())?;
    let flags = PosixSpawnFlags::POSIX_SPAWN_SETSIGMASK | PosixSpawnFlags::POSIX_SPAWN_SETSIGDEF;
    match group {
        Group::Own => {
            attributes.set_pgroup(nix::unistd::Pid::from_raw(0))?;
            attributes.set_flags(flags | PosixSpawnFlags::POSIX_SPAWN_SETPGROUP)?;
        }
        Group::Ours => attributes.set_flags(flags)?,
    }
    Ok(attributes)
}

/// Of the commands and of ourselves.
pub(crate) fn no_core_dumps() {
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    // lowering a limit needs no right; were it refused, a core file in a throw-away folder is harmless
    let _ = rustix::process::setrlimit(Resource::Core, none);
}
