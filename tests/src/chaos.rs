//! The chaos suite: a whole system under constant mixed load, faults by a repeatable seed, a
//! ledger of everything that was promised and of everything that ran, and afterwards the
//! question whether the one agrees with the other.
//!
//! ```text
//! let report = Campaign::new(7).steps(20).run().await;
//! assert!(report.holds(), "{report}");
//! ```

mod campaign;
mod fault;
mod kind;
mod ledger;
mod load;
mod moment;
mod plan;
mod report;
mod runs;
mod scripts;
mod seed;
mod strike;
mod ticks;
mod verify;

pub use campaign::Campaign;
pub use fault::{Fault, Spoil, Victim};
pub use moment::Moment;
pub use plan::{Plan, Step};
pub use report::{Figures, Report};
pub use seed::Seed;
pub use verify::{Rule, Violation};
