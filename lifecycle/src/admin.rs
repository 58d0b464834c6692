//! The admin port: `/livez`, `/readyz`, `/metrics` and `/loglevel`, on a listener of its own. [`crate::main`]
//! serves it beside the signals, on a runtime that the work cannot starve. It has no authentication: by default
//! it listens on the loopback.

use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use metrics_exporter_prometheus::PrometheusHandle;

use crate::listen::bind_blocking;
use crate::readiness::Readiness;
use crate::telemetry::{LogFilter, LogLevel, Telemetry};

/// How often recorded histogram samples are folded into their buckets when nobody scrapes.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(5);

/// The longest log filter taken, in bytes.
const MAX_FILTER_BYTES: usize = 4096;

/// The admin port, bound. Its requests are answered by [`Admin::serve`].
#[derive(Debug)]
pub struct Admin {
    addr: SocketAddr,
    listener: TcpListener,
}

#[derive(Clone)]
struct Shown {
    readiness: Readiness,
    metrics: PrometheusHandle,
    log_level: LogLevel,
}

impl Admin {
    /// Listens on `addr` (key `admin-listen`; port 0 picks a free one).
    pub fn bind(addr: SocketAddr) -> anyhow::Result<Self> {
        let listener = bind_blocking(addr, "admin-listen")?;
        let addr = listener.local_addr().context("admin port has no address")?;
        tracing::info!(admin.addr = %addr, "admin port listens");
        Ok(Self { addr, listener })
    }

    /// The address in force.
    pub const fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Answers until the future is dropped; it ends by itself only when the port fails.
    pub async fn serve(self, readiness: Readiness, telemetry: &Telemetry) -> anyhow::Result<()> {
        let shown = Shown { readiness, metrics: telemetry.metrics(), log_level: telemetry.log_level() };
        let upkeep = upkeep(shown.metrics.clone());
        let listener = tokio::net::TcpListener::from_std(self.listener)?;
        tokio::select! {
            result = axum::serve(listener, router(shown)).into_future() => Ok(result?),
            () = upkeep => Ok(()),
        }
    }
}

async fn upkeep(metrics: PrometheusHandle) {
    let mut ticks = tokio::time::interval(UPKEEP_INTERVAL);
    loop {
        ticks.tick().await;
        metrics.run_upkeep();
    }
}

fn router(shown: Shown) -> Router {
    Router::new()
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .route("/loglevel", get(log_level).put(set_log_level))
        .fallback(|| async {
            (StatusCode::NOT_FOUND, "not found; try /livez, /readyz, /metrics or /loglevel\n")
        })
        .layer(DefaultBodyLimit::max(MAX_FILTER_BYTES))
        .with_state(shown)
}

async fn readyz(State(shown): State<Shown>) -> Response {
    let report = shown.readiness.report();
    let ready = report["ready"] == serde_json::Value::Bool(true);
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, [(CONTENT_TYPE, "application/json")], report.to_string()).into_response()
}

async fn metrics(State(shown): State<Shown>) -> Response {
    tell_readiness(&shown.readiness);
    ([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], shown.metrics.render()).into_response()
}

/// What `/readyz` says, for those who only read metrics: set when somebody asks, as nothing probes by itself.
fn tell_readiness(readiness: &Readiness) {
    let report = readiness.report();
    let value = |ready: &serde_json::Value| if *ready == serde_json::Value::Bool(true) { 1.0 } else { 0.0 };
    metrics::gauge!("ready").set(value(&report["ready"]));
    for (name, check) in report["checks"].as_object().into_iter().flatten() {
        metrics::gauge!("ready_check", "check" => name.clone()).set(value(&check["ready"]));
    }
}

async fn log_level(State(shown): State<Shown>) -> String {
    format!("{}\n", shown.log_level.current())
}

async fn set_log_level(State(shown): State<Shown>, filter: String) -> Response {
    let set = filter.parse::<LogFilter>().and_then(|filter| shown.log_level.set(&filter).map(|()| filter));
    match set {
        Ok(filter) => {
            tracing::warn!(log.filter = %filter, "log filter changed");
            format!("{filter}\n").into_response()
        }
        Err(error) => (StatusCode::BAD_REQUEST, format!("{error}\n")).into_response(),
    }
}
