//! Which of the jobs that have not ended are asked for.

use crate::model::Record;

/// All of it holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QueueFilter {
    /// Only running ones, or only those that wait.
    pub running: Option<bool>,
    /// None that is due later than now.
    pub due: bool,
    /// What is asked of their fields.
    pub terms: Vec<Term>,
}

/// A field has one of these values, or none of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Term {
    /// The field.
    pub field: TermField,
    /// Whether it must have none of the values.
    pub negated: bool,
    /// The values.
    pub values: Vec<String>,
}

/// What a [`Term`] is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TermField {
    /// The script's path, whole.
    Path,
    /// How the script's path begins.
    PathStart,
    /// The script's version.
    Hash,
    /// The tag.
    Tag,
    /// Who triggered it.
    CreatedBy,
    /// The job that called it.
    Parent,
    /// The worker that runs it.
    Worker,
}

impl QueueFilter {
    /// Whether a row of the indexes may be none of those asked for.
    pub(super) fn drops_rows(&self) -> bool {
        self.due || !self.terms.is_empty()
    }

    pub(super) fn keeps(&self, row: &Record, now_us: i64) -> bool {
        (!self.due || row.due_us() <= now_us) && self.terms.iter().all(|term| term.holds(row))
    }
}

impl Term {
    fn holds(&self, row: &Record) -> bool {
        let job = &row.job;
        let value = match self.field {
            TermField::Path | TermField::PathStart => Some(job.path.to_string()),
            TermField::Hash => Some(job.hash.to_string()),
            TermField::Tag => Some(job.tag.to_string()),
            TermField::CreatedBy => Some(job.caller.created_by.clone()),
            TermField::Parent => job.parent.map(|id| id.to_string()),
            TermField::Worker => row.worker.as_ref().map(ToString::to_string),
        };
        let one_of = value.is_some_and(|value| self.values.iter().any(|wanted| self.fits(&value, wanted)));
        one_of != self.negated
    }

    fn fits(&self, value: &str, wanted: &str) -> bool {
        if self.field == TermField::PathStart { value.starts_with(wanted) } else { value == wanted }
    }
}
