//! The asking side: one thread that starts all supervisors, one that buries them.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use ::supervisor::wire::{Input, Order, Spec};
use sandbox::Confinement;
use tokio::net::unix::pipe;
use tokio::sync::oneshot;

use super::ServiceHandle;
use super::graveyard::Graveyard;
use super::program::Program;
use super::running::{Control, LogPipe, Lost, Running};

/// Starts supervisors. Cheap to clone; its thread lives as long as a clone, a spare or a
/// running command does.
///
/// All are started by that one thread, because the kernel sends the parent-death signal when
/// the *thread* that started a process ends.
#[derive(Clone, Debug)]
pub struct Host {
    requests: mpsc::Sender<Request>,
}

type Request = oneshot::Sender<io::Result<Started>>;

/// A supervisor just started, and our end of its socket.
struct Started {
    child: Buried,
    socket: UnixStream,
}

impl Host {
    /// A host whose supervisors are the program [`super::PROGRAM`] beside this one, or this program
    /// itself, whose `main` must begin with [`super::intercept`].
    ///
    /// # Errors
    /// No threads can be started.
    pub fn new() -> io::Result<Self> {
        Self::of(Program::find())
    }

    /// A host whose supervisors are another program, whose `main` begins with [`super::intercept`].
    ///
    /// # Errors
    /// No threads can be started.
    pub fn with_program(program: PathBuf) -> io::Result<Self> {
        Self::of(Program::at(program))
    }

    fn of(program: Program) -> io::Result<Self> {
        let (requests, inbox) = mpsc::channel();
        let graveyard = Graveyard::open()?;
        thread::Builder::new()
            .name("supervisors".into())
            .spawn(move || serve(&program, &inbox, &graveyard))?;
        Ok(Self { requests })
    }

    /// Starts a supervisor that waits for its command: the cost of its exec is paid before the
    /// command is known.
    ///
    /// # Errors
    /// The system has no process or descriptor left.
    pub async fn spare(&self) -> io::Result<Spare> {
        let (answer, started) = oneshot::channel();
        self.requests.send(answer).map_err(io::Error::other)?;
        let started = started.await.map_err(io::Error::other)??;
        let socket = asynchronous(started.socket)?;
        Ok(Spare { control: Control::new(socket, started.child, self.clone()) })
    }

    /// Starts a service, a command that is to live as long as we do.
    ///
    /// # Errors
    /// The supervisor or the command could not be started.
    pub async fn service(&self, spec: Spec) -> io::Result<ServiceHandle> {
        Ok(ServiceHandle::new(self.spare().await?.start(spec).await?))
    }
}

/// A launcher takes milliseconds. One that takes this long hangs in the kernel, and its supervisor with it.
const PREPARE_BOUND: Duration = Duration::from_secs(30);

/// A supervisor that waits for its command. Dropping it ends it.
#[derive(Debug)]
pub struct Spare {
    pub(super) control: Control,
}

impl Spare {
    /// Has a launcher, confined like this, wait for the command: it must have a grant then.
    ///
    /// # Errors
    /// The system does not allow a confinement like this ([`Lost::Refused`] says which step), or the
    /// supervisor is gone.
    ///
    /// [`Lost::Refused`]: super::Lost::Refused
    pub async fn prepare(&mut self, wanted: Confinement) -> Result<(), Lost> {
        if let Ok(prepared) = tokio::time::timeout(PREPARE_BOUND, self.control.prepare(wanted)).await {
            return prepared;
        }
        self.control.destroy();
        let text = format!("no launcher was ready within {} s", PREPARE_BOUND.as_secs());
        Err(Lost::Io(io::Error::new(io::ErrorKind::TimedOut, text)))
    }

    /// Keeps `belongings` until this supervisor has ended, whoever has it by then.
    pub fn keep(&mut self, belongings: Arc<dyn Belongings>) {
        self.control.keep(belongings);
    }

    /// Hands it the command; returns once it is handed over, not once it runs. That it cannot
    /// start (its program or folder is missing, its arguments are too long) is said by
    /// [`Control::exited`], as [`Lost::Refused`].
    ///
    /// # Errors
    /// The supervisor is gone, the spec is longer than 16 MiB, or the system has no descriptor left.
    ///
    /// [`Lost::Refused`]: super::Lost::Refused
    pub async fn start(mut self, spec: Spec) -> io::Result<Running> {
        let (log, log_end) = io::pipe()?;
        let (errors, errors_end) = spec.output.is_apart().then(io::pipe).transpose()?.unzip();
        let (log, errors) = (log_pipe(log.into())?, errors.map(|pipe| log_pipe(pipe.into())).transpose()?);
        let (channel, channel_end) =
            (spec.input == Input::Channel).then(UnixStream::pair).transpose()?.unzip();
        let channel = channel.map(asynchronous).transpose()?;
        let pipes = [Some(log_end.as_fd()), errors_end.as_ref().map(AsFd::as_fd)];
        let pipes: Vec<BorrowedFd<'_>> =
            pipes.into_iter().chain([channel_end.as_ref().map(AsFd::as_fd)]).flatten().collect();
        self.control.begin(&Order::Start(spec), &pipes).await?;
        Ok(Running { log, errors, channel, control: self.control })
    }
}

fn asynchronous(socket: UnixStream) -> io::Result<tokio::net::UnixStream> {
    socket.set_nonblocking(true)?;
    tokio::net::UnixStream::from_std(socket)
}

fn log_pipe(reader: OwnedFd) -> io::Result<LogPipe> {
    Ok(LogPipe::new(pipe::Receiver::from_owned_fd(reader)?))
}

/// What must stay somebody's until a supervisor, and so everything of its commands, is gone.
pub trait Belongings: std::fmt::Debug + Send + Sync {}

impl<T: std::fmt::Debug + Send + Sync> Belongings for T {}

/// A supervisor's process, handed to the [`Graveyard`] when dropped, so that no zombie stays.
#[derive(Debug)]
pub(super) struct Buried {
    child: Option<Child>,
    belongings: Option<Arc<dyn Belongings>>,
    graveyard: Graveyard,
}

impl Buried {
    /// Its process id, which is its own until it is buried.
    pub(super) fn id(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }
}

impl Buried {
    pub(super) fn keep(&mut self, belongings: Arc<dyn Belongings>) {
        self.belongings = Some(belongings);
    }
}

impl Drop for Buried {
    fn drop(&mut self) {
        if let Some(child) = self.child.take() {
            self.graveyard.take(child, self.belongings.take());
        }
    }
}

fn serve(program: &Program, inbox: &mpsc::Receiver<Request>, graveyard: &Graveyard) {
    while let Ok(request) = inbox.recv() {
        // who asked may be gone: then the drop ends what was started
        let _ = request.send(start(program, graveyard));
    }
}

fn start(program: &Program, graveyard: &Graveyard) -> io::Result<Started> {
    let (socket, theirs) = UnixStream::pair()?;
    let child = program.command(theirs).stdout(Stdio::null()).spawn()?;
    Ok(Started {
        child: Buried { child: Some(child), belongings: None, graveyard: graveyard.clone() },
        socket,
    })
}
