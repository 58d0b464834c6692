//! The handlers, a file per family of routes: parse, call, map.

pub(crate) mod cancel;
pub(crate) mod dead_letters;
pub(crate) mod instance;
pub(crate) mod jobs;
pub(crate) mod list;
pub(crate) mod queue;
pub(crate) mod run;
pub(crate) mod run_now;
pub(crate) mod schedules;
pub(crate) mod scripts;
pub(crate) mod tokens;
pub(crate) mod updates;
pub(crate) mod users;
pub(crate) mod workspaces;

use std::fmt::Display;
use std::str::FromStr;

use axum::extract::{FromRequestParts, RawPathParams};
use http::request::Parts;

use crate::error::ApiError;

/// The last parameter of the path, as its type; 400 where it is not of its form.
pub(crate) struct Tail<T>(pub(crate) T);

impl<T, S> FromRequestParts<S> for Tail<T>
where
    T: FromStr<Err: Display>,
    S: Send + Sync,
{
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let params = RawPathParams::from_request_parts(parts, state).await;
        let params = params.map_err(|error| ApiError::bad_request(error.body_text()))?;
        let last = params.iter().last().map(|(_, value)| value).unwrap_or_default();
        last.parse().map(Self).map_err(|error: T::Err| ApiError::bad_request(error.to_string()))
    }
}
