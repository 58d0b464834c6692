//! When a schedule comes: a cron expression of six fields (seconds first) read on the clocks of a time zone.
//!
//! The clocks of a time zone are moved. What follows from that:
//!
//! - **a local time that does not exist** (the clocks were put forward over it): an expression whose second, minute
//!   and hour are one number each comes at the first moment after the gap; any other leaves out what lies in the gap;
//! - **a local time that exists twice** (the clocks were put back): an expression whose second, minute and hour are
//!   one number each comes once, at the earlier of the two; any other comes at both.
//!
//! So a daily job runs once on each day and an hourly one once in each hour that passes.

use std::fmt;

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};

/// Bytes of an expression at most.
const MAX_EXPRESSION: usize = 500;
/// The years looked at: an expression that comes in none of them never comes.
const YEARS: &str = "1970-2199";

/// A cron expression in a time zone.
#[derive(Clone)]
pub struct Cadence {
    cron: Cron,
    zone: Tz,
}

/// What is wrong with a cadence; the text names it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidCadence {
    /// It is not an expression of six fields.
    #[error("schedule: `{text}`: {why}")]
    Expression {
        /// The beginning of the expression.
        text: String,
        /// What is wrong with it.
        why: String,
    },
    /// There is no time that it names.
    #[error("schedule: `{0}` never comes")]
    Never(String),
    /// The time zone is none of the IANA database.
    #[error("timezone: `{0}` is not a time zone of the IANA database, like `Europe/Berlin` or `UTC`")]
    Zone(String),
}

impl Cadence {
    /// Reads an expression and the name of a time zone.
    ///
    /// # Errors
    /// One of them is none, or the expression never comes.
    pub fn parse(expression: &str, zone: &str) -> Result<Self, InvalidCadence> {
        let zone = zone.parse().map_err(|_| InvalidCadence::Zone(shortened(zone)))?;
        let wrong = |why: String| InvalidCadence::Expression { text: shortened(expression), why };
        let cadence = Self { cron: cron(expression).map_err(wrong)?, zone };
        match cadence.next_after(DateTime::UNIX_EPOCH) {
            Some(_) => Ok(cadence),
            None => Err(InvalidCadence::Never(shortened(expression))),
        }
    }

    /// The next time strictly after another; none when there is no more within the years looked at.
    pub fn next_after(&self, after: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let next = self.cron.find_next_occurrence(&after.with_timezone(&self.zone), false).ok()?;
        Some(next.with_timezone(&Utc))
    }

    /// The times after another, in order.
    pub fn upcoming(&self, after: DateTime<Utc>) -> impl Iterator<Item = DateTime<Utc>> + '_ {
        std::iter::successors(self.next_after(after), |last| self.next_after(*last))
    }
}

impl fmt::Debug for Cadence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cadence({} in {})", self.cron.as_str(), self.zone)
    }
}

fn cron(expression: &str) -> Result<Cron, String> {
    if expression.len() > MAX_EXPRESSION {
        return Err(format!("it is {} bytes long, the limit is {MAX_EXPRESSION}", expression.len()));
    }
    if let Some(odd) = expression.chars().find(|c| !c.is_ascii() || *c == '@') {
        return Err(format!("the character `{odd}` has no meaning in it"));
    }
    let fields = expression.split_ascii_whitespace().count();
    if fields != 6 {
        return Err(format!(
            "it has {fields} fields and needs 6: second, minute, hour, day of month, month, day of week"
        ));
    }
    let parser = CronParser::builder().seconds(Seconds::Required).year(Year::Required).build();
    // the years bound the search for a time that may not exist
    parser.parse(&format!("{expression} {YEARS}")).map_err(|error| error.to_string())
}

fn shortened(text: &str) -> String {
    text.chars().take(100).collect()
}

#[cfg(test)]
mod tests;
