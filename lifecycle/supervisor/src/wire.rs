//! What a supervisor and its host say to each other: JSON behind a length of four bytes,
//! over one socket. There are no versions, both ends must have been built from the same source.

use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::time::Duration;

use sandbox::{Confinement, Grant};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use uplink::Rules;

/// Which supervisor this is: a number that changes with its source. A supervisor is given it as its
/// second argument, and a program left over from another build refuses it.
pub const DIALECT: u64 = {
    let parts: [&[u8]; 16] = [
        include_bytes!("child.rs"),
        include_bytes!("disk.rs"),
        include_bytes!("end.rs"),
        include_bytes!("footing.rs"),
        include_bytes!("launch.rs"),
        include_bytes!("launcher.rs"),
        include_bytes!("lib.rs"),
        include_bytes!("orders.rs"),
        include_bytes!("processes.rs"),
        include_bytes!("reap.rs"),
        include_bytes!("rest.rs"),
        include_bytes!("spawn.rs"),
        include_bytes!("supervised.rs"),
        include_bytes!("watchdog.rs"),
        include_bytes!("way_out.rs"),
        include_bytes!("wire.rs"),
    ];
    let (mut hash, mut part) = (sandbox::SOURCE, 0);
    while part < parts.len() {
        hash = sandbox::fnv1a(hash, parts[part]);
        part += 1;
    }
    part = 0;
    while part < uplink::SOURCE.len() {
        hash = sandbox::fnv1a(hash, uplink::SOURCE[part]);
        part += 1;
    }
    hash
};

/// The longest message, in bytes: an environment and arguments that the kernel would accept fit.
pub const MAX_FRAME: usize = 16 * 1024 * 1024;

/// A command to start, complete: nothing is inherited but what stands here.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Spec {
    /// The program, as an absolute path.
    pub program: PathBuf,
    /// Its arguments, without the program's own name.
    pub args: Vec<String>,
    /// Its whole environment.
    pub env: Vec<(String, String)>,
    /// Its working directory.
    pub cwd: PathBuf,
    /// How it is ended.
    pub kind: Kind,
    /// Where its standard output and error go.
    pub output: Output,
    /// What it reads.
    pub input: Input,
    /// What it is granted; it is then started by the launcher that [`Order::Prepare`] has made ready. `None`
    /// runs it as we are.
    pub grant: Option<Grant>,
    /// Whom it reaches, if its launcher has a network of its own.
    pub rules: Option<Rules>,
}

/// How a command is ended when its host asks for grace, or goes away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// A script: everything is killed at once when the host goes away; SIGTERM, when asked
    /// for, goes to its whole process group.
    Script,
    /// A service: its main process alone gets SIGTERM, also when the host goes away, and has
    /// this long to end.
    Service {
        /// The time between SIGTERM and SIGKILL when the host went away.
        grace: Duration,
    },
}

/// What a command has as its standard input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Input {
    /// Nothing.
    Null,
    /// A socket to the host, for both directions: `lifecycle::supervisor::Running` has the other end.
    Channel,
}

/// Where standard output and error go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Output {
    /// To the host, by way of `lifecycle::supervisor::Running`.
    Log(Streams),
    /// Both to the host's standard error, in the order written.
    Inherit,
    /// Both to the end of this file, in the order written.
    File(PathBuf),
}

impl Output {
    /// Whether standard error has a pipe of its own.
    pub fn is_apart(&self) -> bool {
        *self == Self::Log(Streams::Apart)
    }
}

/// How standard output and error reach the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Streams {
    /// Over one pipe, exactly in the order written.
    Merged,
    /// Over a pipe each, so that they can be told apart; their order among each other is lost.
    Apart,
}

/// How a command ended, and what it used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// How the main process ended.
    pub status: Status,
    /// Monotonic clock just before the main process was forked, in nanoseconds.
    pub started_ns: u64,
    /// Monotonic clock when the main process was found ended, in nanoseconds.
    pub exited_ns: u64,
    /// The largest resident set of any one process, in KiB.
    pub max_rss_kib: u64,
    /// User and system time of all processes, in milliseconds.
    pub cpu_ms: u64,
}

impl Exit {
    /// From just before the fork to the end of the main process.
    pub fn wall(&self) -> Duration {
        Duration::from_nanos(self.exited_ns.saturating_sub(self.started_ns))
    }
}

/// A limit of [`sandbox::Limits`] that ended a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Hit {
    /// Memory of all its processes.
    Memory,
    /// CPU time of all its processes.
    Cpu,
    /// The number of its processes.
    Processes,
    /// The size of one file.
    FileSize,
    /// The size of all its files.
    Disk,
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Status {
    /// By itself, with this code.
    Code(i32),
    /// By this signal.
    Signal(i32),
}

impl Status {
    /// The code as shells give it: 128 + n for signal n.
    pub fn shell_code(self) -> i32 {
        match self {
            Self::Code(code) => code,
            Self::Signal(signal) => 128 + signal,
        }
    }

