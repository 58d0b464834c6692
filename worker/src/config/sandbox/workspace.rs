//! What a script is granted in its workspace: what it asks for itself, else what the workspace asks for, else the
//! worker's default. A default gives way to a bound, a wish beyond one is refused.

use catalog::{Reach, SandboxSettings, WorkspaceSandbox};
use sandbox::{Limits, Network};

use super::Sandbox;

impl Sandbox {
    /// What a script is granted that asks for this; or why not.
    pub(crate) fn granted_within(
        &self,
        workspace: &WorkspaceSandbox,
        script: &SandboxSettings,
    ) -> Result<(Limits, Network), String> {
        workspace.allows(script).map_err(|refused| refused.to_string())?;
        // alone first: what is wrong then is the script's wish, what is wrong with both is the workspace's
        self.granted(script).map_err(|why| format!("it {why}"))?;
        let both = script.or(workspace.settings);
        let (limits, network) = self.granted(&both).map_err(|why| format!("its workspace {why}"))?;
        let widest = workspace.network_max.map_or(Network::Host, network_of);
        Ok((limits, network.min(widest)))
    }
}

/// The network of a word.
pub(super) fn network_of(reach: Reach) -> Network {
    match reach {
        Reach::None => Network::None,
        Reach::Internet => Network::Internet,
        Reach::Host => Network::Host,
    }
}

#[cfg(test)]
mod tests;
