//! The whole system, in separate processes, as its users see it.

mod webhooks;
