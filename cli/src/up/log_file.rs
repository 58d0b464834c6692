//! The servers' log files: kept small, and quoted when a server does not start.

use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

/// A log larger than this, in bytes, is set aside at the next start.
const MAX_BYTES: u64 = 8 * 1024 * 1024;

/// How much of the end of a log is quoted, in bytes.
const TAIL_BYTES: u64 = 2048;

/// How many lines of it.
const TAIL_LINES: usize = 8;

/// Sets a large log aside as `<name>.1`, replacing the one before.
pub(crate) fn rotate(path: &Path) -> io::Result<()> {
    match std::fs::metadata(path) {
        Ok(log) if log.len() > MAX_BYTES => std::fs::rename(path, path.with_extension("log.1")),
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// The last lines, or why they cannot be shown.
pub(crate) fn tail(path: &Path) -> String {
    let bytes = last_bytes(path).unwrap_or_else(|error| format!("(not readable: {error})").into_bytes());
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
}

fn last_bytes(path: &Path) -> io::Result<Vec<u8>> {
    let mut file = std::fs::File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
    let mut bytes = Vec::new();
    file.take(TAIL_BYTES).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tail_is_the_end() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.log");
        assert!(tail(&path).starts_with("(not readable"));
        let text: Vec<String> = (0..1000).map(|n| format!("line {n}\n")).collect();
        std::fs::write(&path, text.concat()).unwrap();
        let tail = tail(&path);
        assert_eq!(tail.lines().count(), TAIL_LINES);
        assert!(tail.ends_with("line 999"), "{tail}");
    }

    #[test]
    fn only_a_large_log_is_set_aside() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.log");
        rotate(&path).unwrap();
        std::fs::write(&path, "small").unwrap();
        rotate(&path).unwrap();
        assert!(path.exists());
        std::fs::File::create(&path).unwrap().set_len(MAX_BYTES + 1).unwrap();
        rotate(&path).unwrap();
        assert!(!path.exists() && dir.path().join("x.log.1").exists());
    }
}
