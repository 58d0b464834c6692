//! The flags of `hookmill up`.

use std::path::PathBuf;

use proto::WorkspaceId;

use super::profile::Profile;

/// What can be chosen; everything has a default.
#[derive(Clone, Debug, clap::Args)]
pub struct UpArgs {
    /// Port of the HTTP API on 127.0.0.1; 0 picks a free one
    #[arg(long, env = "HOOKMILL_UP_PORT", default_value_t = 8000)]
    pub port: u16,
    /// Folder of everything that is kept
    #[arg(long, env = "HOOKMILL_UP_DATA", default_value = ".hookmill", value_name = "FOLDER")]
    pub data: PathBuf,
    /// When data is on disk: before each answer, or soon after
    #[arg(
        long,
        env = "HOOKMILL_UP_PROFILE",
        value_enum,
        default_value_t,
        value_name = "durable|relaxed",
        hide_possible_values = true
    )]
    pub profile: Profile,
    /// Scripts that run at the same time; by default as many as the worker chooses
    #[arg(long, env = "HOOKMILL_UP_SLOTS", value_name = "N")]
    pub slots: Option<std::num::NonZeroU16>,
    /// Which of our log lines are written to stderr, such as info or warn,gateway=debug
    #[arg(long, env = "HOOKMILL_UP_LOG", default_value = "warn", value_name = "FILTER")]
    pub log: String,
    /// The first workspace, made on the first start
    #[arg(
        long,
        env = "HOOKMILL_UP_WORKSPACE",
        default_value = "main",
        value_name = "ID",
        id = "first_workspace"
    )]
    pub first_workspace: WorkspaceId,
    /// The first admin, made on the first start
    #[arg(long, env = "HOOKMILL_UP_EMAIL", default_value = "admin@hookmill.local")]
    pub email: String,
    /// Make a new admin token, when the one in <data>/env is lost
    #[arg(long)]
    pub reset_token: bool,
}
