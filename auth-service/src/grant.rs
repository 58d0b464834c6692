//! Grants: what a trigger leaves in a job's envelope instead of a bearer. Signed, so
//! that neither gateway nor worker can widen it.

use catalog::now_ms;
use prost::Message;
use proto::auth::{Grant, Identity, SignedGrant};

use crate::signing::{Purpose, Signer};

/// The only version of grants there is.
const SCHEMA_VERSION: u32 = 1;

/// The grant of whoever has this identity.
pub(crate) fn sign(signer: &Signer, identity: &Identity) -> SignedGrant {
    let grant = Grant {
        schema_version: SCHEMA_VERSION,
        token_id: identity.token_id.clone(),
        email: identity.email.clone(),
        super_admin: identity.super_admin,
        scopes: identity.scopes.clone(),
        workspace: identity.workspace.clone(),
        issued_at_ms: now_ms(),
    };
    let grant = grant.encode_to_vec();
    let signature = signer.sign(Purpose::Grant, &grant);
    SignedGrant { grant, signature }
}

/// The grant, if this instance signed it.
pub(crate) fn verify(signer: &Signer, presented: &SignedGrant) -> Option<Grant> {
    if !signer.verifies(Purpose::Grant, &presented.grant, &presented.signature) {
        return None;
    }
    let grant = Grant::decode(presented.grant.as_slice()).ok()?;
    (grant.schema_version == SCHEMA_VERSION).then_some(grant)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signing::test_signer;

    #[test]
    fn only_an_untouched_grant_of_ours_verifies() {
        let identity =
            Identity { email: "a@b.c".into(), scopes: vec!["jobs:run".into()], ..Identity::default() };
        let signed = sign(&test_signer(1), &identity);
        assert_eq!(verify(&test_signer(1), &signed).unwrap().email, "a@b.c");
        assert!(verify(&test_signer(2), &signed).is_none());
        for place in 0..signed.grant.len() {
            let mut forged = signed.clone();
            forged.grant[place] ^= 1;
            assert!(verify(&test_signer(1), &forged).is_none(), "grant byte {place}");
        }
        for place in 0..signed.signature.len() {
            let mut forged = signed.clone();
            forged.signature[place] ^= 1;
            assert!(verify(&test_signer(1), &forged).is_none(), "signature byte {place}");
        }
        assert!(verify(&test_signer(1), &SignedGrant::default()).is_none());
    }

    #[test]
    fn another_version_is_refused() {
        let signer = test_signer(1);
        let grant = Grant { schema_version: 2, ..Grant::default() }.encode_to_vec();
        let signature = signer.sign(Purpose::Grant, &grant);
        assert!(verify(&signer, &SignedGrant { grant, signature }).is_none());
    }
}
