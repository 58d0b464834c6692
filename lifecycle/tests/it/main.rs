//! Real processes: start, probes, signals and exit codes.

#[cfg(test)]
mod admin;
#[cfg(test)]
mod config;
#[cfg(test)]
mod probe;
#[cfg(test)]
mod stop;
#[cfg(test)]
mod traces;
