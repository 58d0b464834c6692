//! Listings: a page costs one range of an index and one read per row, however long the
//! history is. Nothing scans.

use proto::{ScriptPath, WorkspaceId};

use super::rows::{Order, PageCursor, Rows};
use super::{Records, StoreError, keys};
use crate::model::{JobState, Record};

/// Rows read at once where a filter drops some of them.
const READ: usize = 100;

/// Rows an index may be read for one page when a filter drops some of them.
pub(super) const EXAMINED: usize = 1000;

/// Which jobs.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Only of this script.
    pub path: Option<ScriptPath>,
    /// Only running ones, or only those that are not.
    pub running: Option<bool>,
}

/// One page, newest first.
#[derive(Debug, Default)]
pub struct Page {
    /// The rows.
    pub rows: Vec<Record>,
    /// Where the next page begins; none at the end.
    pub next: Option<PageCursor>,
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
        // where no row is dropped, skipping is a rank; else rows are counted as they pass
        let (skip, mut to_skip) = if filter.drops_rows() { (0, skip) } else { (skip, 0) };
        let index = filter.index(workspace);
        let order = Order::NewestFirst;
        let mut reader = Rows { records: self, workspace, index, order, cursor, skip };
        let (mut page, mut examined) = (Page::default(), 0);
        while page.rows.len() < limit && examined < EXAMINED.max(limit) {
            let rows = reader.next(if filter.drops_rows() { limit.max(READ) } else { limit }).await?;
            if rows.is_empty() {
                return Ok(Page { next: None, ..page });
            }
            examined += rows.len();
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
