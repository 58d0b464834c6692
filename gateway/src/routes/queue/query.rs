//! The query of the queue's listings: which jobs, in which order, from where on.

use job_queue::{Order, QueueCursor, QueueFilter, QueueQuery, Term, TermField};
use proto::{JobId, ScriptHash, ScriptPath};

use crate::error::{ApiError, ApiResult};
use crate::routes::jobs::{number, value};
use crate::routes::list::{flag, refuse_unbuilt};

/// Filters that are a field's value, or a list of values.
const TERMS: [(&str, TermField); 7] = [
    ("script_path_exact", TermField::Path),
    ("script_path_start", TermField::PathStart),
    ("script_hash", TermField::Hash),
    ("tag", TermField::Tag),
    ("created_by", TermField::CreatedBy),
    ("parent_job", TermField::Parent),
    ("worker", TermField::Worker),
];

/// Values that a filter may list: each is compared with every row that is read.
const MOST_VALUES: usize = 100;

/// Rows a page may have.
const MOST: usize = 1000;

/// Reads the query; `per_page` is for a caller who does not say.
pub(super) fn queue_query(query: Option<&str>, per_page: usize) -> ApiResult<QueueQuery> {
    let built: Vec<&str> = TERMS.iter().map(|(name, _)| *name).chain(["scheduled_for_before_now"]).collect();
    refuse_unbuilt(query, &built)?;
    let limit = number(query, "per_page")?.unwrap_or(per_page).clamp(1, MOST);
    // page 0 is the first page, too
    let page: usize = number(query, "page")?.unwrap_or(1).max(1);
    let order = match flag(query, "order_desc")? {
        Some(false) => Order::OldestFirst,
        Some(true) | None => Order::NewestFirst,
    };
    let cursor = value(query, "cursor")
        .map(|text| text.parse::<QueueCursor>().map_err(ApiError::bad_request))
        .transpose()?;
    Ok(QueueQuery { filter: filter(query)?, order, cursor, skip: (page - 1).saturating_mul(limit), limit })
}

fn filter(query: Option<&str>) -> ApiResult<QueueFilter> {
    let terms = TERMS.iter().filter_map(|(name, field)| Some(term(name, *field, &value(query, name)?)));
    Ok(QueueFilter {
        running: flag(query, "running")?,
        due: flag(query, "scheduled_for_before_now")?.unwrap_or(false),
        terms: terms.collect::<ApiResult<_>>()?,
    })
}

/// Values separated by commas; a `!` before the first, or before each, asks for all but these.
fn term(name: &str, field: TermField, text: &str) -> ApiResult<Term> {
    let wrong = |why: &str| ApiError::bad_request(format!("{name}: {why}"));
    let negated = text.starts_with('!');
    let mut values = Vec::new();
    for given in text.split(',') {
        let value = given.strip_prefix('!').unwrap_or(given);
        if value != given && !negated {
            return Err(wrong("a `!` is before the first value or before none"));
        }
        if value.is_empty() {
            continue;
        }
        values.push(checked(field, value).map_err(|why| wrong(&why))?);
    }
    match values.len() {
        0 => Err(wrong(&format!("`{text}` names nothing"))),
        count if count > MOST_VALUES => Err(wrong(&format!("{count} values, {MOST_VALUES} are allowed"))),
        _ => Ok(Term { field, negated, values }),
    }
}

/// A value as the rows have it, where it has a form.
fn checked(field: TermField, value: &str) -> Result<String, String> {
    match field {
        TermField::Path => value.parse::<ScriptPath>().map(|path| path.to_string()),
        TermField::Hash => value.parse::<ScriptHash>().map(|hash| hash.to_string()),
        TermField::Parent => value.parse::<JobId>().map(|id| id.to_string()),
        TermField::PathStart | TermField::Tag | TermField::CreatedBy | TermField::Worker => {
            return Ok(value.to_owned());
        }
    }
    .map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(query: &str) -> String {
        queue_query(Some(query), 30).unwrap_err().message
    }

    #[test]
    fn what_is_not_said_has_a_default() {
        let query = queue_query(None, 30).unwrap();
        assert_eq!((query.order, query.limit, query.skip), (Order::NewestFirst, 30, 0));
        assert_eq!((query.filter, query.cursor), (QueueFilter::default(), None));
        let query =
            queue_query(Some("per_page=100000&page=3&order_desc=false&all_workspaces=false"), 30).unwrap();
        assert_eq!((query.order, query.limit, query.skip), (Order::OldestFirst, 1000, 2000));
    }

    #[test]
    fn values_are_listed_and_negated() {
        let id = JobId::random();
        let table = [
            ("tag=gpu", TermField::Tag, false, vec!["gpu".to_owned()]),
            ("tag=!gpu", TermField::Tag, true, vec!["gpu".to_owned()]),
            ("created_by=!a,b", TermField::CreatedBy, true, vec!["a".to_owned(), "b".to_owned()]),
            ("created_by=!a,!b", TermField::CreatedBy, true, vec!["a".to_owned(), "b".to_owned()]),
            ("script_path_start=u/", TermField::PathStart, false, vec!["u/".to_owned()]),
            (
                &format!("parent_job={}", id.to_string().to_uppercase()),
                TermField::Parent,
                false,
                vec![id.to_string()],
            ),
        ];
        for (query, field, negated, values) in table {
            let term = Term { field, negated, values };
            assert_eq!(queue_query(Some(query), 30).unwrap().filter.terms, [term], "{query}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        for (query, named) in [
            ("tag=a,!b", "tag"),
            ("tag=,", "tag"),
            ("tag=!", "tag"),
            ("parent_job=x", "parent_job"),
            ("script_hash=x", "script_hash"),
            ("script_path_exact=nonsense", "script_path_exact"),
            ("running=maybe", "running"),
            ("order_desc=1", "order_desc"),
            ("scheduled_for_before_now=x", "scheduled_for_before_now"),
            ("page=x", "page"),
            ("per_page=-1", "per_page"),
            ("cursor=x", "cursor"),
            ("allow_wildcards=true", "allow_wildcards"),
            ("trigger_path=x", "trigger_path"),
            ("all_workspaces=true", "all_workspaces"),
            ("label=x", "label"),
        ] {
            assert!(refused(query).contains(named), "{query}: {}", refused(query));
        }
        assert!(refused(&format!("tag={}", "a,".repeat(101))).contains("100"));
    }
}
