//! nats-server: a publish comes, goes into the stream's block file, and is acknowledged.

use std::path::Path;

use system_tests::trace::{Call, Kind, Told, Trace};

use super::keeping::{Early, Kept, kept, syncs_between};

/// What nats-server did.
pub(super) struct Nats {
    trace: Trace,
    heard: Vec<Told>,
    said: Vec<Told>,
}

/// A publish of a job.
struct Publish {
    /// The call by which all of its first line had come.
    came: usize,
    /// Where its acknowledgement goes to.
    reply: String,
}

impl Nats {
    pub(super) async fn of(file: &Path) -> Self {
        let trace = Trace::whole(file).await;
        let (heard, said) = (trace.connections(Kind::Read), trace.connections(Kind::Write));
        Self { trace, heard, said }
    }

    pub(super) fn file(&self) -> String {
        self.trace.file().display().to_string()
    }

    fn call(&self, place: usize) -> &Call {
        &self.trace.calls[place]
    }

    /// Whether the job was on disk when its publish was acknowledged.
    pub(super) fn published(&self, job: &str) -> Result<Kept, Early> {
        let Publish { came, reply } = self.publish(job);
        let written = self
            .trace
            .calls
            .iter()
            .find(|call| call.kind == Kind::Write && is_block(call.path()) && call.text.contains(job));
        let written = written.unwrap_or_else(|| panic!("{job} was never written to the stream"));
        assert!(self.call(came).ended < written.begun, "{job} was written before it came");
        let (answered, _) = self.answer(&reply);
        kept(&self.trace.calls, written, answered)
    }

    /// When a job's publish had come.
    pub(super) fn publish_came(&self, job: &str) -> u64 {
        self.call(self.publish(job).came).ended_ns
    }

    /// When the word that a job is worked off had come from its worker.
    pub(super) fn acknowledged(&self, job: &str) -> u64 {
        let (_, sequence) = self.answer(&self.publish(job).reply);
        let all = self.heard.iter().flat_map(|told| acknowledgements(told).map(move |at| (told, at)));
        let ours = all.filter(|(_, (of, _))| *of == sequence).map(|(told, (_, end))| told.carried(end));
        let first = ours.min().unwrap_or_else(|| panic!("{job} was never acknowledged by its worker"));
        self.call(first).ended_ns
    }

    pub(super) fn syncs_between(&self, from: u64, to: u64) -> usize {
        syncs_between(&self.trace.calls, is_block, from, to)
    }

    /// `[H]PUB job.0.<tag>.<priority>.<ws>.<job> <reply> …`
    fn publish(&self, job: &str) -> Publish {
        let pattern = format!(".{job} _INBOX_");
        let found = self.heard.iter().find_map(|told| {
            let place = told.places(&pattern).find(|place| {
                let before = &told.text[..*place];
                before.rfind("PUB ").is_some_and(|line| before[line..].starts_with("PUB job.0."))
            })?;
            let reply = told.text[place + 1 + job.len() + 1..].split(' ').next()?;
            let end = place + pattern.len() + reply.len();
            Some(Publish { came: told.carried(end), reply: reply.to_owned() })
        });
        found.unwrap_or_else(|| panic!("{job} was never published"))
    }

    /// The call that carries the acknowledgement, and the job's place in the stream.
    fn answer(&self, reply: &str) -> (&Call, u64) {
        let pattern = format!("MSG {reply} ");
        let found = self.said.iter().find_map(|told| {
            let place = told.places(&pattern).next()?;
            let (_, after) = told.text[place..].split_once(r#"\"stream\":\"JOBS_0\""#)?;
            let (_, sequence) = after.split_once(r#"\"seq\":"#)?;
            let digits: String = sequence.chars().take_while(char::is_ascii_digit).collect();
            Some((self.call(told.carried(place)), digits.parse().ok()?))
        });
        found.unwrap_or_else(|| panic!("no answer to {reply}"))
    }
}

fn is_block(path: &str) -> bool {
    path.split_once("/streams/JOBS_0/msgs/").is_some_and(|(_, file)| file.strip_suffix(".blk").is_some())
}

/// `PUB $JS.ACK.….JOBS_0.<consumer>.<count>.<sequence>.… <length>\r\n+ACK`: the sequence, and where it ends.
fn acknowledgements(told: &Told) -> impl Iterator<Item = (u64, usize)> {
    told.places(".JOBS_0.w-").filter_map(|place| {
        let (line, payload) = told.text[place..].split_once(r"\r\n")?;
        let sequence = line.split('.').nth(4)?.parse().ok()?;
        let end = place + line.len() + r"\r\n+ACK".len();
        payload.starts_with("+ACK").then_some((sequence, end - 1))
    })
}
