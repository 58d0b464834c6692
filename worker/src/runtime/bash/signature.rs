//! Which argument stands at which position of a Bash script: lines such as `name="$1"`,
//! `export name=${2:-x}` or `local name="$3"  # why`, outside of anything else. Of a line with
//! several commands only those count that nothing but declarations stands before.

/// The declared name of each position, from the first to the last declared one.
pub(super) fn positions(script: &str) -> Vec<Option<String>> {
    let mut names: Vec<Option<String>> = Vec::new();
    for (position, name) in script.lines().flat_map(declarations) {
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

const BLANKS: [char; 2] = [' ', '\t'];

/// The declarations that a line begins with, `;` or blanks between them.
fn declarations(line: &str) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    let mut rest = after_keyword(line.trim());
    while let Some((declared, behind)) = declaration(rest) {
        found.push(declared);
        let behind = behind.trim_start_matches(BLANKS);
        rest = behind.strip_prefix(';').map_or(behind, |next| after_keyword(next.trim_start_matches(BLANKS)));
    }
    found
}

/// What follows `export`, `declare -r` or the like; all of `command` if it begins with none.
fn after_keyword(command: &str) -> &str {
    let Some((word, mut rest)) = command.split_once(BLANKS) else { return command };
    if !["export", "readonly", "local", "declare"].contains(&word) {
        return command;
    }
    loop {
        rest = rest.trim_start_matches(BLANKS);
        match rest.split_once(BLANKS) {
            Some((word, behind)) if is_option(word) => rest = behind,
            Some(_) | None => return rest,
        }
    }
}

fn is_option(word: &str) -> bool {
    let letters = word.strip_prefix(['-', '+']).unwrap_or_default();
    !letters.is_empty() && letters.chars().all(|c| c.is_ascii_alphabetic())
}

/// The position and name that `text` begins with, and what follows.
fn declaration(text: &str) -> Option<((usize, &str), &str)> {
    let (name, value) = text.split_once('=')?;
    let (position, rest) = parameter(value.strip_prefix('"').unwrap_or(value))?;
    let rest = if value.starts_with('"') { rest.strip_prefix('"')? } else { rest };
    let alone = rest.is_empty() || rest.starts_with([' ', '\t', ';']);
    let counts = is_name(name) && alone && (1..=MAX_POSITION).contains(&position);
    counts.then_some(((position, name), rest))
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
    fn several_on_one_line() {
        for line in [
            "x=\"$1\"; y=\"${2:-d}\"",
            "x=\"$1\";y=\"${2:-d; e}\";",
            "\tx=$1 ;\ty=${2}  # both; z=\"$3\"",
            "local x=\"$1\"; local y=\"$2\"; echo z; z=\"$3\"",
            "local x=\"$1\" y=\"$2\"; [ -n \"$x\" ] && z=\"$3\"",
            "declare -r x=\"$1\"; readonly -x +a y=$2; f() { local z=\"$3\"; }",
            "export  x=${1:-\"a;b\"}; export y=\"${2-}\" ; ; z=\"$3\"",
            "x=\"$1\"; y=\"$2\"; # z=\"$3\"",
            "y=\"$2\"; x=\"$1\";; z=\"$3\"",
            "x=\"$1\"; y=\"$2\"\r",
        ] {
            assert_eq!(names(line), ["x", "y"], "{line}");
        }
    }

    #[test]
    fn nothing_counts_behind_another_command() {
        for line in [
            "echo 'a; b=\"$1\"'",
            "f() { local a=\"$1\"; local b=\"$2\"; }",
            "if true; then a=\"$1\"; fi",
            "shift; a=\"$1\"",
            "declare -r",
            "local",
            "export -n; a=\"$1\"",
            "export=\"x\"; a=\"$1\"",
            "; a=\"$1\"",
        ] {
            assert_eq!(names(line), Vec::<String>::new(), "{line}");
        }
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
