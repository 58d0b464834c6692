//! The allocator of every service of ours.

use mimalloc::MiMalloc;

/// In place of the system's, whose arenas hold on to memory in threads that come and go.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;
