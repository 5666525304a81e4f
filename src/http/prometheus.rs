//! Counters and gauges in the text format of OpenMetrics, for Prometheus.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hyper::{Method, StatusCode};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::message::Response;
use super::sessions::Sessions;

/// The media type of [`Metrics::render`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// Upper bounds in seconds: from well under a state query to the patience of a client.
const LATENCY_BUCKETS: [f64; 12] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 2.5, 10.0,
];
/// The label of what is in no table, so that clients can't make labels.
const UNKNOWN: &str = "unknown";

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct RequestLabels {
    method: &'static str,
    route: &'static str,
    status: u16,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct RouteLabels {
    route: &'static str,
}

/// Everything that is counted, to be rendered on request.
pub struct Metrics {
    registry: Mutex<Registry>,
    requests: Family<RequestLabels, Counter>,
    latencies: Family<RouteLabels, Histogram, fn() -> Histogram>,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("rekindle");
        let requests = Family::default();
        let latencies = Family::new_with_constructor((|| Histogram::new(LATENCY_BUCKETS)) as fn() -> Histogram);
        registry.register("http_requests", "Requests answered", requests.clone());
        registry.register(
            "http_request_seconds",
            "From the end of a request's headers to the beginning of its answer",
            latencies.clone(),
        );
        Metrics {
            registry: Mutex::new(registry),
            requests,
            latencies,
        }
    }
}

impl Metrics {
    /// Counts an answer. `route` is the route's pattern, `None` for paths in no table.
    pub fn observe(&self, route: Option<&'static str>, method: &Method, status: StatusCode, time: Duration) {
        let route = route.unwrap_or(UNKNOWN);
        let labels = RequestLabels {
            method: method_label(method),
            route,
            status: status.as_u16(),
        };
        self.requests.get_or_create(&labels).inc();
        let latency = self.latencies.get_or_create(&RouteLabels { route });
        latency.observe(time.as_secs_f64());
    }

    /// Adds a gauge whose value is asked for at each rendering; `name` gets the prefix `rekindle_`.
    pub fn gauge(&self, name: &'static str, help: &'static str, value: impl Fn() -> f64 + Send + Sync + 'static) {
        self.collect(move |mut encoder| {
            let metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            ConstGauge::new(value()).encode(metric)
        });
    }

    /// Adds a gauge with one label, whose values are asked for at each rendering: what the label says, and the value.
    pub fn labelled_gauge(
        &self,
        name: &'static str,
        help: &'static str,
        label: &'static str,
        values: impl Fn() -> Vec<(String, f64)> + Send + Sync + 'static,
    ) {
        self.collect(move |mut encoder| {
            let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            for (value_of_label, value) in values() {
                let labels = [(label, value_of_label.as_str())];
                ConstGauge::new(value).encode(metric.encode_family(&labels)?)?;
            }
            Ok(())
        });
    }

    /// Adds the open sessions of every interface.
    pub fn sessions(&self, sessions: Arc<Sessions>) {
        self.collect(move |mut encoder| {
            let mut metric =
                encoder.encode_descriptor("http_sessions", "Sessions open now", None, MetricType::Gauge)?;
            for counters in sessions.interfaces() {
                let labels = [("interface", counters.name.as_str())];
                let gauge = ConstGauge::new(i64::try_from(counters.active()).unwrap_or(i64::MAX));
                gauge.encode(metric.encode_family(&labels)?)?;
            }
            Ok(())
        });
    }

    /// Everything as text.
    pub fn render(&self) -> String {
        let mut text = String::new();
        let registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        // Writing into a String does not fail.
        let _ = encode(&mut text, &registry);
        text
    }

    /// [`Metrics::render`] as an answer.
    pub fn response(&self) -> Response {
        Response::bytes(CONTENT_TYPE, self.render())
    }

    fn collect(&self, encode: impl Fn(DescriptorEncoder<'_>) -> std::fmt::Result + Send + Sync + 'static) {
        let mut registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        registry.register_collector(Box::new(Asked(Box::new(encode))));
    }
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Metrics")
    }
}

/// A collector that is a function.
#[allow(clippy::type_complexity)] // It is named here, and only here.
struct Asked(Box<dyn Fn(DescriptorEncoder<'_>) -> std::fmt::Result + Send + Sync>);

impl std::fmt::Debug for Asked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Asked")
    }
}

impl Collector for Asked {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> std::fmt::Result {
        (self.0)(encoder)
    }
}

/// Methods that clients make up are one label.
fn method_label(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => UNKNOWN,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::Interface;

    #[test]
    fn what_was_observed_and_what_is_asked_for_is_rendered() {
        let metrics = Metrics::default();
        metrics.observe(
            Some("/node/state"),
            &Method::GET,
            StatusCode::OK,
            Duration::from_micros(700),
        );
        let odd = Method::from_bytes(b"ODD").unwrap();
        metrics.observe(None, &odd, StatusCode::NOT_FOUND, Duration::ZERO);
        metrics.gauge("last_signed_seqno", "The last signed seqno", || 203.0);
        metrics.sessions(Sessions::new(&[Arc::new(Interface::new("primary", "127.0.0.1:0"))]));
        let text = metrics.render();
        for line in [
            "rekindle_http_requests_total{method=\"GET\",route=\"/node/state\",status=\"200\"} 1",
            "rekindle_http_requests_total{method=\"unknown\",route=\"unknown\",status=\"404\"} 1",
            "rekindle_http_request_seconds_bucket{le=\"0.0005\",route=\"/node/state\"} 0",
            "rekindle_http_request_seconds_bucket{le=\"0.001\",route=\"/node/state\"} 1",
            "rekindle_last_signed_seqno 203.0",
            "rekindle_http_sessions{interface=\"primary\"} 0",
            "# EOF",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
    }
}
