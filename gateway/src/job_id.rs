//! Job ids that prove themselves: a version 7 uuid whose last 32 bits are a MAC over the
//! rest and over who triggered what. A webhook token may not choose job ids, but it may
//! send again the id our own 503 gave it; any gateway can tell that one from a chosen one.

use std::time::Duration;

use proto::{JobId, TokenId, WorkspaceId};
use ring::{digest, hmac};
use uuid::Uuid;

/// How long after its making an id of ours may be sent again.
const ACCEPTED_FOR: Duration = Duration::from_secs(3600);

/// The id that follows from a text: the same for whoever derives it.
pub(crate) fn derived(text: &str) -> JobId {
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest::digest(&digest::SHA256, text.as_bytes()).as_ref()[..16]);
    uuid::Builder::from_random_bytes(bytes).into_uuid().into()
}

/// Makes and recognises job ids.
pub(crate) struct JobIds(hmac::Key);

/// What an id is bound to.
#[derive(Clone, Copy)]
pub(crate) struct Binding<'a> {
    pub(crate) workspace: &'a WorkspaceId,
    /// The path or the hash of the webhook, as in its URL: known before anything is looked up.
    pub(crate) target: &'a str,
    pub(crate) token: &'a TokenId,
}

impl JobIds {
    /// Gateways that share the credential recognise each other's ids.
    pub(crate) fn new(credential: &str) -> Self {
        let derive = hmac::Key::new(hmac::HMAC_SHA256, credential.as_bytes());
        let key = hmac::sign(&derive, b"hookmill job ids v1");
        Self(hmac::Key::new(hmac::HMAC_SHA256, key.as_ref()))
    }

    /// A new id.
    pub(crate) fn make(&self, binding: Binding<'_>) -> JobId {
        let mut bytes = *Uuid::now_v7().as_bytes();
        let mac = self.mac(&bytes, binding);
        bytes[12..].copy_from_slice(&mac);
        Uuid::from_bytes(bytes).into()
    }

    /// Whether the id is one we gave this token for this script, not long ago.
    pub(crate) fn recognises(&self, id: JobId, binding: Binding<'_>) -> bool {
        let uuid = id.uuid();
        let bytes = uuid.as_bytes();
        // 32 bits: guessing one needs billions of requests and gains an id of one's own choice
        let genuine = self.mac(bytes, binding)[..] == bytes[12..];
        genuine && uuid.get_version_num() == 7 && age(uuid).is_some_and(|age| age <= ACCEPTED_FOR)
    }

    fn mac(&self, bytes: &[u8; 16], binding: Binding<'_>) -> [u8; 4] {
        let mut context = hmac::Context::with_key(&self.0);
        context.update(&bytes[..12]);
        for part in [binding.workspace.as_str(), binding.target, binding.token.as_str()] {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part.as_bytes());
        }
        let tag = context.sign();
        let mut mac = [0; 4];
        mac.copy_from_slice(&tag.as_ref()[..4]);
        mac
    }
}

/// How long ago a version 7 uuid says it was made; none for the future.
fn age(uuid: Uuid) -> Option<Duration> {
    let (seconds, nanos) = uuid.get_timestamp()?.to_unix();
    let made = Duration::new(seconds, nanos);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).ok()?;
    // another gateway's clock may be a little ahead
    (now + Duration::from_secs(60)).checked_sub(made)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Owner(WorkspaceId, &'static str, TokenId);

    impl Owner {
        fn new(target: &'static str) -> Self {
            Self("demo".parse().unwrap(), target, "token1".parse().unwrap())
        }

        fn binding(&self) -> Binding<'_> {
            Binding { workspace: &self.0, target: self.1, token: &self.2 }
        }
    }

    #[test]
    fn own_ids_are_recognised_by_any_gateway_for_the_same_script_and_token_only() {
        let (here, there, stranger) = (JobIds::new("secret"), JobIds::new("secret"), JobIds::new("other"));
        let owner = Owner::new("f/demo/a");
        let id = here.make(owner.binding());
        assert_eq!(id.uuid().get_version_num(), 7);
        assert!(there.recognises(id, owner.binding()));
        assert!(!stranger.recognises(id, owner.binding()));
        assert!(!here.recognises(id, Owner::new("f/demo/b").binding()));
        let other_token = Owner("demo".parse().unwrap(), "f/demo/a", "token2".parse().unwrap());
        assert!(!here.recognises(id, other_token.binding()));
    }

    #[test]
    fn chosen_and_old_ids_are_not() {
        let ids = JobIds::new("secret");
        let owner = Owner::new("f/demo/a");
        assert!(!ids.recognises(JobId::random(), owner.binding()));
        assert!(!ids.recognises(Uuid::new_v4().into(), owner.binding()));
        let timestamp = uuid::Timestamp::from_unix(uuid::NoContext, 1_600_000_000, 0);
        let mut bytes = *Uuid::new_v7(timestamp).as_bytes();
        let mac = ids.mac(&bytes, owner.binding());
        bytes[12..].copy_from_slice(&mac);
        assert!(!ids.recognises(Uuid::from_bytes(bytes).into(), owner.binding()));
    }

    #[test]
    fn ids_differ_and_sort_by_time() {
        let ids = JobIds::new("secret");
        let owner = Owner::new("f/demo/a");
        let made: Vec<JobId> = (0..1000).map(|_| ids.make(owner.binding())).collect();
        let distinct: std::collections::HashSet<_> = made.iter().collect();
        assert_eq!(distinct.len(), made.len());
    }
}
