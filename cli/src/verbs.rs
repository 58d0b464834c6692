//! The verbs that speak HTTP, a file each. They know an installation as any client does.

pub mod dead;
pub mod follow;
pub mod logs;
pub mod run;
pub mod script;
pub mod token;
