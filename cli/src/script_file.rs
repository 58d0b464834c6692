//! What a file's name and first lines say about the script in it: its language and its path.

use std::path::{Component, Path};

use proto::{Language, ScriptPath};

/// Endings and their languages; longer ones first, since `.bun.ts` also ends in `.ts`.
const ENDINGS: &[(&str, Language)] = &[
    (".deno.ts", Language::Deno),
    (".bun.ts", Language::Bun),
    (".fetch.ts", Language::Nativets),
    (".playbook.yml", Language::Ansible),
    (".pg.sql", Language::Postgresql),
    (".my.sql", Language::Mysql),
    (".bq.sql", Language::Bigquery),
    (".sf.sql", Language::Snowflake),
    (".ms.sql", Language::Mssql),
    (".odb.sql", Language::Oracledb),
    (".duckdb.sql", Language::Duckdb),
    (".py", Language::Python3),
    (".ts", Language::Deno),
    (".mjs", Language::Deno),
    (".js", Language::Deno),
    (".sh", Language::Bash),
    (".bash", Language::Bash),
    (".go", Language::Go),
    (".ps1", Language::Powershell),
    (".php", Language::Php),
    (".rs", Language::Rust),
    (".cs", Language::Csharp),
    (".nu", Language::Nu),
    (".java", Language::Java),
    (".rb", Language::Ruby),
    (".r", Language::Rlang),
    (".gql", Language::Graphql),
];

/// A file that says too little; the text says what to add.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unclear {
    /// The ending is of no language.
    #[error("the language of {0} is not clear from its name; give it with --language")]
    Language(String),
    /// The file is not below a folder `f` or `u`.
    #[error(
        "the script's path is not clear from {0}, which is not below a folder f/ or u/; give it with --path"
    )]
    Path(String),
}

/// The language of a script, from its file's ending and, for TypeScript and JavaScript, from a
/// comment at its top such as `//bun`.
pub fn language(file: &Path, content: &str) -> Result<Language, Unclear> {
    let name = file_name(file);
    let found = ENDINGS.iter().find(|(ending, _)| name.ends_with(ending) && name.len() > ending.len());
    let (ending, language) = found.ok_or_else(|| Unclear::Language(file.display().to_string()))?;
    let asked = matches!(*ending, ".ts" | ".js" | ".mjs").then(|| header(content)).flatten();
    Ok(asked.unwrap_or(*language))
}

/// The runtime that the comment lines at the top ask for.
fn header(content: &str) -> Option<Language> {
    let lines = content.lines().map(str::trim).take_while(|line| line.is_empty() || line.starts_with("//"));
    lines.filter_map(|line| line.strip_prefix("//")).find_map(|comment| match comment.trim() {
        "bun" | "nodejs" | "npm" => Some(Language::Bun),
        "native" => Some(Language::Bunnative),
        "deno" => Some(Language::Deno),
        _ => None,
    })
}

/// The script's path, from where its file lies: what follows from the folder `f` or `u` on, without
/// the ending. The path as it was typed counts before the place on the disk.
pub fn path(file: &Path) -> Result<ScriptPath, Unclear> {
    let absolute = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
    let found = below_a_root(file).or_else(|| below_a_root(&absolute));
    found.ok_or_else(|| Unclear::Path(file.display().to_string()))
}

fn below_a_root(file: &Path) -> Option<ScriptPath> {
    let name = stem(&file_name(file)).to_owned();
    let folders = file.parent()?.components().filter(|part| *part != Component::CurDir);
    let mut parts: Vec<String> =
        folders.map(|part| part.as_os_str().to_string_lossy().into_owned()).collect();
    parts.push(name);
    // the innermost folder that makes a path: /home/u/work/f/tools/x.py is f/tools/x
    let starts = (0..parts.len()).rev().filter(|at| matches!(parts[*at].as_str(), "f" | "u"));
    starts.into_iter().find_map(|at| parts[at..].join("/").parse().ok())
}

fn stem(name: &str) -> &str {
    let ending = ENDINGS.iter().find(|(ending, _)| name.ends_with(ending) && name.len() > ending.len());
    ending.map_or(name, |(ending, _)| &name[..name.len() - ending.len()])
}

fn file_name(file: &Path) -> String {
    file.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn languages_from_endings() {
        let cases = [
            ("a.py", Language::Python3),
            ("a.ts", Language::Deno),
            ("a.js", Language::Deno),
            ("a.bun.ts", Language::Bun),
            ("a.deno.ts", Language::Deno),
            ("a.fetch.ts", Language::Nativets),
            ("dir.py/a.sh", Language::Bash),
            ("a.pg.sql", Language::Postgresql),
        ];
        for (file, expected) in cases {
            assert_eq!(language(Path::new(file), "").unwrap(), expected, "{file}");
        }
        for file in ["a", "a.txt", ".py", "a.sql", ""] {
            assert!(language(Path::new(file), "").is_err(), "{file}");
        }
    }

    #[test]
    fn a_header_chooses_the_typescript_runtime() {
        let of = |text| language(Path::new("a.ts"), text).unwrap();
        assert_eq!(of("//bun\nexport function main() {}"), Language::Bun);
        assert_eq!(of("\n// about\n// native\n"), Language::Bunnative);
        assert_eq!(of("export function main() {}\n//bun"), Language::Deno);
        assert_eq!(of("// bunny"), Language::Deno);
        assert_eq!(language(Path::new("a.py"), "//bun").unwrap(), Language::Python3);
        assert_eq!(language(Path::new("a.deno.ts"), "//bun").unwrap(), Language::Deno);
    }

    #[test]
    fn paths_from_places() {
        let cases = [
            ("f/tools/hello.py", "f/tools/hello"),
            ("./u/ann/x.bun.ts", "u/ann/x"),
            ("/home/u/work/f/tools/x.py", "f/tools/x"),
            ("/home/f/x.py/deep/er.sh", "unclear"),
            ("/srv/f/a/b/c/d.sh", "f/a/b/c/d"),
            ("f/tools/no-ending", "f/tools/no-ending"),
            ("/tmp/x.py", "unclear"),
            ("/f/x.py", "unclear"),
            ("/tmp/f/bad name/x.py", "unclear"),
        ];
        for (file, expected) in cases {
            let found = below_a_root(Path::new(file)).map_or("unclear".to_owned(), |path| path.to_string());
            assert_eq!(found, expected, "{file}");
        }
        let error = path(Path::new("/tmp/x.py")).unwrap_err();
        assert_eq!(error, Unclear::Path("/tmp/x.py".into()));
    }
}
