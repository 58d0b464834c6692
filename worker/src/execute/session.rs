//! A process that takes jobs, one after the other: an interpreter under its own supervisor, in a folder of its own,
//! with a socket to us.

mod aftercare;
mod conversation;
mod frame;
mod output;
mod process;
mod turn;

pub(super) use process::{Process, Starting, Terms};
pub(super) use turn::{Account, Turn, Turned};
