//! Reading an index of jobs in its order, each row with its record: a part at a time, from behind a place in it.

use proto::{JobId, WorkspaceId};

use super::read::{FIELDS, Row, record};
use super::{Records, StoreError, keys};
use crate::model::Record;

/// Which end of an index comes first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// The highest score.
    #[default]
    NewestFirst,
    /// The lowest score.
    OldestFirst,
}

/// Where a page begins: after this job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageCursor {
    /// The score of its row, Unix microseconds.
    pub score_us: i64,
    /// Its id.
    pub id: JobId,
}

impl std::fmt::Display for PageCursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}_{}", self.score_us, self.id)
    }
}

impl std::str::FromStr for PageCursor {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = "a cursor is `<microseconds>_<job id>`, as the listing before gave it";
        let (score, id) = text.split_once('_').ok_or(wrong)?;
        Ok(Self { score_us: score.parse().map_err(|_| wrong)?, id: id.parse().map_err(|_| wrong)? })
    }
}

/// More rows than any index has: a page behind them is empty, and the number one that Lua writes out whole.
const BEYOND: usize = 1 << 40;

/// Reads an index part by part.
pub(super) struct Rows<'a> {
    pub(super) records: &'a Records,
    pub(super) workspace: &'a WorkspaceId,
    pub(super) index: String,
    pub(super) order: Order,
    /// Behind which row it goes on.
    pub(super) cursor: Option<PageCursor>,
    /// Rows passed over before the first.
    pub(super) skip: usize,
}

impl Rows<'_> {
    /// The next rows; a row whose record has expired has none. No rows: that was the end.
    pub(super) async fn next(
        &mut self,
        limit: usize,
    ) -> Result<Vec<(PageCursor, Option<Record>)>, StoreError> {
        let mut script = self.records.scripts.page.prepare_invoke();
        script.key(&self.index);
        script.arg(self.cursor.map(|at| at.score_us.to_string()).unwrap_or_default());
        script.arg(self.cursor.map(|at| at.id.to_string()).unwrap_or_default());
        script.arg(self.skip.min(BEYOND)).arg(limit).arg(match self.order {
            Order::NewestFirst => "newest",
            Order::OldestFirst => "oldest",
        });
        let found: Vec<(String, f64)> = self.records.invoke(&script).await?;
        self.skip = 0;
        let places: Vec<PageCursor> = found.into_iter().filter_map(place).collect();
        self.cursor = places.last().copied().or(self.cursor);
        self.read(places).await
    }

    async fn read(&self, places: Vec<PageCursor>) -> Result<Vec<(PageCursor, Option<Record>)>, StoreError> {
        if places.is_empty() {
            return Ok(Vec::new());
        }
        let mut reads = redis::pipe();
        for place in &places {
            reads.cmd("HMGET").arg(keys::record(self.workspace, place.id)).arg(&FIELDS[..]);
        }
        let rows: Vec<Row> = self.records.connection.pipeline(&reads).await?;
        Ok(places.into_iter().zip(rows.into_iter().map(record)).collect())
    }
}

fn place((id, score): (String, f64)) -> Option<PageCursor> {
    #[expect(clippy::cast_possible_truncation, reason = "scores are microseconds, below 2^53")]
    let score_us = score as i64;
    id.parse().ok().map(|id| PageCursor { score_us, id })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_round_trip() {
        let cursor = PageCursor { score_us: 1_790_000_000_000_000, id: JobId::random() };
        assert_eq!(cursor.to_string().parse::<PageCursor>().unwrap(), cursor);
        for bad in ["", "_", "1", "x_y", "1_x"] {
            assert!(bad.parse::<PageCursor>().is_err(), "{bad}");
        }
    }
}
