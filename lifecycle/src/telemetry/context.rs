//! Trace context in and out of `tracing` spans, so that no other crate needs OpenTelemetry's types.

use opentelemetry::Context;
use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, TraceState};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

use crate::trace_context::{TraceContext, TraceParent};

/// The `traceparent` of the current span, to send along; `None` outside any span.
pub fn current_traceparent() -> Option<String> {
    current_trace_context().map(|context| context.traceparent.to_string())
}

/// The trace context of the current span; `None` outside any span.
pub fn current_trace_context() -> Option<TraceContext> {
    // spans below `info` have no context of their own: there the entered span around them counts
    of(&Span::current().context()).or_else(|| of(&Context::current()))
}

fn of(context: &Context) -> Option<TraceContext> {
    let span = context.span();
    let span = span.span_context();
    let trace_id = u128::from_be_bytes(span.trace_id().to_bytes());
    let span_id = u64::from_be_bytes(span.span_id().to_bytes());
    let traceparent = TraceParent::new(trace_id, span_id, span.is_sampled())?;
    Some(TraceContext { traceparent, tracestate: span.trace_state().header() })
}

/// Makes `span` continue the trace that came with a request or a message. Call it before the span is entered.
/// An empty or invalid `traceparent` leaves the span the start of a trace of its own.
pub fn set_parent(span: &Span, traceparent: &str, tracestate: &str) {
    let Some(remote) = remote(traceparent, tracestate) else { return };
    if let Err(error) = span.set_parent(Context::new().with_remote_span_context(remote)) {
        tracing::debug!(%error, "trace is not continued");
    }
}

/// Links `span` to another trace, as a redelivery is linked to the first try.
pub fn link(span: &Span, traceparent: &str, tracestate: &str) {
    if let Some(remote) = remote(traceparent, tracestate) {
        span.add_link(remote);
    }
}

fn remote(traceparent: &str, tracestate: &str) -> Option<SpanContext> {
    let context = TraceContext::parse(traceparent, tracestate).ok()?;
    let parent = context.traceparent;
    let flags = if parent.sampled() { TraceFlags::SAMPLED } else { TraceFlags::NOT_SAMPLED };
    let state: TraceState = context.tracestate.parse().unwrap_or_default();
    let (trace_id, span_id) = (TraceId::from(parent.trace_id()), SpanId::from(parent.span_id()));
    Some(SpanContext::new(trace_id, span_id, flags, true, state))
}
