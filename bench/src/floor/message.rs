//! The floor's message: of like size as the product's envelope, with nothing in it but what is needed.

use bytes::Bytes;
use uuid::Uuid;

/// Stands for what the product's envelope carries besides the arguments: path, hash, caller, signed grant,
/// trace. In bytes: both then take 550 in the stream, its headers and subject included.
pub(super) const ENVELOPE: usize = 336;

/// Flag, id, filling.
const HEAD: usize = 1 + 16 + ENVELOPE;

/// A job of the floor.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Message {
    /// Whether the gateway waits for the completion.
    pub(super) answer: bool,
    pub(super) id: Uuid,
    pub(super) args: Bytes,
}

impl Message {
    pub(super) fn encode(&self) -> Bytes {
        let mut bytes = Vec::with_capacity(HEAD + self.args.len());
        bytes.push(u8::from(self.answer));
        bytes.extend_from_slice(self.id.as_bytes());
        bytes.resize(HEAD, b'.');
        bytes.extend_from_slice(&self.args);
        bytes.into()
    }

    pub(super) fn decode(payload: &Bytes) -> Option<Self> {
        let id = Uuid::from_slice(payload.get(1..17)?).ok()?;
        (payload.len() >= HEAD).then(|| Self { answer: payload[0] == 1, id, args: payload.slice(HEAD..) })
    }
}

/// A completion: id, then result.
pub(super) fn completion(id: Uuid, result: &[u8]) -> Bytes {
    [id.as_bytes(), result].concat().into()
}

/// Its parts.
pub(super) fn read_completion(payload: &Bytes) -> Option<(Uuid, Bytes)> {
    Some((Uuid::from_slice(payload.get(..16)?).ok()?, payload.slice(16..)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let message = Message { answer: true, id: Uuid::new_v4(), args: Bytes::from_static(b"{\"n\":1}") };
        assert_eq!(Message::decode(&message.encode()), Some(message));
        assert_eq!(Message::decode(&Bytes::from_static(b"short")), None);
        let id = Uuid::new_v4();
        assert_eq!(read_completion(&completion(id, b"null")), Some((id, Bytes::from_static(b"null"))));
    }
}
