//! The jobs that have not ended: those that run, and those that wait, counted and listed by their rows alone. Oldest
//! first are the running ones, by their start, and behind them the waiting ones, by the time they are due.

mod filter;

use proto::{JobId, WorkspaceId};
use uuid::Uuid;

use super::listing::EXAMINED;
use super::rows::{Order, PageCursor, Rows};
use super::{Records, StoreError, keys};
use crate::model::{JobState, Record, now_us};

pub use filter::{QueueFilter, Term, TermField};

/// Rows read at once where some are dropped.
const READ: usize = 100;

/// One of the two indexes that a listing is put together of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueuePart {
    /// Jobs on a worker, by their start.
    Running,
    /// Jobs that wait, by the time they are due.
    Queued,
}

/// Where a page begins: after this row of this part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueCursor {
    /// The part.
    pub part: QueuePart,
    /// Its row.
    pub at: PageCursor,
}

/// What is asked for.
#[derive(Clone, Debug, Default)]
pub struct QueueQuery {
    /// Which jobs.
    pub filter: QueueFilter,
    /// Which come first.
    pub order: Order,
    /// Where the page begins.
    pub cursor: Option<QueueCursor>,
    /// Rows passed over before the first.
    pub skip: usize,
    /// Rows at most.
    pub limit: usize,
}

/// One page.
#[derive(Debug, Default)]
pub struct QueuePage {
    /// The rows.
    pub rows: Vec<Record>,
    /// Where the next page begins; none at the end.
    pub next: Option<QueueCursor>,
}

impl QueuePart {
    fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Queued => "queued",
        }
    }

    fn index(self, workspace: &WorkspaceId) -> String {
        match self {
            Self::Running => keys::running(workspace),
            Self::Queued => keys::queued(workspace),
        }
    }

    fn state(self) -> JobState {
        match self {
            Self::Running => JobState::Running,
            Self::Queued => JobState::Queued,
        }
    }
}

impl std::fmt::Display for QueueCursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}_{}", self.part.as_str(), self.at)
    }
}

impl std::str::FromStr for QueueCursor {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = "a cursor is `running_…` or `queued_…`, as the listing before gave it";
        let (part, at) = text.split_once('_').ok_or(wrong)?;
        let part = match part {
            "running" => QueuePart::Running,
            "queued" => QueuePart::Queued,
            _ => return Err(wrong),
        };
        Ok(Self { part, at: at.parse().map_err(|_| wrong)? })
    }
}

impl Records {
    /// How many jobs wait that are due by this time, Unix microseconds.
    ///
    /// # Errors
    /// The store is away.
    pub async fn queued_by(&self, workspace: &WorkspaceId, until_us: i64) -> Result<u64, StoreError> {
        let mut ask = redis::cmd("ZCOUNT");
        ask.arg(keys::queued(workspace)).arg("-inf").arg(until_us);
        self.connection.query(&ask).await
    }

    /// The place in the queue, from 1 on, of a job that is due at this time; none where nothing waits.
    ///
    /// # Errors
    /// The store is away.
    pub async fn queue_position(
        &self,
        workspace: &WorkspaceId,
        due_us: i64,
    ) -> Result<Option<u64>, StoreError> {
        let key = keys::queued(workspace);
        let mut both = redis::pipe();
        both.cmd("ZCARD").arg(&key).cmd("ZCOUNT").arg(&key).arg("-inf").arg(format!("({due_us}"));
        let (all, before): (u64, u64) = self.connection.pipeline(&both).await?;
        Ok((all > 0).then_some(before + 1))
    }

    /// A page of the jobs that have not ended. It reads so many rows at most, whatever the filter drops of them: a page
    /// may be short, and go on where its cursor says.
    ///
    /// # Errors
    /// The store is away.
    pub async fn list_queue(
        &self,
        workspace: &WorkspaceId,
        query: &QueueQuery,
    ) -> Result<QueuePage, StoreError> {
        let (parts, begun) = query.parts();
        let mut walk =
            Walk { query, page: QueuePage::default(), examined: 0, to_skip: query.skip, now_us: now_us() };
        for (place, part) in parts.iter().enumerate().skip(begun) {
            let (index, order, cursor) = (part.index(workspace), query.order, walk.begins(*part));
            let mut rows = Rows { records: self, workspace, index, order, cursor, skip: 0 };
            if query.skips_by_rank() && walk.to_skip > 0 {
                let size = self.size_of(&rows.index).await?;
                rows.skip = walk.to_skip.min(size);
                walk.to_skip -= rows.skip;
            }
            if walk.along(&mut rows, *part, place == 0).await? {
                return Ok(walk.page);
            }
        }
        Ok(QueuePage { next: None, ..walk.page })
    }

