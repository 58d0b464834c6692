//! Whom a command may reach.
//!
//! What each kind really stops depends on the level: `docs/security.md`.

use std::fmt;
use std::str::FromStr;

use landlock::{
    AccessNet, CompatLevel, Compatible, NetPort, Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetError,
};
use serde::{Deserialize, Serialize};

/// Each kind reaches less than the ones after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Network {
    /// Nobody: no internet sockets at all.
    None,
    /// The services of the world, not those beside us.
    Internet,
    /// Whatever the machine reaches.
    Host,
}

/// A word that names no [`Network`].
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is none of none, internet and host")]
pub struct UnknownNetwork(String);

impl Network {
    const ALL: [Self; 3] = [Self::None, Self::Internet, Self::Host];

    /// Its word in configurations and answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Internet => "internet",
            Self::Host => "host",
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Network {
    type Err = UnknownNetwork;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.into_iter().find(|kind| kind.as_str() == word);
        found.ok_or_else(|| UnknownNetwork(word.to_owned()))
    }
}

/// From now on TCP connections go to these ports only, and nothing listens. Landlock knows ports,
/// not addresses, and no UDP (Linux 6.7, Landlock ABI 4).
pub(crate) fn only_ports(ports: &[u16]) -> Result<(), RulesetError> {
    let rules = ports.iter().map(|port| Ok(NetPort::new(*port, AccessNet::ConnectTcp)));
    let ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(AccessNet::ConnectTcp | AccessNet::BindTcp)?
        .create()?;
    ruleset.add_rules(rules.into_iter().map(|rule: Result<_, RulesetError>| rule))?.restrict_self()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_order() {
        assert!(Network::ALL.is_sorted());
        for kind in Network::ALL {
            assert_eq!(kind.to_string().parse::<Network>().unwrap(), kind);
        }
        assert!("all".parse::<Network>().is_err());
    }
}
