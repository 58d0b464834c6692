//! A gateway: a request comes, and its answer goes.

use std::path::Path;

use system_tests::trace::{Call, Kind, Told, Trace};

use super::ms;

/// What a gateway heard and said over HTTP.
pub(super) struct Answers {
    trace: Trace,
    heard: Vec<Told>,
    said: Vec<Told>,
}

impl Answers {
    pub(super) async fn of(file: &Path) -> Self {
        let trace = Trace::whole(file).await;
        let http = |kind, mark| {
            let mut all = trace.connections(kind);
            all.retain(|told: &Told| told.text.contains(mark));
            all
        };
        let (heard, said) = (http(Kind::Read, "POST /api/"), http(Kind::Write, "HTTP/1.1 20"));
        Self { trace, heard, said }
    }

    fn call(&self, place: usize) -> &Call {
        &self.trace.calls[place]
    }

    /// When the request with this marker had come, and when the answer that names this job began to go.
    pub(super) fn to(&self, job: &str, marker: &str) -> (u64, u64) {
        let came = self.heard.iter().find_map(|told| Some(told.carried(told.places(marker).next()?)));
        let came = self.call(came.unwrap_or_else(|| panic!("no request has {marker}"))).ended_ns;
        let went = self.said.iter().find_map(|told| Some(told.carried(told.places(job).next()?)));
        let went = self.call(went.unwrap_or_else(|| panic!("no answer names {job}"))).begun_ns;
        assert!(came < went, "{job}: answered {} ms before it was asked for", ms(came) - ms(went));
        (came, went)
    }
}
