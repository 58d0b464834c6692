//! Tokens of NATS subjects and Redis keys: `[A-Za-z0-9_-]` stand for themselves,
//! every other byte is `=XX` (upper-case hexadecimal), and a lone `_` stands for
//! "no workspace". `=` is legal in NATS subjects and in keys of its key-value store.

/// The token that stands for "no workspace". No encoded name equals it, because
/// [`encode`] writes a name that is exactly `_` as `=5F`.
pub const NONE: &str = "_";

/// One subject token for any text; never empty for non-empty text.
pub fn encode(text: &str) -> String {
    if text == NONE {
        return "=5F".to_owned();
    }
    let mut token = String::with_capacity(text.len() + 8);
    for byte in text.bytes() {
        push_byte(&mut token, byte);
    }
    token
}

fn push_byte(token: &mut String, byte: u8) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    if byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-' {
        token.push(char::from(byte));
    } else {
        token.push('=');
        token.push(char::from(HEX[usize::from(byte >> 4)]));
        token.push(char::from(HEX[usize::from(byte & 15)]));
    }
}

/// The text of a token, or `None` when it is not one [`encode`] makes.
pub fn decode(token: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(token.len());
    let mut rest = token.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        if first == b'=' {
            let digits = std::str::from_utf8(tail.get(..2)?).ok()?;
            bytes.push(u8::from_str_radix(digits, 16).ok()?);
            rest = &tail[2..];
        } else {
            bytes.push(first);
            rest = tail;
        }
    }
    let text = String::from_utf8(bytes).ok()?;
    (encode(&text) == token).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Written by hand from the rule, not from the code's output.
    const GOLDEN: &[(&str, &str)] = &[
        ("demo", "demo"),
        ("f/demo/hello", "f=2Fdemo=2Fhello"),
        ("u/admin/a-b_c", "u=2Fadmin=2Fa-b_c"),
        ("a.b", "a=2Eb"),
        ("*", "=2A"),
        (">", "=3E"),
        ("a b", "a=20b"),
        ("=", "=3D"),
        ("_", "=5F"),
        ("__", "__"),
        ("é", "=C3=A9"),
        ("{ws}", "=7Bws=7D"),
        ("admin@example.com", "admin=40example=2Ecom"),
        ("\n", "=0A"),
    ];

    #[test]
    fn golden_table() {
        for (text, token) in GOLDEN {
            assert_eq!(encode(text), *token, "encoding {text:?}");
            assert_eq!(decode(token).as_deref(), Some(*text), "decoding {token:?}");
        }
    }

    #[test]
    fn only_its_own_tokens_decode() {
        for token in ["=2f", "=4", "=", "=ZZ", "=61", "a.b", "_", "=FF"] {
            assert_eq!(decode(token), None, "{token:?}");
        }
    }

    proptest! {
        #[test]
        fn round_trips_and_is_safe(text in ".*") {
            let token = encode(&text);
            prop_assert!(token.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-=".contains(&b)));
            prop_assert_eq!(decode(&token), Some(text));
        }
    }
}
