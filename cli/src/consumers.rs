//! `hookmill consumers list/reset`: for the operator of an installation whose jobs do not start.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use broker::permissions::PROVISION;
use job_queue::{Consumer, Health};
use lifecycle::Secret;
use serde_json::{Value, json};

use crate::failure::Failure;
use crate::output::{self, Format};
use crate::provision::connect;
use crate::render::secret_in;
use crate::up::credentials::Credentials;
use crate::up::nats;

/// How long the services may take to make a consumer again.
const MADE_WITHIN: Duration = Duration::from_secs(10);
/// The pause between two looks for it.
const LOOKS: Duration = Duration::from_millis(250);

/// What can be done with consumers.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum Consumers {
    /// Look twice at all of them, and say which deliver
    List(List),
    /// Remove one, which its service then makes again; the jobs stay in their stream
    Reset(Reset),
}

/// `hookmill consumers list`.
#[derive(Clone, Debug, clap::Args)]
pub struct List {
    #[command(flatten)]
    access: Access,
    /// The time between both looks
    #[arg(long, default_value_t = 2, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=60))]
    over: u64,
}

/// `hookmill consumers reset`.
#[derive(Clone, Debug, clap::Args)]
pub struct Reset {
    /// Its name, such as w-bash-p1
    name: String,
    /// Also when workers hold jobs of it: those are started once more, which costs each an attempt
    #[arg(long)]
    start_again: bool,
    #[command(flatten)]
    access: Access,
}

/// Which NATS, and the password of its user `provision`.
#[derive(Clone, Debug, clap::Args)]
#[group(skip)]
struct Access {
    /// NATS, such as nats://nats:4222
    #[arg(long, value_name = "URL", required_unless_present = "data", requires = "nats_password_file")]
    nats_url: Option<String>,
    /// File with the password of the NATS user `provision`
    #[arg(long, value_name = "FILE", requires = "nats_url")]
    nats_password_file: Option<PathBuf>,
    /// Instead of both: the data folder of a `hookmill up` that runs, such as .hookmill
    #[arg(long, value_name = "FOLDER", conflicts_with = "nats_url")]
    data: Option<PathBuf>,
}

impl Consumers {
    /// Does it.
    ///
    /// # Errors
    /// NATS is not there or refuses, or there is a reason not to.
    pub async fn run(self, format: Format) -> Result<(), Failure> {
        match self {
            Self::List(List { access, over }) => {
                list(&access.open().await?, Duration::from_secs(over), format).await
            }
            Self::Reset(Reset { name, start_again, access }) => {
                reset(&access.open().await?, &name, start_again, format).await
            }
        }
    }
}

impl Access {
    async fn open(&self) -> Result<job_queue::Consumers, Failure> {
        let (url, password) = match (&self.nats_url, &self.nats_password_file, &self.data) {
            (Some(url), Some(file), _) => (url.clone(), secret_in(file)?),
            (_, _, Some(folder)) => of_data_folder(folder)?,
            _ => return Err(Failure::Usage("--nats-url and --nats-password-file, or --data missing".into())),
        };
        Ok(job_queue::Consumers::new(connect(&url, &Secret::new(password)).await?))
    }
}

/// Where `hookmill up` has its NATS, and the password there.
fn of_data_folder(folder: &Path) -> Result<(String, String), Failure> {
    let credentials = Credentials::load(folder).map_err(anyhow::Error::from)?;
    let file = folder.join("run/nats.conf");
    let text = std::fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
    let port = nats::port_of(&text).with_context(|| format!("{} names no port", file.display()))?;
    Ok((format!("nats://127.0.0.1:{port}"), credentials.nats_password(PROVISION).to_owned()))
}

async fn list(consumers: &job_queue::Consumers, over: Duration, format: Format) -> Result<(), Failure> {
    let before = all(consumers).await?;
    tokio::time::sleep(over).await;
    let found: Vec<(Consumer, Health)> =
        all(consumers).await?.into_iter().map(|now| judged(&before, now)).collect();
    match format {
        Format::Json => output::json(&found.iter().map(as_json).collect()),
        Format::Text if found.is_empty() => output::line("none: no worker and no gateway has made any yet"),
        Format::Text => output::line(&in_words(&found)),
    }
    Ok(())
}

async fn all(consumers: &job_queue::Consumers) -> Result<Vec<Consumer>, Failure> {
    Ok(consumers.list().await.map_err(anyhow::Error::from)?)
}

