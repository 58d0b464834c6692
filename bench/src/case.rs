//! What runs: one small script for each language, its arguments and the result they must give.

use serde_json::{Value, json};

use crate::args::Part;

/// A language of the product.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Script {
    /// Builtins only: the cheapest process there is.
    Bash,
    /// Debian's or whoever's `python3`.
    Python,
    /// TypeScript.
    Deno,
}

/// How a webhook is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Answers with the job's uuid.
    Async,
    /// Answers with the result.
    Sync,
}

impl Mode {
    /// Its name in reports.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Async => "async",
            Self::Sync => "sync",
        }
    }
}

impl Script {
    /// All, in the order of reports.
    pub(crate) const ALL: [Self; 3] = [Self::Bash, Self::Python, Self::Deno];

    /// Its name in reports and paths.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Bash => "bash",
            Self::Python => "python",
            Self::Deno => "deno",
        }
    }

    /// Its name in the API.
    pub(crate) fn language(self) -> &'static str {
        match self {
            Self::Bash => "bash",
            Self::Python => "python3",
            Self::Deno => "deno",
        }
    }

    /// Where it is deployed.
    pub(crate) fn path(self) -> String {
        format!("f/bench/{}", self.name())
    }

    /// What chooses it.
    pub(crate) fn part(self) -> Part {
        match self {
            Self::Bash => Part::Bash,
            Self::Python => Part::Python,
            Self::Deno => Part::Deno,
        }
    }

    /// Its text.
    pub(crate) fn content(self) -> &'static str {
        match self {
            Self::Bash => "n=\"$1\"\ntext=\"$2\"\necho \"$n $text\"\n",
            Self::Python => "def main(n: int, text: str):\n    return {\"n\": n, \"text\": text}\n",
            Self::Deno => "export function main(n: number, text: string) {\n  return { n, text };\n}\n",
        }
    }

    /// What it must return for request `n`.
    pub(crate) fn expected(self, n: u64) -> Value {
        match self {
            Self::Bash => json!(format!("{n} {}", text(n))),
            Self::Python | Self::Deno => arguments(n),
        }
    }
}

/// The arguments of request `n`: no two requests have the same.
pub(crate) fn arguments(n: u64) -> Value {
    json!({"n": n, "text": text(n)})
}

fn text(n: u64) -> String {
    // an odd factor: a different text for every n
    format!("{:016x}", n.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_and_results_change_with_every_request() {
        for script in Script::ALL {
            assert_ne!(script.expected(1), script.expected(2), "{script:?}");
        }
        assert_ne!(arguments(0)["text"], arguments(1)["text"]);
        assert_eq!(Script::Bash.expected(0), json!("0 9e3779b97f4a7c15"));
    }
}
