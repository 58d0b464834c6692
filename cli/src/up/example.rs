//! The script that is there from the first start on, so that the first screen has something to call.

use proto::{Language, ScriptPath};

use crate::api::Api;
use crate::failure::Failure;
use crate::verbs::script::{NewScript, deploy};

/// Its path.
pub(super) const PATH: &str = "f/examples/hello";

/// Arguments to try it with.
pub(super) const ARGS: &str = r#"{"name": "you"}"#;

/// The script in each language, the preferred one first.
const TEXTS: [(Language, &str); 3] = [
    (Language::Python3, include_str!("examples/hello.py")),
    (Language::Deno, include_str!("examples/hello.ts")),
    (Language::Bash, include_str!("examples/hello.sh")),
];

/// Deploys it in the first language that runs here; whether any does.
///
/// # Errors
/// The gateway refused it, or does not answer.
pub(super) async fn deploy_in_one_of(api: &Api, languages: &[Language]) -> Result<bool, Failure> {
    let found = TEXTS.iter().find(|(language, _)| languages.contains(language));
    let (Some((language, content)), Ok(path)) = (found, PATH.parse::<ScriptPath>()) else { return Ok(false) };
    let summary = Some("Says hello: an example to call and change".to_owned());
    let script = NewScript { path, language: *language, content: (*content).to_owned(), summary };
    deploy(api, &script).await?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_is_one_and_the_arguments_are_json() {
        PATH.parse::<ScriptPath>().unwrap();
        serde_json::from_str::<serde_json::Value>(ARGS).unwrap();
    }
}
