//! Which argument stands at which position of a Bash script: lines such as `name="$1"`,
//! `export name=${2:-x}` or `local name="$3"  # why`, outside of anything else.

/// The declared name of each position, from the first to the last declared one.
pub(super) fn positions(script: &str) -> Vec<Option<String>> {
    let mut names: Vec<Option<String>> = Vec::new();
    for (position, name) in script.lines().filter_map(declaration) {
        if names.len() < position {
            names.resize(position, None);
        }
        // the first declaration of a position names it
        names[position - 1].get_or_insert_with(|| name.to_owned());
    }
    names
}

/// Positions go no further: `$100` is no argument anybody declares.
const MAX_POSITION: usize = 99;

fn declaration(line: &str) -> Option<(usize, &str)> {
    let line = ["export ", "readonly ", "local ", "declare "]
        .iter()
        .find_map(|word| line.trim().strip_prefix(word))
        .unwrap_or_else(|| line.trim());
    let (name, value) = line.trim_start().split_once('=')?;
    let (position, rest) = parameter(value.strip_prefix('"').unwrap_or(value))?;
    let rest = if value.starts_with('"') { rest.strip_prefix('"')? } else { rest };
    let alone = rest.is_empty() || rest.starts_with([' ', '\t', ';']);
    (is_name(name) && alone && (1..=MAX_POSITION).contains(&position)).then_some((position, name))
}

fn is_name(text: &str) -> bool {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    !text.is_empty() && text.chars().all(word) && !text.starts_with(|c: char| c.is_ascii_digit())
}

/// `$1`, `${1}`, `${1:-default}` or another expansion of it; the position, and what follows.
fn parameter(text: &str) -> Option<(usize, &str)> {
    let text = text.strip_prefix('$')?;
    if let Some(braced) = text.strip_prefix('{') {
        let digits = braced.find(|c: char| !c.is_ascii_digit())?;
        let inner = &braced[digits..];
        let end = closing(inner)?;
        let expansion = &inner[..end];
        let plain = expansion.is_empty() || expansion.starts_with([':', '-', '=', '?', '+']);
        return plain.then_some((braced[..digits].parse().ok()?, &inner[end + 1..]));
    }
    // without braces only one digit counts: `$12` is `${1}2`
    let digit = text.chars().next().filter(char::is_ascii_digit)?;
    let rest = &text[1..];
    (!rest.starts_with(|c: char| c.is_ascii_alphanumeric())).then_some((digit.to_digit(10)? as usize, rest))
}

/// The index of the brace that closes an expansion, over nested ones.
fn closing(text: &str) -> Option<usize> {
    let mut depth = 0;
    for (at, c) in text.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => return Some(at),
            '}' => depth -= 1,
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(script: &str) -> Vec<String> {
        positions(script).into_iter().map(Option::unwrap_or_default).collect()
    }

    #[test]
    fn usual_declarations() {
        let script = "#!/bin/bash\na=\"$1\"\n  b=${2}\nexport c=\"${3:-x y}\" # why\nlocal d=\"${4:-{\"k\": 1}}\"; echo\ne=$5\n";
        assert_eq!(names(script), ["a", "b", "c", "d", "e"]);
        assert_eq!(names("ten=\"${10}\""), ["", "", "", "", "", "", "", "", "", "ten"]);
        assert_eq!(names("b=\"$2\"\r\na=\"$1\"\r\n"), ["a", "b"]);
    }

    #[test]
    fn what_declares_nothing() {
        for line in [
            "# a=\"$1\"",
            "echo a=\"$1\"",
            "a=\"$1$2\"",
            "a=\"$1",
            "a=\"x$1\"",
            "1a=\"$1\"",
            "a=$12",
            "a=\"$0\"",
            "a==$1",
            "a=\"${1}b\"",
            "a=${1",
            "a=\"$100\"",
            "",
            "=",
            "a=",
            "a=$",
            "a=\"${}\"",
            "a=${1%x}",
            "a=$1x",
        ] {
            assert_eq!(names(line), Vec::<String>::new(), "{line}");
        }
        assert_eq!(names("a=\"${100}\""), Vec::<String>::new());
        assert_eq!(names("a=\"${99999999999999999999999}\""), Vec::<String>::new());
    }

    #[test]
    fn first_declaration_of_a_position_names_it() {
        assert_eq!(names("a=\"$1\"\nb=\"$1\""), ["a"]);
    }
}