    async fn size_of(&self, index: &str) -> Result<usize, StoreError> {
        let mut ask = redis::cmd("ZCARD");
        ask.arg(index);
        self.connection.query(&ask).await
    }
}

impl QueueQuery {
    /// The parts in their order, and with which of them the page begins.
    fn parts(&self) -> (&'static [QueuePart], usize) {
        use QueuePart::{Queued, Running};
        let parts: &[QueuePart] = match (self.filter.running, self.order) {
            (Some(true), _) => &[Running],
            (Some(false), _) => &[Queued],
            (None, Order::OldestFirst) => &[Running, Queued],
            (None, Order::NewestFirst) => &[Queued, Running],
        };
        let begun = self.cursor.and_then(|cursor| parts.iter().position(|part| *part == cursor.part));
        (parts, begun.unwrap_or(0))
    }

    /// Where no row is dropped, skipping is a rank; else rows are counted as they pass.
    fn skips_by_rank(&self) -> bool {
        self.cursor.is_none() && !self.filter.drops_rows()
    }

    fn read_at_once(&self) -> usize {
        if self.filter.drops_rows() { self.limit.max(READ) } else { self.limit }
    }
}

/// A page while it is filled.
struct Walk<'a> {
    query: &'a QueueQuery,
    page: QueuePage,
    examined: usize,
    to_skip: usize,
    now_us: i64,
}

impl Walk<'_> {
    /// Behind which row of a part the page begins. Where those that are not due yet come first and are not asked for,
    /// they are not read, however many they are.
    fn begins(&self, part: QueuePart) -> Option<PageCursor> {
        let given = self.query.cursor.filter(|cursor| cursor.part == part).map(|cursor| cursor.at);
        let later_first = self.dueless(part) && self.query.order == Order::NewestFirst;
        let due = PageCursor { score_us: self.now_us + 1, id: JobId::from(Uuid::nil()) };
        given.or(later_first.then_some(due))
    }

    /// Whether a part has rows that are not due yet and not asked for.
    fn dueless(&self, part: QueuePart) -> bool {
        self.query.filter.due && part == QueuePart::Queued
    }

    /// Takes rows of a part until it ends; whether the page does before.
    async fn along(&mut self, rows: &mut Rows<'_>, part: QueuePart, first: bool) -> Result<bool, StoreError> {
        while self.examined < EXAMINED.max(self.query.limit) {
            let found = rows.next(self.query.read_at_once()).await?;
            if found.is_empty() {
                return Ok(false);
            }
            self.examined += found.len();
            for (at, row) in found {
                let late = self.dueless(part) && at.score_us > self.now_us;
                if late && self.query.order == Order::OldestFirst {
                    return Ok(false);
                }
                self.page.next = Some(QueueCursor { part, at });
                self.take(row.filter(|row| self.keeps(row, part, first)));
                if self.page.rows.len() >= self.query.limit {
                    return Ok(true);
                }
            }
        }
        Ok(true)
    }

    /// A job that changes parts while they are read could be met in both or in none: the first takes what belongs to it, the second whatever has not ended.
    fn keeps(&self, row: &Record, part: QueuePart, first: bool) -> bool {
        let here = if first { row.state == part.state() } else { !matches!(row.state, JobState::Ended(_)) };
        here && self.query.filter.keeps(row, self.now_us)
    }

    fn take(&mut self, row: Option<Record>) {
        let Some(row) = row else { return };
        if self.to_skip > 0 {
            self.to_skip -= 1;
        } else {
            self.page.rows.push(row);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_round_trip() {
        for part in [QueuePart::Running, QueuePart::Queued] {
            let at = PageCursor { score_us: 1_790_000_000_000_000, id: JobId::random() };
            let cursor = QueueCursor { part, at };
            assert_eq!(cursor.to_string().parse::<QueueCursor>().unwrap(), cursor);
            assert!(at.to_string().parse::<QueueCursor>().is_err());
        }
        for bad in ["", "_", "queued", "queued_", "queued_1", "ended_1_x"] {
            assert!(bad.parse::<QueueCursor>().is_err(), "{bad}");
        }
    }
}
