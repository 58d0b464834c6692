//! Who is calling: the credential is read from the request, turned into an identity by
//! auth-service (cached, revocable), and into rights by the catalog's tables.

mod cache;
mod caller;
mod client;
mod credential;

pub(crate) use cache::Authenticator;
pub(crate) use cache::credential_of;
pub(crate) use caller::{Account, Caller, username_of};
pub(crate) use client::{AuthClient, api_error};
pub(crate) use credential::{Source, present};
