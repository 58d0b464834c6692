//! What a script is told of the limit it has hit: which one, and its value.

use lifecycle::supervisor::{Hit, Status};

use super::failure::JobError;
use super::invocation::Limits;

/// What the system says when a limit is in a program's way that ends nobody, in any of our languages.
const IN_THE_WAY: [(&str, Hint); 7] = [
    ("Too many open files", Hint::OpenFiles),
    ("EMFILE", Hint::OpenFiles),
    ("File too large", Hint::Of(Hit::FileSize)),
    ("File size limit exceeded", Hint::Of(Hit::FileSize)),
    ("Resource temporarily unavailable", Hint::Of(Hit::Processes)),
    ("can't start new thread", Hint::Of(Hit::Processes)),
    ("CPU time limit exceeded", Hint::Of(Hit::Cpu)),
];

#[derive(Clone, Copy)]
enum Hint {
    OpenFiles,
    Of(Hit),
}

/// The error of a run that has ended with `error`: that of the limit if that ended it, else its own with the
/// limit that was in its way named behind it.
pub(super) fn explain(error: JobError, status: Status, hit: Option<Hit>, limits: &Limits) -> JobError {
    match (hit, status) {
        (Some(hit), Status::Signal(_)) => {
            let (name, text) = of(hit, limits);
            let exit_code = Some(status.shell_code());
            JobError { exit_code, ..JobError::new(name, format!("the script was ended: {text}")) }
        }
        (Some(hit), Status::Code(_)) => with_note(error, &of(hit, limits).1),
        (None, _) => match hint(&error) {
            Some(Hint::Of(hit)) => with_note(error, &of(hit, limits).1),
            Some(Hint::OpenFiles) => {
                let most = limits.kernel.open_files;
                with_note(error, &format!("its limit is {most} open files of each process (open_files)"))
            }
            None => error,
        },
    }
}

fn hint(error: &JobError) -> Option<Hint> {
    IN_THE_WAY.iter().find(|(text, _)| error.message.contains(text)).map(|(_, hint)| *hint)
}

fn with_note(error: JobError, note: &str) -> JobError {
    JobError { message: format!("{}\n[{note}]", error.message.trim_end()), ..error }
}

/// The name of the error, and the limit with its value and the setting it has.
fn of(hit: Hit, limits: &Limits) -> (&'static str, String) {
    let kernel = &limits.kernel;
    match hit {
        Hit::Memory => (
            "MemoryLimit",
            format!("its limit is {} of memory of all its processes (memory)", size(kernel.memory)),
        ),
        Hit::Cpu => (
            "CpuLimit",
            format!("its limit is {} s of CPU time of all its processes (cpu_seconds)", kernel.cpu_seconds),
        ),
        Hit::Processes => (
            "ProcessLimit",
            format!("its limit is {} processes and threads at a time (processes)", kernel.processes),
        ),
        Hit::FileSize => {
            ("FileSizeLimit", format!("its limit is {} for each file (file_bytes)", size(kernel.file_bytes)))
        }
        Hit::Disk => {
            ("DiskLimit", format!("its limit is {} of files in all (disk_bytes)", size(kernel.disk_bytes)))
        }
    }
}

fn size(bytes: u64) -> String {
    match bytes {
        bytes if bytes >= 1 << 20 && bytes.is_multiple_of(1 << 20) => format!("{} MiB", bytes >> 20),
        bytes => format!("{bytes} bytes"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_replaces_a_death_and_is_added_to_a_failure() {
        let limits = Limits::default();
        let own = || JobError::new("OSError", "[Errno 24] Too many open files: 'x'");
        let died = explain(own(), Status::Signal(9), Some(Hit::Memory), &limits);
        assert_eq!((died.name.as_str(), died.exit_code), ("MemoryLimit", Some(137)));
        assert!(died.message.contains("2048 MiB") && died.message.contains("(memory)"), "{}", died.message);
        let failed = explain(own(), Status::Code(1), None, &limits);
        assert_eq!(failed.name, "OSError");
        assert!(failed.message.ends_with("[its limit is 4096 open files of each process (open_files)]"));
        let other = explain(JobError::new("E", "no"), Status::Code(1), None, &limits);
        assert_eq!(other.message, "no");
    }

    #[test]
    fn sizes() {
        assert_eq!(
            (size(1 << 20).as_str(), size(1000).as_str(), size(0).as_str()),
            ("1 MiB", "1000 bytes", "0 bytes")
        );
    }
}
