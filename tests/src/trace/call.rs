//! The lines of strace as system calls.

use std::collections::HashMap;

/// What a call does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Bytes come in.
    Read,
    /// Bytes go out.
    Write,
    /// What was written is brought to the disk; returns when it is there.
    Sync,
}

/// With what a call is made.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Target {
    /// A connection, by its number in the system.
    Socket(String),
    /// Anything that has a path.
    File(String),
}

/// One call, over its whole time.
#[derive(Clone, Debug)]
pub struct Call {
    /// What it does.
    pub kind: Kind,
    /// With what.
    pub target: Target,
    /// The bytes, as a C string would write them.
    pub text: String,
    /// The line of its beginning: an earlier line was seen before.
    pub begun: usize,
    /// The line of its return.
    pub ended: usize,
    /// When it was begun, in Unix ns.
    pub begun_ns: u64,
    /// When it had returned.
    pub ended_ns: u64,
    /// Whether it did what it should.
    pub done: bool,
}

impl Call {
    /// Whether it goes by way of a connection.
    pub fn is_socket(&self) -> bool {
        matches!(self.target, Target::Socket(_))
    }

    /// The path of its file; empty for a connection.
    pub fn path(&self) -> &str {
        match &self.target {
            Target::File(path) => path,
            Target::Socket(_) => "",
        }
    }
}

/// A call that has not returned.
struct Open {
    number: usize,
    begun_ns: u64,
    words: String,
}

/// Every finished call, in the order in which they were begun.
///
/// # Errors
/// A line that strace does not write.
pub(super) fn parse(text: &str) -> Result<Vec<Call>, String> {
    let (mut open, mut calls) = (HashMap::new(), Vec::new());
    for (number, line) in text.lines().enumerate() {
        let (thread, at, rest) = leader(line).ok_or(line)?;
        if rest.starts_with("+++") || rest.starts_with("---") {
            continue;
        }
        if let Some(words) = rest.strip_suffix(" <unfinished ...>") {
            open.insert(thread, Open { number, begun_ns: at, words: words.to_owned() });
        } else if let Some(resumed) = rest.strip_prefix("<... ") {
            let Some(begun) = open.remove(thread) else { return Err(line.to_owned()) };
            let (_, more) = resumed.split_once(" resumed>").ok_or(line)?;
            let words = format!("{}{more}", begun.words);
            calls.extend(call(&words, (begun.number, number), begun.begun_ns, Some(at))?);
        } else {
            calls.extend(call(rest, (number, number), at, None)?);
        }
    }
    calls.sort_by_key(|call| call.begun);
    Ok(calls)
}

/// `<thread> <seconds>.<ns> <rest>`
fn leader(line: &str) -> Option<(&str, u64, &str)> {
    let (thread, rest) = line.split_once(' ')?;
    let (at, rest) = rest.trim_start().split_once(' ')?;
    let (seconds, ns) = at.split_once('.')?;
    Some((thread, seconds.parse::<u64>().ok()? * 1_000_000_000 + ns.parse::<u64>().ok()?, rest))
}

/// `name(fd<target>, "bytes", …) = result <seconds.ns>`; none for a call that is of no interest.
///
/// # Errors
/// It is no such line.
fn call(
    words: &str,
    (begun, ended): (usize, usize),
    begun_ns: u64,
    returned: Option<u64>,
) -> Result<Option<Call>, &str> {
    let (name, rest) = words.split_once('(').ok_or(words)?;
    let Some(kind) = kind(name) else { return Ok(None) };
    let (arguments, result) = rest.rsplit_once(") = ").or_else(|| rest.rsplit_once(" = ")).ok_or(words)?;
    let Some((target, bytes)) = target(arguments) else { return Ok(None) };
    let took = result.rsplit_once(" <").and_then(|(_, took)| ns(took.strip_suffix('>')?));
    let ended_ns = returned.unwrap_or(begun_ns + took.unwrap_or(0));
    let done = !result.trim_start().starts_with(['-', '?']);
    Ok(Some(Call { kind, target, text: strings(bytes), begun, ended, begun_ns, ended_ns, done }))
}

