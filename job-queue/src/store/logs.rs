//! Logs: chunks in a sorted set by the offset of their first character, counted in
//! UTF-16 units because that is what the command line client counts in.

use proto::{JobId, WorkspaceId};

use super::keys::{self, JobKeys};
use super::{Records, StoreError};
use crate::model::Job;

/// Text to append.
pub struct LogChunk<'a> {
    /// The attempt that writes.
    pub attempt: u32,
    /// Where the writer believes the log to end; none at its first chunk.
    pub at: Option<u64>,
    /// Valid UTF-8 without NUL.
    pub text: &'a str,
}

/// A part of a log.
#[derive(Debug, Default, PartialEq)]
pub struct LogSlice {
    /// The text from the offset asked for.
    pub text: String,
    /// Where it ends: the offset to ask for next.
    pub end: u64,
}

/// Length of a text in UTF-16 units.
pub(super) fn units(text: &str) -> u64 {
    text.encode_utf16().count() as u64
}

impl Records {
    /// Appends to the log of a running attempt. Returns where the log ends now, or none
    /// when another attempt holds the fence.
    ///
    /// # Errors
    /// The store is away; the same call may be repeated.
    pub async fn append_log(&self, job: &Job, chunk: &LogChunk<'_>) -> Result<Option<u64>, StoreError> {
        let mut script = JobKeys::new(&job.workspace, Some(&job.path), job.id).invoke(&self.scripts.log);
        script.arg(chunk.attempt).arg(chunk.at.map(|at| at.to_string()).unwrap_or_default());
        script.arg(chunk.text).arg(units(chunk.text));
        let answer: String = self.invoke(&script).await?;
        if answer == "fenced" {
            return Ok(None);
        }
        answer.parse().map(Some).map_err(|_| StoreError::Answer(format!("unexpected: {answer}")))
    }

    /// The log from an offset to its end.
    ///
    /// # Errors
    /// The store is away.
    pub async fn log_from(
        &self,
        workspace: &WorkspaceId,
        id: JobId,
        offset: u64,
    ) -> Result<LogSlice, StoreError> {
        self.log_range(workspace, id, offset, "+inf").await
    }

    async fn log_range(
        &self,
        workspace: &WorkspaceId,
        id: JobId,
        offset: u64,
        before: &str,
    ) -> Result<LogSlice, StoreError> {
        let key = keys::log(workspace, id);
        // the chunk that holds the offset begins at or before it
        let mut first = redis::cmd("ZREVRANGEBYSCORE");
        first.arg(&key).arg(offset).arg("-inf").arg("WITHSCORES").arg("LIMIT").arg(0).arg(1);
        let mut rest = redis::cmd("ZRANGEBYSCORE");
        rest.arg(&key).arg(format!("({offset}")).arg(before);
        let mut both = redis::pipe();
        both.add_command(first).add_command(rest);
        let (first, rest): (Vec<(String, f64)>, Vec<String>) = self.connection.pipeline(&both).await?;
        Ok(assemble(offset, first.into_iter().next(), &rest))
    }

    /// The log from an offset to another one.
    ///
    /// # Errors
    /// The store is away.
    pub async fn log_part(
        &self,
        workspace: &WorkspaceId,
        id: JobId,
        (from, to): (u64, u64),
    ) -> Result<String, StoreError> {
        let mut text = self.log_range(workspace, id, from, &format!("({to}")).await?.text;
        let behind = after_units(&text, to.saturating_sub(from)).len();
        text.truncate(text.len() - behind);
        Ok(text)
    }

    /// The last part of a log: at least `units` UTF-16 units where there are so many.
    ///
    /// # Errors
    /// The store is away.
    pub async fn log_tail(
        &self,
        workspace: &WorkspaceId,
        id: JobId,
        log_len: u64,
        units: u64,
    ) -> Result<String, StoreError> {
        let slice = self.log_from(workspace, id, log_len.saturating_sub(units)).await?;
        Ok(slice.text)
    }
}

fn assemble(offset: u64, first: Option<(String, f64)>, rest: &[String]) -> LogSlice {
    let mut slice = LogSlice { text: String::new(), end: offset };
    if let Some((member, score)) = first {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "scores are counts below 2^53"
        )]
        let start = score as u64;
        let (whole, text) = (body(&member), after_units(body(&member), offset - start));
        slice.text.push_str(text);
        // an offset inside a character begins after it
        slice.end = offset.max(start + units(whole) - units(text));
    }
    slice.end += units(&slice.text);
    for member in rest {
        slice.text.push_str(body(member));
    }
    // the text of tries long ago may be gone: the last chunk says where it ends
    if let Some(last) = rest.last() {
        slice.end = start_of(last).unwrap_or(slice.end) + units(body(last));
    }
    slice
}

/// The `<offset>` of a member.
fn start_of(member: &str) -> Option<u64> {
    member.split_once(':')?.0.parse().ok()
}

/// A member without its `<offset>:`.
fn body(member: &str) -> &str {
    member.split_once(':').map_or("", |(_, text)| text)
}

/// The text after so many UTF-16 units; a character is never cut.
fn after_units(text: &str, skip: u64) -> &str {
    let mut seen = 0;
    for (at, character) in text.char_indices() {
        if seen >= skip {
            return &text[at..];
        }
        seen += character.len_utf16() as u64;
    }
    ""
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_count_utf16_units() {
        assert_eq!(units("aé😀"), 4);
        assert_eq!(after_units("aé😀b", 2), "😀b");
        assert_eq!(after_units("aé😀b", 4), "b");
        assert_eq!(after_units("ab", 9), "");
    }

    #[test]
    fn slices_join_chunks() {
        let slice = assemble(2, Some(("0:a😀".into(), 0.0)), &["3:bc".into(), "5:d:e".into()]);
        assert_eq!(slice, LogSlice { text: "bcd:e".into(), end: 8 });
        let at_end = assemble(3, Some(("0:abc".into(), 0.0)), &[]);
        assert_eq!(at_end, LogSlice { text: String::new(), end: 3 });
        assert_eq!(assemble(0, None, &[]), LogSlice::default());
        let inside = assemble(2, Some(("0:a😀b".into(), 0.0)), &["4:c".into()]);
        assert_eq!(inside, LogSlice { text: "bc".into(), end: 5 });
        let beyond = assemble(9, Some(("0:abc".into(), 0.0)), &[]);
        assert_eq!(beyond, LogSlice { text: String::new(), end: 9 });
    }
}
