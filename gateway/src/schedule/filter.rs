//! Which schedules a list shows.

use catalog::Schedule;

use crate::error::{ApiError, ApiResult};
use crate::routes::jobs::value;

/// Filters of the contract that are not built yet: ignoring one would show wrong rows.
const NOT_BUILT: [&str; 5] = ["args", "broad_filter", "summary", "description", "label"];

/// The filters of a query string; none: every schedule.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Filter {
    /// The script.
    script: Option<String>,
    /// The schedule itself.
    path: Option<String>,
    /// What the schedule's path begins with.
    path_start: Option<String>,
    is_flow: Option<bool>,
}

impl Filter {
    /// Reads a query string.
    ///
    /// # Errors
    /// 400 that names the filter that is not built, or whose value is none.
    pub(crate) fn parse(query: Option<&str>) -> ApiResult<Self> {
        if let Some(name) = NOT_BUILT.iter().find(|name| value(query, name).is_some()) {
            return Err(ApiError::bad_request(format!("the filter `{name}` is not supported yet")));
        }
        let is_flow = value(query, "is_flow").map(|text| match text.as_str() {
            "true" => Ok(true),
            "false" => Ok(false),
            other => Err(ApiError::bad_request(format!("is_flow: `{other}` is not true or false"))),
        });
        Ok(Self {
            // the contract's `path` is that of the script
            script: value(query, "script_path").or_else(|| value(query, "path")),
            path: value(query, "schedule_path"),
            path_start: value(query, "path_start"),
            is_flow: is_flow.transpose()?,
        })
    }

    /// Whether a schedule is asked for.
    pub(crate) fn takes(&self, schedule: &Schedule) -> bool {
        let is = |wanted: &Option<String>, text: &str| wanted.as_deref().is_none_or(|wanted| wanted == text);
        let starts = |start: &String| schedule.path.as_str().starts_with(start);
        is(&self.script, schedule.script_path.as_str())
            && is(&self.path, schedule.path.as_str())
            && self.path_start.as_ref().is_none_or(starts)
            && self.is_flow.is_none_or(|is_flow| is_flow == schedule.is_flow)
    }
}
