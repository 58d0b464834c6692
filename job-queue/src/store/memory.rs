//! How much memory the server uses.

use super::{Records, StoreError};

/// What the server uses, and may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// What counts against its limit.
    pub used: u64,
    /// Its limit; none: all there is.
    pub limit: Option<u64>,
}

impl Records {
    /// Asks the server.
    ///
    /// # Errors
    /// The store is away.
    pub async fn memory(&self) -> Result<Memory, StoreError> {
        let mut ask = redis::cmd("INFO");
        ask.arg("memory");
        let text: String = self.connection.query(&ask).await?;
        read(&text)
            .ok_or_else(|| StoreError::Answer("INFO memory without used_memory and maxmemory".to_owned()))
    }
}

/// Buffers of replicas and of the log on disk are used, too, but do not count where the server refuses writes.
fn read(info: &str) -> Option<Memory> {
    let number = |name: &str| -> Option<u64> {
        let line = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        line.trim().parse().ok()
    };
    let uncounted = number("mem_not_counted_for_evict").unwrap_or_default();
    let used = number("used_memory")?.saturating_sub(uncounted);
    Some(Memory { used, limit: Some(number("maxmemory")?).filter(|limit| *limit > 0) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_that_count_are_found() {
        let text = "# Memory\r\nused_memory:1000\r\nused_memory_human:1K\r\nused_memory_rss:5000\r\n\
                    maxmemory:2000\r\nmaxmemory_human:2K\r\nmem_not_counted_for_evict:100\r\n";
        assert_eq!(read(text), Some(Memory { used: 900, limit: Some(2000) }));
        assert_eq!(read("used_memory:7\r\nmaxmemory:0\r\n"), Some(Memory { used: 7, limit: None }));
        assert_eq!(read("used_memory:7\r\n"), None);
        assert_eq!(read(""), None);
    }
}