fn kind(name: &str) -> Option<Kind> {
    match name {
        "read" | "readv" | "recvfrom" | "recvmsg" => Some(Kind::Read),
        "write" | "writev" | "pwrite64" | "pwritev" | "pwritev2" | "sendto" | "sendmsg" => Some(Kind::Write),
        "fsync" | "fdatasync" => Some(Kind::Sync),
        // whoever begins to use another way to the disk, or to a connection, is to be looked at
        _ => None,
    }
}

/// `9</a/path>, rest` or `9<socket:[123]>, rest`
fn target(arguments: &str) -> Option<(Target, &str)> {
    let (fd, rest) = arguments.split_once('<')?;
    fd.parse::<u32>().ok()?;
    let (name, rest) = rest.split_once('>')?;
    let target = match name.strip_prefix("socket:[").and_then(|name| name.strip_suffix(']')) {
        Some(number) => Target::Socket(number.to_owned()),
        None => Target::File(name.to_owned()),
    };
    Some((target, rest))
}

/// What stands between quotes, put together.
fn strings(arguments: &str) -> String {
    let (mut out, mut inside, mut escaped) = (String::new(), false, false);
    for c in arguments.chars() {
        match c {
            '"' if !escaped => inside = !inside,
            _ if inside => out.push(c),
            _ => {}
        }
        escaped = inside && c == '\\' && !escaped;
    }
    out
}

/// `0.004052215`
fn ns(seconds: &str) -> Option<u64> {
    let (whole, ns) = seconds.split_once('.')?;
    Some(whole.parse::<u64>().ok()? * 1_000_000_000 + ns.parse::<u64>().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEEN: &str = r#"7 100.000000001 read(8<socket:[27]>, "PUB a \"b\"\r\n", 512) = 28 <0.000000052>
8 100.000000100 pwrite64(9</js/1.blk>, ")\0(hello)", 41, 0 <unfinished ...>
7 100.000000150 epoll_wait(3<anon_inode:[eventpoll]>, [], 8, 0) = 0 <0.000000001>
8 100.000000200 <... pwrite64 resumed>) = 41 <0.000000100>
8 100.000000300 fsync(9</js/1.blk>) = 0 <0.000000050>
9 100.000000360 fdatasync(9</js/1.blk>) = -1 EIO (Input/output error) <0.000000050>
8 100.000000400 writev(8<socket:[27]>, [{iov_base="MSG ", iov_len=4}, {iov_base="x\r\n", iov_len=3}], 2) = 7 <0.000000009>
8 100.000000500 --- SIGTERM {si_signo=SIGTERM} ---
7 100.000000600 +++ exited with 0 +++
"#;

    #[test]
    fn calls_have_their_bytes_their_order_and_their_times() {
        let calls = parse(SEEN).unwrap();
        let told: Vec<_> =
            calls.iter().map(|call| (call.kind, call.text.as_str(), call.begun, call.ended)).collect();
        assert_eq!(
            told,
            [
                (Kind::Read, r#"PUB a \"b\"\r\n"#, 0, 0),
                (Kind::Write, r")\0(hello)", 1, 3),
                (Kind::Sync, "", 4, 4),
                (Kind::Sync, "", 5, 5),
                (Kind::Write, r"MSG x\r\n", 6, 6),
            ]
        );
        assert_eq!((calls[1].begun_ns, calls[1].ended_ns), (100_000_000_100, 100_000_000_200));
        assert_eq!((calls[2].path(), calls[2].ended_ns), ("/js/1.blk", 100_000_000_350));
        assert_eq!(calls.iter().map(|call| call.done).collect::<Vec<_>>(), [true, true, true, false, true]);
        assert!(calls[0].is_socket() && calls[0].target == calls[4].target && !calls[1].is_socket());
    }

    #[test]
    fn another_text_is_no_trace() {
        for bad in ["strace: Operation not permitted", "7 100.000000001 <... read resumed>) = 1"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
