//! Listings: a page costs one range of an index and one read per row, however long the
//! history is. Nothing scans.

use proto::{JobId, ScriptPath, WorkspaceId};

use super::read::{FIELDS, Row, record};
use super::{Records, StoreError, keys};
use crate::model::{JobState, Record};

/// Rows an index may be read for one page when a filter drops some of them.
const EXAMINED: usize = 1000;

/// Which jobs.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Only of this script.
    pub path: Option<ScriptPath>,
    /// Only running ones, or only those that are not.
    pub running: Option<bool>,
}

/// Where a page begins: after this job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageCursor {
    /// The score of its row, Unix microseconds.
    pub score_us: i64,
    /// Its id.
    pub id: JobId,
}

/// One page, newest first.
#[derive(Debug, Default)]
pub struct Page {
    /// The rows.
    pub rows: Vec<Record>,
    /// Where the next page begins; none at the end.
    pub next: Option<PageCursor>,
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

impl Records {
    /// A page of `limit` rows after `cursor`, or after `skip` rows.
    ///
    /// # Errors
    /// The store is away.
    pub async fn list(
        &self,
        workspace: &WorkspaceId,
        filter: &Filter,
        cursor: Option<PageCursor>,
        skip: usize,
        limit: usize,
    ) -> Result<Page, StoreError> {
        let index = filter.index(workspace);
        let mut reader = Reader { records: self, workspace, index, cursor, skip_index: 0, examined: 0 };
        // where no row is dropped, skipping is a rank; else rows are counted as they pass
        let mut to_skip = if filter.drops_rows() { skip } else { 0 };
        if !filter.drops_rows() {
            reader.skip_index = skip;
        }
        let mut page = Page::default();
        while page.rows.len() < limit && reader.examined < EXAMINED.max(limit) {
            let rows = reader.next(limit).await?;
            if rows.is_empty() {
                return Ok(Page { next: None, ..page });
            }
            for (at, row) in rows {
                page.next = Some(at);
                let kept = row.filter(|row| filter.keeps(row));
                if to_skip > 0 && kept.is_some() {
                    to_skip -= 1;
                } else if let Some(row) = kept {
                    page.rows.push(row);
                }
                if page.rows.len() == limit {
                    break;
                }
            }
        }
        Ok(page)
    }
}

impl Filter {
    fn index(&self, workspace: &WorkspaceId) -> String {
        match (&self.path, self.running) {
            (_, Some(true)) => keys::running(workspace),
            (Some(path), _) => keys::runs_of(workspace, path),
            (None, _) => keys::runs(workspace),
        }
    }

    fn drops_rows(&self) -> bool {
        matches!((&self.path, self.running), (Some(_), Some(true)) | (_, Some(false)))
    }

    fn keeps(&self, row: &Record) -> bool {
        let path = self.path.as_ref().is_none_or(|path| *path == row.job.path);
        path && self.running.is_none_or(|running| running == (row.state == JobState::Running))
    }
}

/// Reads an index page by page.
struct Reader<'a> {
    records: &'a Records,
    workspace: &'a WorkspaceId,
    index: String,
    cursor: Option<PageCursor>,
    skip_index: usize,
    examined: usize,
}

impl Reader<'_> {
    /// The next rows; a row whose record has expired is none.
    async fn next(&mut self, limit: usize) -> Result<Vec<(PageCursor, Option<Record>)>, StoreError> {
        let page = &self.records.scripts.page;
        let mut script = page.prepare_invoke();
        script.key(&self.index);
        script.arg(self.cursor.map(|at| at.score_us.to_string()).unwrap_or_default());
        script.arg(self.cursor.map(|at| at.id.to_string()).unwrap_or_default());
        script.arg(self.skip_index).arg(limit);
        let found: Vec<(String, f64)> = self.records.invoke(&script).await?;
        self.skip_index = 0;
        self.examined += found.len();
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
