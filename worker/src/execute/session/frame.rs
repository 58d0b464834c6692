//! What a worker and a process that takes jobs say to each other: frames over one socket. Each is two lengths of four
//! bytes (little-endian), a JSON object and a body. The other side is `runtimes/*` and, as soon as it has loaded a
//! script, at that script's mercy.

use std::collections::BTreeMap;
use std::io;

use bytes::{Buf, Bytes, BytesMut};
use proto::IsolationMode;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// Bytes of the two lengths.
const LENGTHS: usize = 8;

/// The longest head that a process may send.
const MAX_HEAD: usize = 64 * 1024;

/// An error's text, with room for names and escapes.
const MAX_ERROR: u64 = 1024 * 1024;

/// A body up to this many bytes goes with its head, in one call.
const TOGETHER: usize = 64 * 1024;

/// To the process.
#[derive(Serialize)]
pub(super) struct Order<'a> {
    pub(super) kind: Kind,
    /// Named by its answer, too.
    pub(super) job: &'a str,
    /// The whole environment.
    pub(super) env: BTreeMap<&'a str, &'a str>,
    pub(super) cwd: &'a str,
    /// The script, for a process that has none yet.
    pub(super) load: Option<&'a Value>,
    pub(super) mode: IsolationMode,
}

/// What is to be done.
#[derive(Clone, Copy, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Kind {
    /// The job of the body's arguments.
    Run,
    /// What comes before all jobs of a process that forks for each.
    Load,
}

/// From the process.
#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub(super) enum Said {
    /// It takes jobs.
    Ready,
    /// One more of the items that the script returns.
    Item,
    /// The script has returned the body, or failed with it.
    Ended {
        job: String,
        ok: bool,
        /// Its largest resident set, in KiB; 0 if it does not know.
        #[serde(default)]
        peak_kib: u64,
    },
    /// It takes the next job, unless something of the last one is left.
    Rest { left: Option<String> },
}

/// Why what came is no frame.
#[derive(Debug, thiserror::Error)]
pub(super) enum Garbled {
    /// A body over its bound.
    #[error("a body of {size} bytes")]
    TooLarge {
        /// What it has.
        size: u64,
    },
    /// Bytes that the protocol does not have.
    #[error("what came from the process is not of the protocol: {0}")]
    Unreadable(String),
    /// The socket broke.
    #[error("the socket to the process: {0}")]
    Io(#[from] io::Error),
}

/// Sends one frame.
pub(super) async fn send(
    to: &mut (impl AsyncWrite + Unpin),
    order: &Order<'_>,
    body: &[u8],
) -> io::Result<()> {
    let mut frame = vec![0; LENGTHS];
    serde_json::to_writer(&mut frame, order)?;
    let lengths = [frame.len() - LENGTHS, body.len()];
    for (at, length) in lengths.into_iter().enumerate() {
        let length = u32::try_from(length).map_err(io::Error::other)?;
        frame[4 * at..4 * at + 4].copy_from_slice(&length.to_le_bytes());
    }
    if body.len() <= TOGETHER {
        frame.extend_from_slice(body);
        return to.write_all(&frame).await;
    }
    to.write_all(&frame).await?;
    to.write_all(body).await
}

/// What has come and was not yet taken.
#[derive(Debug, Default)]
pub(super) struct Inbox(BytesMut);

impl Inbox {
    /// Whether nothing has come.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Waits for the next frame, in which a result may have `limit` bytes; `None` at the end. Nothing is lost if it is
    /// dropped.
    pub(super) async fn next(
        &mut self,
        from: &mut (impl AsyncRead + Unpin),
        limit: u64,
    ) -> Result<Option<(Said, Bytes)>, Garbled> {
        loop {
            if let Some(frame) = self.take(limit)? {
                return Ok(Some(frame));
            }
            match from.read_buf(&mut self.0).await {
                Ok(1..) => {}
                Ok(0) => return Ok(None),
                // it has ended without having read all that it was told
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(None),
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn take(&mut self, limit: u64) -> Result<Option<(Said, Bytes)>, Garbled> {
        let Some((head, rest)) = self.0.split_first_chunk() else { return Ok(None) };
        let Some((body, rest)) = rest.split_first_chunk() else { return Ok(None) };
        let (head, size) = (u32::from_le_bytes(*head) as usize, u32::from_le_bytes(*body));
        let (size, body) = (u64::from(size), size as usize);
        if head > MAX_HEAD {
            return Err(Garbled::Unreadable(format!("a head of {head} bytes")));
        }
        // what it is must be known before its size can be said to be that of a result
        let Some(text) = rest.get(..head) else { return Ok(None) };
        let said = serde_json::from_slice(text).map_err(|error| Garbled::Unreadable(error.to_string()))?;
        let limit = if matches!(said, Said::Ended { ok: false, .. }) { MAX_ERROR } else { limit };
        if size > limit {
            return Err(Garbled::TooLarge { size });
        }
        let whole = LENGTHS + head + body;
        if self.0.len() < whole {
            self.0.reserve(whole - self.0.len());
            return Ok(None);
        }
        let mut frame = self.0.split_to(whole);
        frame.advance(whole - body);
        Ok(Some((said, frame.freeze())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(head: &str, body: &[u8]) -> Vec<u8> {
        let length = |of: usize| u32::try_from(of).unwrap().to_le_bytes();
        [&length(head.len())[..], &length(body.len()), head.as_bytes(), body].concat()
    }

    const ENDED: &str = r#"{"kind":"ended","job":"a","ok":true,"peak_kib":5}"#;

    #[tokio::test]
    async fn frames_come_whole_however_they_are_cut() {
        let bytes = [frame(r#"{"kind":"ready"}"#, b""), frame(ENDED, b"[1]")].concat();
        let (mut inbox, mut came) = (Inbox::default(), Vec::new());
        for byte in bytes {
            inbox.0.extend_from_slice(&[byte]);
            came.extend(inbox.take(3).unwrap());
        }
        assert_eq!(came[0], (Said::Ready, Bytes::new()));
        let ended = Said::Ended { job: "a".to_owned(), ok: true, peak_kib: 5 };
        assert_eq!(came[1], (ended, Bytes::from_static(b"[1]")));
        assert!(inbox.is_empty());
        assert!(inbox.next(&mut &[][..], 3).await.unwrap().is_none());
    }

    #[tokio::test]
    async fn what_is_no_frame_is_an_error_at_once() {
        let garbled = async |bytes: Vec<u8>| Inbox::default().next(&mut &bytes[..], 3).await.unwrap_err();
        assert!(matches!(garbled(vec![b'h'; 40]).await, Garbled::Unreadable(_)));
        assert!(matches!(garbled(frame("{}", b"")).await, Garbled::Unreadable(_)));
        assert!(matches!(garbled(frame("null", b"")).await, Garbled::Unreadable(_)));
        // its size is said before it has come
        let large = &frame(ENDED, b"1234")[..LENGTHS + ENDED.len()];
        assert!(matches!(garbled(large.to_vec()).await, Garbled::TooLarge { size: 4 }));
    }
}
