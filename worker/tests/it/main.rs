//! Real scripts in real processes.

mod arguments;
mod bash;
mod bench;
mod bounds;
mod deno;
mod endings;
mod overhead;
mod python;
mod supervisor;
