//! Tokens in an error's text: a caller that puts its token into the wrong parameter has it
//! quoted back, and errors end up in other people's logs.

use proto::bearer::{HANDLE_LEN, JOB_TOKEN_PREFIX};

/// How the tokens of ours begin.
const BEGINNINGS: [&str; 2] = ["hkm_", JOB_TOKEN_PREFIX];

/// The text with no more of any token than its handle, which every list shows.
pub(super) fn strike(text: String) -> String {
    let Some(at) = BEGINNINGS.iter().filter_map(|beginning| text.find(beginning)).min() else { return text };
    let (before, token) = text.split_at(at);
    let part_of_token = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    let end = token.find(|c| !part_of_token(c)).unwrap_or(token.len());
    let (token, after) = token.split_at(end);
    let after = strike(after.to_owned());
    match token.get(..HANDLE_LEN) {
        Some(handle) if token.len() > HANDLE_LEN => format!("{before}{handle}…{after}"),
        _ => format!("{before}{token}{after}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_than_the_handle_is_left() {
        for (text, struck) in [
            ("", ""),
            ("nothing here, not even hkm_", "nothing here, not even hkm_"),
            ("no token hkm_abcdef", "no token hkm_abcdef"),
            ("`hkm_abcdefGHIJ` and jwt_ey.x-y_z0.sig!", "`hkm_abcdef…` and jwt_ey.x-y…!"),
            ("éhkm_0123456789é", "éhkm_012345…é"),
        ] {
            assert_eq!(strike(text.to_owned()), struck);
        }
    }
}
