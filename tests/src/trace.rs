//! strace around a process: every read, write and sync it makes, in order and with its time.
//!
//! The process is started by strace instead of being attached to: a child may be traced where a stranger may
//! not (Yama), nothing is missed at the beginning, and the kernel stops it at the calls of [`CALLS`] alone.

mod call;
mod text;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use hookmill::up::tools;

pub use call::{Call, Kind, Target};
pub use text::Told;

use crate::waiting::eventually;

/// Whatever moves bytes, or brings them to the disk.
const CALLS: &str = "trace=read,readv,recvfrom,recvmsg,pread64,write,writev,pwrite64,pwritev,pwritev2,\
     sendto,sendmsg,sendfile,fsync,fdatasync,sync_file_range,msync,sync,syncfs";

/// More of a call's bytes are not noted: no buffer of these programs is larger.
const BYTES: &str = "131072";

/// How long strace may take to write down what it has seen.
const WRITTEN_WITHIN: Duration = Duration::from_secs(30);

/// `program`, traced into `file`; it keeps its process id.
///
/// # Panics
/// There is no strace.
pub(crate) fn around(program: &Path, file: &Path) -> Command {
    let strace = tools::find("strace").unwrap_or_else(|_| {
        panic!(
            "no strace: what is on disk before an answer cannot be shown without it. \
             `deploy/tools/fetch test` fetches it"
        )
    });
    let mut command = Command::new(strace);
    // the tracer is the grandchild, so that the process that was started is the program itself
    command.args(["-D", "-f", "-q", "--seccomp-bpf", "-y", "-s", BYTES, "-e", "signal=none", "-e", CALLS]);
    command.args(["--absolute-timestamps=format:unix,precision:ns", "--syscall-times=ns", "-o"]);
    command.arg(file).arg("--").arg(program);
    command
}

/// Says so where a process runs and strace sees nothing of it.
///
/// # Panics
/// strace sees nothing.
pub(crate) fn assert_seen(file: &Path) {
    let seen = std::fs::metadata(file).is_ok_and(|file| file.len() > 0);
    assert!(
        seen,
        "strace sees nothing ({} is empty; its words are in the log beside it): ptrace is refused here. A container \
         needs the capability SYS_PTRACE, or a seccomp profile that allows it, as Docker's does since Linux 4.8",
        file.display()
    );
}

/// What a process did, from its start to its end.
#[derive(Debug)]
pub struct Trace {
    /// In the order in which they were begun.
    pub calls: Vec<Call>,
    file: PathBuf,
}

impl Trace {
    /// What is written in `file`, once the traced process has ended.
    ///
    /// # Panics
    /// It is not whole within 30 s, or holds something else.
    pub async fn whole(file: &Path) -> Self {
        let text = eventually("the end of a trace", WRITTEN_WITHIN, async || {
            let text = std::fs::read(file).ok()?;
            let text = String::from_utf8_lossy(&text).into_owned();
            text.trim_end().ends_with("+++").then_some(text)
        })
        .await;
        let calls =
            call::parse(&text).unwrap_or_else(|line| panic!("{}: not understood: {line}", file.display()));
        assert!(!calls.is_empty(), "{} has seen nothing", file.display());
        Self { calls, file: file.to_owned() }
    }

    /// Where it is written.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// What was read, or written, by way of each connection.
    pub fn connections(&self, kind: Kind) -> Vec<Told> {
        Told::all(&self.calls, kind)
    }
}
