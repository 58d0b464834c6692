//! The metrics recorder and its buckets. Metrics are global to a process by their nature: the macros of
//! `metrics` find the recorder by themselves, so its handle is kept here for the admin port.

use std::sync::OnceLock;

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder};

use crate::service::Service;

/// Always 1; labels `service` and `version` say what runs.
const BUILD_INFO: &str = "build_info";

/// Histograms named `…_seconds`: from a cached answer to the longest synchronous wait.
const SECONDS: [f64; 16] =
    [0.0005, 0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.125, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0, 300.0];

/// Histograms named `…_bytes`: up to the largest body.
const BYTES: [f64; 8] = [256.0, 1024.0, 4096.0, 16384.0, 65536.0, 262_144.0, 1_048_576.0, 8_388_608.0];

/// All other histograms count things.
const COUNTS: [f64; 10] = [1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0];

static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();

/// Installs the recorder; the second time gives the first one's handle.
pub(super) fn install() -> PrometheusHandle {
    let handle = HANDLE.get_or_init(|| {
        let recorder = recorder();
        let handle = recorder.handle();
        if metrics::set_global_recorder(recorder).is_err() {
            tracing::warn!("another metrics recorder was there first, ours stays empty");
        }
        handle
    });
    handle.clone()
}

fn recorder() -> PrometheusRecorder {
    let builder = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS)
        .and_then(|builder| builder.set_buckets_for_metric(Matcher::Suffix("_bytes".to_owned()), &BYTES))
        .and_then(|builder| builder.set_buckets(&COUNTS));
    builder.expect("only an empty bucket list is refused, and none is empty").build_recorder()
}

/// Says which version runs.
pub(super) fn build_info(service: &Service) {
    metrics::describe_gauge!(BUILD_INFO, "always 1; the labels say what runs");
    metrics::gauge!(BUILD_INFO, "service" => service.name, "version" => service.version).set(1.0);
}
