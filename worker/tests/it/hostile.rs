//! Hostile scripts: each attack succeeds while nothing is confined, and from its level on it fails.
//! As root and as an ordinary user, at every level that this machine offers, in every mode that a language has.

mod attacks;
mod world;

use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use sandbox::Level;
use worker::execute::Isolation;

use attacks::{ATTACKS, Attack, Stopped};
use world::{Setuid, World};

/// Who has nothing else on a machine (Debian's `nobody`).
const NOBODY: u32 = 65534;

/// The variable that carries the worker's secret, and makes this process a worker under attack.
const SECRET: &str = "HOSTILE_SECRET";

#[test]
fn as_whoever_runs_this() {
    attack(None);
}

#[test]
fn as_an_ordinary_user() {
    // whoever is not root is one already
    if rustix::process::geteuid().is_root() {
        attack(Some(NOBODY));
    }
}

/// Runs [`inside`] in a process of its own: with a secret, and perhaps as somebody else.
fn attack(user: Option<u32>) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["hostile::inside", "--exact", "--ignored", "--nocapture"]);
    let secret = world::secret();
    let setuid = Setuid::new(&secret);
    command.env(SECRET, &secret).envs(setuid.variables()).stdin(Stdio::null());
    if let Some(id) = user {
        command.uid(id).gid(id);
    }
    let output = command.output().unwrap();
    let text =
        [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}

#[tokio::test]
#[ignore = "started by the tests above, with a secret in its environment"]
async fn inside() {
    let secret = world::given(SECRET);
    let root = rustix::process::geteuid().is_root();
    let mut wrong = Vec::new();
    // first without, as afterwards this process does not let itself be looked into any more
    let off = Isolation { off: true, ..Isolation::default() };
    let levels = Level::ALL.into_iter().rev().map(Some);
    for level in [None].into_iter().chain(levels) {
        let isolation = Isolation { level, minimum: Level::Process, ..Isolation::default() };
        let world = World::new(if level.is_none() { off } else { isolation }, &secret).await;
        for attack in ATTACKS.iter().filter(|attack| root || !attack.needs_root) {
            let stops = attack.stopped.by(root);
            for mode in attack.modes() {
                let (won, got) = attack.succeeds(&world, *mode).await;
                if won != (level < Some(stops)) {
                    let name = attack.name;
                    wrong.push(format!(
                        "{name}, {mode}, at {level:?}, stopped by {stops}: won {won}, got {got}"
                    ));
                }
            }
        }
        world.end().await;
    }
    assert!(wrong.is_empty(), "as root: {root}\n{}", wrong.join("\n"));
}

#[test]
fn the_document_lists_every_attack_with_its_level() {
    let document = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/security.md");
    let document = std::fs::read_to_string(document).unwrap();
    let rows: Vec<String> = ATTACKS.iter().map(Attack::row).collect();
    let missing: Vec<&String> = rows.iter().filter(|row| !document.contains(row.as_str())).collect();
    assert!(missing.is_empty(), "{missing:#?}");
    assert!(rows.len() >= 40);
}

impl Stopped {
    fn by(self, root: bool) -> Level {
        if root { self.root } else { self.user }
    }
}