    /// Whether it ended by itself with code 0.
    pub fn success(self) -> bool {
        self == Self::Code(0)
    }
}

/// From the host.
#[derive(Debug, Serialize, Deserialize)]
pub enum Order {
    /// Have a launcher confined like this wait for the next command.
    Prepare(Confinement),
    /// Start this.
    Start(Spec),
    /// Kill everything, after SIGTERM and this long if it is not zero.
    Kill {
        /// From SIGTERM to SIGKILL.
        grace: Duration,
    },
    /// The command takes one job after the other, and one has ended: count anew, and say what is left of it.
    Rest,
    /// Stop the command, which has no job, until [`Order::Thaw`]: nothing of it runs meanwhile.
    Freeze,
    /// Let it go on.
    Thaw,
}

/// What a command that takes one job after the other has used for the last one, and what is left of that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rested {
    /// Processes besides the command's first one.
    pub others: u64,
    /// The largest resident set of the first process meanwhile, in KiB.
    pub peak_kib: u64,
    /// Its resident set now, in KiB.
    pub resident_kib: u64,
}

/// Why a command could not be started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// For people.
    pub message: String,
    /// The system's error number, where it was a call that failed.
    pub os_error: Option<i32>,
}

impl Refusal {
    /// Something other than the system says no.
    pub fn because(message: impl Into<String>) -> Self {
        Self { message: message.into(), os_error: None }
    }
}

impl From<&io::Error> for Refusal {
    fn from(error: &io::Error) -> Self {
        Self { message: error.to_string(), os_error: error.raw_os_error() }
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

/// From the supervisor.
#[derive(Debug, Serialize, Deserialize)]
pub enum Report {
    /// A launcher waits.
    Prepared,
    /// There is no launcher.
    Unprepared {
        /// Why.
        message: String,
    },
    /// The main process runs; its id is also its process group's.
    Started {
        /// The main process.
        pid: i32,
    },
    /// It could not be started.
    Refused(Refusal),
    /// A job of it has ended.
    Rested(Rested),
    /// It has ended and nothing of it is left.
    Ended {
        /// How.
        exit: Exit,
        /// Whether the supervisor takes another command: not when this one has tampered with it.
        reusable: bool,
        /// The limit it has hit, if it was ended for that.
        hit: Option<Hit>,
    },
}

/// The bytes of one message.
pub fn encode<T: Serialize>(message: &T) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; 4];
    serde_json::to_writer(&mut bytes, message)?;
    let length = bytes.len() - 4;
    if length > MAX_FRAME {
        let text = format!("a message to the supervisor of {length} bytes, the limit is {MAX_FRAME}");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    }
    let length = u32::try_from(length).map_err(io::Error::other)?;
    bytes[..4].copy_from_slice(&length.to_le_bytes());
    Ok(bytes)
}

/// Takes the first whole message off `buffer`, if one is there.
pub fn take<T: DeserializeOwned>(buffer: &mut Vec<u8>) -> io::Result<Option<T>> {
    let Some((head, rest)) = buffer.split_first_chunk::<4>() else { return Ok(None) };
    let length = u32::from_le_bytes(*head) as usize;
    if length > MAX_FRAME {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("a message of {length} bytes")));
    }
    let Some(body) = rest.get(..length) else { return Ok(None) };
    let message = serde_json::from_slice(body)?;
    buffer.drain(..4 + length);
    Ok(Some(message))
}

/// Blocks until one message has come; `None` at the end of the stream.
pub fn receive<T: DeserializeOwned>(from: &mut impl Read) -> io::Result<Option<T>> {
    let mut head = [0; 4];
    match from.read_exact(&mut head) {
        Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        other => other?,
    }
    let length = u32::from_le_bytes(head) as usize;
    if length > MAX_FRAME {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("a message of {length} bytes")));
    }
    let mut body = vec![0; length];
    from.read_exact(&mut body)?;
    Ok(Some(serde_json::from_slice(&body)?))
}

/// Blocks until one message is written.
pub fn send<T: Serialize>(to: &mut impl Write, message: &T) -> io::Result<()> {
    to.write_all(&encode(message)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_survive_any_split() {
        let bytes =
            [encode(&Report::Started { pid: 7 }).unwrap(), encode(&Report::Started { pid: 8 }).unwrap()];
        let mut buffer = Vec::new();
        let mut pids = Vec::new();
        for byte in bytes.concat() {
            buffer.push(byte);
            if let Some(Report::Started { pid }) = take(&mut buffer).unwrap() {
                pids.push(pid);
            }
        }
        assert_eq!(pids, [7, 8]);
        assert!(buffer.is_empty());
    }

    #[test]
    fn absurd_lengths_are_refused() {
        let mut buffer = vec![0xff; 8];
        assert!(take::<Report>(&mut buffer).is_err());
        assert!(receive::<Report>(&mut &[0xff_u8; 8][..]).is_err());
        assert!(receive::<Report>(&mut &[][..]).unwrap().is_none());
    }
}