fn judged(before: &[Consumer], now: Consumer) -> (Consumer, Health) {
    // one that was made meanwhile has at least delivered nothing before
    let earlier =
        before.iter().find(|consumer| (&consumer.stream, &consumer.name) == (&now.stream, &now.name));
    let health = now.health(earlier.unwrap_or(&now));
    (now, health)
}

const fn name(health: Health) -> &'static str {
    match health {
        Health::Idle => "idle",
        Health::Moving => "moving",
        Health::Busy => "busy",
        Health::Paused => "PAUSED",
        Health::Full => "FULL",
        Health::Unasked => "UNASKED",
        Health::Stuck => "STUCK",
    }
}

fn in_words(found: &[(Consumer, Health)]) -> String {
    let cells = |(consumer, health): &(Consumer, Health)| {
        vec![
            consumer.name.clone(),
            name(*health).to_owned(),
            consumer.pending.to_string(),
            format!("{} of {}", consumer.unacknowledged, consumer.unacknowledged_limit),
            consumer.redelivered.to_string(),
            consumer.requests.to_string(),
            consumer.delivered.to_string(),
            consumer.ack_floor.to_string(),
        ]
    };
    let heading = [
        "CONSUMER",
        "STATE",
        "PENDING",
        "UNACKNOWLEDGED",
        "REDELIVERED",
        "REQUESTS",
        "DELIVERED",
        "ACK FLOOR",
    ];
    output::table(&heading, &found.iter().map(cells).collect::<Vec<_>>())
}

fn as_json((consumer, health): &(Consumer, Health)) -> Value {
    json!({
        "stream": consumer.stream, "name": consumer.name, "state": name(*health).to_lowercase(),
        "pending": consumer.pending, "unacknowledged": consumer.unacknowledged,
        "unacknowledged_limit": consumer.unacknowledged_limit, "redelivered": consumer.redelivered,
        "requests": consumer.requests, "delivered": consumer.delivered, "ack_floor": consumer.ack_floor,
        "paused": consumer.paused,
    })
}

async fn reset(
    consumers: &job_queue::Consumers,
    name: &str,
    start_again: bool,
    format: Format,
) -> Result<(), Failure> {
    let all = all(consumers).await?;
    let Some(consumer) = all.iter().find(|consumer| consumer.name == name) else {
        let names: Vec<&str> = all.iter().map(|consumer| consumer.name.as_str()).collect();
        return Err(Failure::Usage(format!(
            "there is no consumer `{name}`; there are: {}",
            names.join(", ")
        )));
    };
    if consumer.unacknowledged > 0 && !start_again {
        return Err(Failure::Usage(format!(
            "services hold {} messages of {name}: they would get them once more, and a job among them one attempt \
             more. Say --start-again to do it all the same, or end the services that hold them first",
            consumer.unacknowledged
        )));
    }
    consumers.remove(consumer).await.map_err(anyhow::Error::from)?;
    let made = made_again(consumers, name).await?;
    match format {
        Format::Json => output::json(&json!({ "reset": name, "made_again": made })),
        Format::Text if made => output::line(&format!("{name} was reset, and is there again")),
        Format::Text => output::line(&format!(
            "{name} was reset; within {} s nobody has made it again: no service that uses it runs",
            MADE_WITHIN.as_secs()
        )),
    }
    Ok(())
}

async fn made_again(consumers: &job_queue::Consumers, name: &str) -> Result<bool, Failure> {
    let looking = async {
        while !all(consumers).await?.iter().any(|consumer| consumer.name == name) {
            tokio::time::sleep(LOOKS).await;
        }
        Ok(true)
    };
    tokio::time::timeout(MADE_WITHIN, looking).await.unwrap_or(Ok(false))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use crate::args::Cli;

    #[test]
    fn it_has_to_know_which_nats_and_its_password() {
        let parses = |line: &str| Cli::try_parse_from(line.split(' ')).is_ok();
        assert!(parses("hookmill consumers list --nats-url nats://h:1 --nats-password-file x"));
        assert!(parses("hookmill consumers list --data .hookmill"));
        assert!(parses("hookmill consumers reset w-bash-p1 --nats-url nats://h:1 --nats-password-file x"));
        for line in ["list", "list --nats-url nats://h:1", "list --nats-password-file x", "reset --data x"] {
            assert!(!parses(&format!("hookmill consumers {line}")), "{line}");
        }
    }
}
