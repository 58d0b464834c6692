//! Temporary.

mod faults;
