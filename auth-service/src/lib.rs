//! Who are you: identities, tokens and job tokens over gRPC (`hookmill.auth.v1`). The
//! only writer of workspaces, accounts, users and tokens. Every call carries the caller's service
//! credential in the metadata key [`SERVICE_METADATA`], as `<service> <credential>`,
//! where the service is `gateway` or `worker`.

mod bootstrap;
mod config;
mod grant;
mod guard;
mod identify;
mod issue;
mod job_token;
mod last_used;
mod refusal;
mod roles;
mod run;
mod service;
mod signing;
mod tokens;
mod workspaces;

pub use bootstrap::{FirstAdmin, bootstrap};
pub use config::Config;
pub use guard::SERVICE_METADATA;
pub use run::{run, run_on};
