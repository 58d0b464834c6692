//! Spans: sent to a collector when there is one, else made only so that trace context is passed on.

use std::fmt;
use std::str::FromStr;

use opentelemetry::KeyValue;
use opentelemetry::trace::TracerProvider;
use opentelemetry_otlp::{SpanExporter, WithExportConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{Sampler, SdkTracer, SdkTracerProvider};
use tracing::level_filters::LevelFilter;
use tracing_opentelemetry::OpenTelemetryLayer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::registry::LookupSpan;

use super::TelemetryError;
use crate::service::Service;

/// Crates whose spans would be about sending spans.
const QUIET: [&str; 5] = ["h2", "hyper", "opentelemetry", "tonic", "tower"];

/// The address of a collector: `http://host:port`. TLS to it is not built in: put a collector beside us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OtlpEndpoint(String);

/// Why an [`OtlpEndpoint`] is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected http://host:port (TLS to the collector is not built in)")]
pub struct BadEndpoint;

impl FromStr for OtlpEndpoint {
    type Err = BadEndpoint;

    fn from_str(text: &str) -> Result<Self, BadEndpoint> {
        let uri: axum::http::Uri = text.parse().map_err(|_| BadEndpoint)?;
        let plain = uri.scheme_str() == Some("http") && uri.port().is_some();
        if plain { Ok(Self(text.to_owned())) } else { Err(BadEndpoint) }
    }
}

impl fmt::Display for OtlpEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Records what callers record and, with a collector, all that starts here.
pub(super) fn provider(
    service: &Service,
    endpoint: Option<&OtlpEndpoint>,
) -> Result<SdkTracerProvider, TelemetryError> {
    let builder = SdkTracerProvider::builder().with_resource(resource(service));
    let Some(endpoint) = endpoint else {
        return Ok(builder.with_sampler(parent_or(Sampler::AlwaysOff)).build());
    };
    let exporter = SpanExporter::builder().with_tonic().with_endpoint(&endpoint.0).build();
    let exporter = exporter.map_err(|source| TelemetryError { endpoint: endpoint.clone(), source })?;
    Ok(builder.with_sampler(parent_or(Sampler::AlwaysOn)).with_batch_exporter(exporter).build())
}

fn parent_or(root: Sampler) -> Sampler {
    Sampler::ParentBased(Box::new(root))
}

fn resource(service: &Service) -> Resource {
    let version = KeyValue::new("service.version", service.version);
    Resource::builder().with_service_name(service.name).with_attribute(version).build()
}

/// The layer that turns our spans into OpenTelemetry's.
pub(super) fn layer<S>(provider: &SdkTracerProvider, name: &'static str) -> OpenTelemetryLayer<S, SdkTracer>
where
    S: tracing::Subscriber + for<'a> LookupSpan<'a>,
{
    tracing_opentelemetry::layer().with_tracer(provider.tracer(name))
}

/// Spans from `info` on, whatever the log filter says: trace context must not depend on it.
pub(super) fn filter() -> Targets {
    let quiet = QUIET.map(|target| (target, LevelFilter::OFF));
    Targets::new().with_default(LevelFilter::INFO).with_targets(quiet)
}
