//! W3C trace context, level 1, as pure values: what may be believed of a `traceparent` and `tracestate` that
//! came from outside, and what goes out. Nothing here knows a span.

use std::fmt;
use std::str::FromStr;

use opentelemetry_sdk::trace::{IdGenerator, RandomIdGenerator};

/// The longest `tracestate` passed on, in bytes; members beyond it are left out from the right.
const MAX_STATE_BYTES: usize = 512;

/// The most members a `tracestate` may have.
const MAX_STATE_MEMBERS: usize = 32;

/// The bytes of a `traceparent` of version 00.
const PARENT_BYTES: usize = 55;

/// Why a `traceparent` is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TraceContextError {
    /// Not of the form `version-traceid-parentid-flags` in lower-case hex.
    #[error("traceparent is malformed")]
    Malformed,
    /// Version `ff`.
    #[error("traceparent has the forbidden version ff")]
    Version,
    /// The trace id or the parent id is all zero.
    #[error("traceparent has an id that is all zero")]
    ZeroId,
}

/// A parsed `traceparent`, printed as version 00.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceParent {
    trace_id: u128,
    span_id: u64,
    sampled: bool,
}

/// A trace's position (`traceparent`) with what vendors attached (`tracestate`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceContext {
    /// Where in which trace we are.
    pub traceparent: TraceParent,
    /// Vendors' members, validated; may be empty.
    pub tracestate: String,
}

impl TraceContext {
    /// Reads both headers. A bad `tracestate` is dropped and does not spoil the `traceparent`.
    pub fn parse(traceparent: &str, tracestate: &str) -> Result<Self, TraceContextError> {
        let tracestate = valid_state(tracestate).unwrap_or_default();
        Ok(Self { traceparent: traceparent.trim().parse()?, tracestate })
    }

    /// A new trace, not sampled.
    pub fn generate() -> Self {
        let traceparent = TraceParent { trace_id: new_trace_id(), span_id: new_span_id(), sampled: false };
        Self { traceparent, tracestate: String::new() }
    }

    /// The same trace one step further: a new span id.
    #[must_use]
    pub fn child(&self) -> Self {
        let traceparent = TraceParent { span_id: new_span_id(), ..self.traceparent };
        Self { traceparent, tracestate: self.tracestate.clone() }
    }
}

impl TraceParent {
    /// From its parts; `None` when an id is zero.
    pub const fn new(trace_id: u128, span_id: u64, sampled: bool) -> Option<Self> {
        if trace_id == 0 || span_id == 0 { None } else { Some(Self { trace_id, span_id, sampled }) }
    }

    /// The trace.
    pub const fn trace_id(self) -> u128 {
        self.trace_id
    }

    /// The span in it.
    pub const fn span_id(self) -> u64 {
        self.span_id
    }

    /// Whether the caller records this trace.
    pub const fn sampled(self) -> bool {
        self.sampled
    }
}

impl fmt::Display for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{:032x}-{:016x}-{:02x}", self.trace_id, self.span_id, u8::from(self.sampled))
    }
}

impl FromStr for TraceParent {
    type Err = TraceContextError;

    /// A version after 00 is read as far as 00 goes.
    fn from_str(text: &str) -> Result<Self, TraceContextError> {
        let known = text.get(..PARENT_BYTES).ok_or(TraceContextError::Malformed)?;
        let mut parts = known.split('-');
        let version = hex(parts.next(), 2)?;
        let (trace_id, span_id) = (hex(parts.next(), 32)?, hex(parts.next(), 16)?);
        let flags = hex(parts.next(), 2)?;
        let rest = &text[PARENT_BYTES..];
        let extended = version != 0 && rest.starts_with('-');
        if parts.next().is_some() || !(rest.is_empty() || extended) {
            return Err(TraceContextError::Malformed);
        }
        if version == 0xff {
            return Err(TraceContextError::Version);
        }
        let span_id = u64::try_from(span_id).map_err(|_| TraceContextError::Malformed)?;
        Self::new(trace_id, span_id, flags & 1 == 1).ok_or(TraceContextError::ZeroId)
    }
}

/// Exactly `digits` lower-case hex digits.
fn hex(part: Option<&str>, digits: usize) -> Result<u128, TraceContextError> {
    let lower = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    let part = part.filter(|part| part.len() == digits && part.bytes().all(lower));
    let part = part.ok_or(TraceContextError::Malformed)?;
    u128::from_str_radix(part, 16).map_err(|_| TraceContextError::Malformed)
}

/// The members of a `tracestate`, shortened to [`MAX_STATE_BYTES`]; `None` when it breaks the rules.
fn valid_state(text: &str) -> Option<String> {
    let members = || text.split(',').map(|member| member.trim_matches([' ', '\t'])).filter(|m| !m.is_empty());
    let mut keys = Vec::new();
    for member in members() {
        let (key, value) = member.split_once('=')?;
        if keys.len() == MAX_STATE_MEMBERS || keys.contains(&key) || !valid_key(key) || !valid_value(value) {
            return None;
        }
        keys.push(key);
    }
    let mut kept = String::new();
    for member in members() {
        let comma = if kept.is_empty() { "" } else { "," };
        if kept.len() + comma.len() + member.len() > MAX_STATE_BYTES {
            break;
        }
        kept.push_str(comma);
        kept.push_str(member);
    }
    Some(kept)
}

/// `simple-key` or `tenant@system`.
fn valid_key(key: &str) -> bool {
    let body = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' | b'*' | b'/');
    let part = |text: &str, longest: usize, digit_first: bool| {
        let first =
            text.bytes().next().is_some_and(|b| b.is_ascii_lowercase() || digit_first && b.is_ascii_digit());
        first && text.len() <= longest && text.bytes().all(body)
    };
    match key.split_once('@') {
        Some((tenant, system)) => part(tenant, 241, true) && part(system, 14, false),
        None => part(key, 256, false),
    }
}

/// Up to 256 printable characters but `,` and `=`, the last one no space.
fn valid_value(value: &str) -> bool {
    let printable = |byte: u8| matches!(byte, 0x20..=0x7e) && byte != b',' && byte != b'=';
    (1..=256).contains(&value.len()) && value.bytes().all(printable)
}

fn new_trace_id() -> u128 {
    u128::from_be_bytes(RandomIdGenerator::default().new_trace_id().to_bytes())
}

fn new_span_id() -> u64 {
    u64::from_be_bytes(RandomIdGenerator::default().new_span_id().to_bytes())
}

#[cfg(test)]
mod tests;
