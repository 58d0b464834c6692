//! From raw values to a typed configuration, a text to print, or the list of all problems.

use std::fmt;

use super::{FromValues, Sources, Values, print};
use crate::service::Service;

/// What the configuration asks the process to do.
#[derive(Debug)]
pub enum Resolved<C> {
    /// Start with this configuration.
    Run(C),
    /// Print this text to stdout and end: `--help`, `--version` or `--check-config`.
    Print(String),
}

/// Every problem of a configuration, in the order they were found.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Invalid {
    service: &'static str,
    problems: Vec<String>,
}

impl Invalid {
    /// One line for each problem.
    pub fn problems(&self) -> &[String] {
        &self.problems
    }
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.problems.len();
        let noun = if count == 1 { "problem" } else { "problems" };
        write!(f, "{}: {count} {noun} with the configuration", self.service)?;
        for problem in &self.problems {
            write!(f, "\n  {problem}")?;
        }
        write!(f, "\nevery key is explained by {} --help", self.service)
    }
}

/// Reads the configuration `C` of `service`. It opens no socket and, but for the files that keys name, does no I/O.
pub fn resolve<C: FromValues>(service: &Service, sources: Sources) -> Result<Resolved<C>, Invalid> {
    let mut values = Values::new(service.name, sources);
    let config = C::from_values(&mut values);
    if values.reserved("help") {
        return Ok(Resolved::Print(print::help(service, &values)));
    }
    if values.reserved("version") {
        return Ok(Resolved::Print(print::version(service)));
    }
    let problems = values.problems();
    if !problems.is_empty() {
        return Err(Invalid { service: service.name, problems });
    }
    if values.reserved("check-config") {
        return Ok(Resolved::Print(print::effective(&values)));
    }
    Ok(Resolved::Run(config))
}
