//! Faults of the whole system: processes are killed, stopped, cut off and started again, and
//! each test first asserts that its fault really hit. What runs says so in files of the
//! test's own folder, so that executions can be counted beside records.

mod auth_away;
mod deploy_kills;
mod kills;
mod nats_away;
mod nats_permissions;
mod promises;
mod redis_away;
mod restarts;
mod rolling;
pub(crate) mod stage;
mod waiting_costs;
pub(crate) mod wire;
mod worker_faults;
