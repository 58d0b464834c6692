use super::*;

const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

fn parse(text: &str) -> Result<TraceParent, TraceContextError> {
    text.parse()
}

#[test]
fn a_traceparent_round_trips() {
    let parent = parse(PARENT).unwrap();
    assert_eq!(parent.trace_id(), 0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c);
    assert_eq!(parent.span_id(), 0xb7ad_6b71_6920_3331);
    assert!(parent.sampled());
    assert_eq!(parent.to_string(), PARENT);
    assert_eq!(TraceContext::parse(&format!(" {PARENT}\t"), "").unwrap().traceparent, parent);
}

#[test]
fn malformed_ones_are_refused() {
    let long = format!("{PARENT}-00");
    let upper = PARENT.to_uppercase();
    let bad = [
        "",
        "00",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-1",
        "00-0af7651916cd43dd8448eb211c80319g-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319cb-7ad6b7169203331-01",
        "00_0af7651916cd43dd8448eb211c80319c_b7ad6b7169203331_01",
        "0x-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "00-+af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c8031é-b7ad6b7169203331-01",
        long.as_str(),
        upper.as_str(),
    ];
    for text in bad {
        assert_eq!(parse(text), Err(TraceContextError::Malformed), "{text}");
    }
    let multibyte_at_the_cut = format!("{}é", &PARENT[..54]);
    assert_eq!(parse(&multibyte_at_the_cut), Err(TraceContextError::Malformed));
}

#[test]
fn zero_ids_and_version_ff_are_refused() {
    let zero_trace = "00-00000000000000000000000000000000-b7ad6b7169203331-01";
    let zero_span = "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01";
    assert_eq!(parse(zero_trace), Err(TraceContextError::ZeroId));
    assert_eq!(parse(zero_span), Err(TraceContextError::ZeroId));
    assert_eq!(parse(&PARENT.replacen("00", "ff", 1)), Err(TraceContextError::Version));
}

#[test]
fn future_versions_are_read_as_far_as_we_know() {
    let future = PARENT.replacen("00", "cc", 1);
    assert_eq!(parse(&future).unwrap().to_string(), PARENT);
    assert_eq!(parse(&format!("{future}-what-the-future")).unwrap().to_string(), PARENT);
    assert_eq!(parse(&format!("{future}.what")), Err(TraceContextError::Malformed));
    let other_flags = format!("{}fe", &PARENT[..53]);
    assert!(!parse(&other_flags).unwrap().sampled());
}

#[test]
fn a_child_keeps_the_trace_and_generated_ones_are_not_sampled() {
    let parent = TraceContext::parse(PARENT, "a=1").unwrap();
    let child = parent.child();
    assert_eq!(child.traceparent.trace_id(), parent.traceparent.trace_id());
    assert_ne!(child.traceparent.span_id(), parent.traceparent.span_id());
    assert!(child.traceparent.sampled());
    assert_eq!(child.tracestate, "a=1");
    let (one, other) = (TraceContext::generate(), TraceContext::generate());
    assert_ne!(one.traceparent.trace_id(), other.traceparent.trace_id());
    assert!(one.traceparent.to_string().ends_with("-00"));
    assert_eq!(parse(&one.traceparent.to_string()), Ok(one.traceparent));
}

#[test]
fn a_bad_tracestate_is_dropped_alone() {
    let state = |text: &str| TraceContext::parse(PARENT, text).unwrap().tracestate;
    assert_eq!(state("congo=t61rcWkgMzE, rojo=00f067aa0ba902b7"), "congo=t61rcWkgMzE,rojo=00f067aa0ba902b7");
    assert_eq!(state("fw529a3039@dt=FfAAAA"), "fw529a3039@dt=FfAAAA");
    assert_eq!(state(",,a=1,"), "a=1");
    for bad in ["a", "A=1", "=1", "a=", "a=1,a=2", "a=b=c", "1a=1", "a@=1", "a@1=1", "a=\u{7f}", "a=é"] {
        assert_eq!(state(bad), "", "{bad}");
    }
}

#[test]
fn a_long_tracestate_is_bounded() {
    let members = |count: usize| (0..count).map(|i| format!("k{i}=v")).collect::<Vec<_>>().join(",");
    let state = |text: &str| TraceContext::parse(PARENT, text).unwrap().tracestate;
    assert_eq!(state(&members(32)), members(32));
    assert_eq!(state(&members(33)), "");
    let wide: Vec<_> = (0..4).map(|i| format!("k{i}={}", "v".repeat(200))).collect();
    assert_eq!(state(&wide.join(",")), wide[..2].join(","));
    assert_eq!(state(&"x".repeat(1 << 20)), "");
}
