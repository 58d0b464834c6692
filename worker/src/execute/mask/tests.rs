use super::*;

fn masks(secrets: &[&str]) -> Arc<Masks> {
    Arc::new(Masks::new(&secrets.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>()))
}

fn streamed(secrets: &[&str], chunks: &[&str]) -> String {
    let (mut stream, mut out) = (MaskStream::new(masks(secrets)), Vec::new());
    for chunk in chunks {
        stream.push(chunk.as_bytes(), &mut out);
    }
    stream.finish(&mut out);
    String::from_utf8(out).unwrap()
}

#[test]
fn struck_at_any_split() {
    let text = "a hkm_secret1 b hkm_secrhkm_secret1c hkm_sec";
    for at in 0..=text.len() {
        let struck = streamed(&["hkm_secret1"], &[&text[..at], &text[at..]]);
        assert_eq!(struck, "a ******** b hkm_secr********c hkm_sec");
    }
    let single: Vec<String> = text.chars().map(String::from).collect();
    let single: Vec<&str> = single.iter().map(String::as_str).collect();
    assert_eq!(streamed(&["hkm_secret1"], &single), "a ******** b hkm_secr********c hkm_sec");
}

#[test]
fn longest_of_two_wins_even_when_it_comes_late() {
    assert_eq!(
        streamed(&["secret", "secret-longer"], &["x secret", "-longer y secret-", "z"]),
        "x ******** y ********-z"
    );
}

#[test]
fn url_forms_are_struck() {
    assert_eq!(
        streamed(&["a b/c+d!"], &["a%20b%2Fc%2Bd%21 a%20b/c%2Bd%21 a%20b%2Fc%2Bd! a+b%2Fc%2Bd%21"]),
        "******** ******** ******** ********"
    );
}

#[test]
fn short_secrets_strike_nothing() {
    assert_eq!(streamed(&["abc", ""], &["abc"]), "abc");
    assert!(masks(&["abc"]).is_empty());
}

fn json(secrets: &[&str], text: &str) -> String {
    let struck = masks(secrets).strike_json(Bytes::copy_from_slice(text.as_bytes()));
    serde_json::from_slice::<serde::de::IgnoredAny>(&struck).expect("still JSON");
    String::from_utf8(struck.to_vec()).unwrap()
}

#[test]
fn json_stays_json() {
    assert_eq!(
        json(&["secret1"], r#"{"secret1": ["a secret1", 1.0, 1e400]}"#),
        r#"{"********": ["a ********", 1.0, 1e400]}"#
    );
    assert_eq!(
        json(&["12345678"], r#"{"a":12345678,"b":[912345678.5, 2]}"#),
        r#"{"a":"********","b":["********", 2]}"#
    );
    assert_eq!(json(&["say \"hi\""], r#"["x say \"hi\" y"]"#), r#"["x ******** y"]"#);
    assert_eq!(json(&["secret1"], r#"["\u0073ecret1", "q\\", "\""]"#), r#"["********", "q\\", "\""]"#);
    assert_eq!(json(&["secret1"], r#"{"k":"\ud800 secret1"}"#), r#"{"k":"\ud800 ********"}"#);
    assert_eq!(json(&["\": \""], r#"{"a": "b"}"#), r#"{"a": "b"}"#);
    assert_eq!(json(&["nothing"], "null"), "null");
}
