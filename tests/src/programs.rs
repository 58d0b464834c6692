//! Where our programs are: beside the test program, where cargo puts them.

use std::path::PathBuf;

/// The program `name` of this build.
///
/// # Panics
/// It was not built.
pub fn ours(name: &str) -> PathBuf {
    let own = std::env::current_exe().expect("the test program has a path");
    // target/<profile>/deps/it-1234 → target/<profile>
    let found = own.ancestors().skip(1).take(2).map(|folder| folder.join(name)).find(|path| path.is_file());
    found.unwrap_or_else(|| {
        panic!("{name} is not built: run `make test`, or `cargo build --workspace --bins` first")
    })
}

#[cfg(test)]
mod tests {
    #[test]
    #[should_panic(expected = "run `make test`")]
    fn a_program_that_is_not_built_says_what_to_do() {
        super::ours("no-such-program");
    }
}
