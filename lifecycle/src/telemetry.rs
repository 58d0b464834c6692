//! What a process tells about itself: logs on stderr, metrics for the admin port, traces to a collector.
//! [`init`] is called once, by [`crate::main`]; a second call changes nothing but hurts nobody (tests).

mod context;
mod logs;
mod metrics;
mod traces;

use std::time::Duration;

use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing_subscriber::Layer;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

pub use self::context::{current_trace_context, current_traceparent, link, set_parent};
pub use self::logs::{BadFilter, LogFilter, LogFormat, LogLevel};
pub use self::traces::OtlpEndpoint;
use crate::config::{FromValues, Values};
use crate::service::Service;

/// The longest that the last spans may take to reach the collector.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(2);

/// What is told, and where.
#[derive(Clone, Debug)]
pub struct TelemetryConfig {
    /// Which log lines are written.
    pub log: LogFilter,
    /// How they look.
    pub log_format: LogFormat,
    /// The collector of traces; without one, trace context is passed on and nothing recorded.
    pub otlp_endpoint: Option<OtlpEndpoint>,
}

impl FromValues for TelemetryConfig {
    fn from_values(values: &mut Values) -> Self {
        Self {
            log: values.or("log", "info", "which log lines are written, such as warn or info,gateway=debug"),
            log_format: values.or(
                "log-format",
                "auto",
                "json, human, or auto: human on a terminal, else json",
            ),
            otlp_endpoint: values
                .optional("otlp-endpoint", "collector of traces over gRPC, such as http://127.0.0.1:4317"),
        }
    }
}

/// Why telemetry could not start.
#[derive(Debug, thiserror::Error)]
#[error("traces cannot be sent to {endpoint}")]
pub struct TelemetryError {
    endpoint: OtlpEndpoint,
    source: opentelemetry_otlp::ExporterBuildError,
}

/// The process's telemetry; flush it at the end.
#[derive(Debug)]
pub struct Telemetry {
    provider: SdkTracerProvider,
    log_level: LogLevel,
    metrics: metrics_exporter_prometheus::PrometheusHandle,
}

/// Starts logs, metrics and traces for the whole process.
///
/// With a collector it must be called inside a multi-threaded Tokio runtime.
pub fn init(service: &Service, config: &TelemetryConfig) -> Result<Telemetry, TelemetryError> {
    let provider = traces::provider(service, config.otlp_endpoint.as_ref())?;
    let (logs, log_level) = logs::layer(config);
    let spans = traces::layer(&provider, service.name).with_filter(traces::filter());
    let first = tracing_subscriber::registry().with(logs).with(spans).try_init().is_ok();
    let log_level = log_level.shared();
    if first {
        std::panic::set_hook(Box::new(logs::log_panic));
    }
    let metrics = metrics::install();
    metrics::build_info(service);
    Ok(Telemetry { provider, log_level, metrics })
}

impl Telemetry {
    /// Reads and changes the log filter while the process runs.
    pub fn log_level(&self) -> LogLevel {
        self.log_level.clone()
    }

    /// The metrics, to be rendered.
    pub(crate) fn metrics(&self) -> metrics_exporter_prometheus::PrometheusHandle {
        self.metrics.clone()
    }

    /// Sends the last spans, for 2 s at most. It blocks: call it outside asynchronous code.
    pub fn flush(self) {
        if let Err(error) = self.provider.shutdown_with_timeout(FLUSH_TIMEOUT) {
            tracing::warn!(%error, "last traces may be lost");
        }
    }
}
