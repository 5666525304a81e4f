//! The watch for Prometheus (`/metrics`), and as one JSON document (`/watch`), served in clear text where the operator said.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hyper::Method;

use super::clock::wall_ms;
use super::judgement::{Judgement, Node, Standing, State};
use crate::crypto::random::{serial, system_rng};
use crate::crypto::x509::{Validity, issue_self_signed};
use crate::crypto::{Curve, SigningKey};
use crate::error::{Error, Result};
use crate::http::prometheus::CONTENT_TYPE;
use crate::http::{
    AcceptedEndpoints, ApiError, Authority, CertificateSlot, Certificates, Interface, Metrics, Response, Route, Router,
    Running, Server, Timeouts,
};

/// Whoever scrapes needs few sessions.
const MOST_SESSIONS: usize = 64;

/// What was thought last, to be served.
#[derive(Default)]
pub struct Shown(Mutex<Option<Judgement>>);

impl Shown {
    /// From here on this is served.
    pub fn show(&self, judgement: &Judgement) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(judgement.clone());
    }

    fn read<T>(&self, read: impl FnOnce(&Judgement) -> T) -> Option<T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map(read)
    }

    /// A value for each node, labelled with its id.
    fn of_nodes(&self, value: impl Fn(&Node) -> Option<f64>) -> Vec<(String, f64)> {
        let all = self.read(|judgement| {
            let nodes = judgement.nodes.iter();
            nodes
                .filter_map(|node| Some((node.id.as_str().to_owned(), value(node)?)))
                .collect()
        });
        all.unwrap_or_default()
    }
}

struct Served {
    shown: Arc<Shown>,
    metrics: Arc<Metrics>,
}

/// Serves what is shown at `address` until the answer is dropped; answers where that is, too.
///
/// # Errors
/// Where nobody can listen there.
pub async fn serve(address: &str, shown: Arc<Shown>) -> Result<(Running, String)> {
    let mut interface = Interface::new("watch", address);
    interface.authority = Authority::Unsecured;
    (interface.max_open_sessions_soft, interface.max_open_sessions_hard) = (MOST_SESSIONS, 2 * MOST_SESSIONS);
    interface.accepted_endpoints = Some(AcceptedEndpoints::new(&["/metrics", "/watch"]).map_err(Error::Usage)?);
    let server = Server::bind(vec![interface], Timeouts::default()).await?;
    let bound = server.addresses().into_values().next().unwrap_or_default();
    let metrics = Arc::new(Metrics::default());
    register(&metrics, &shown);
    let routes = vec![
        Route::new(
            Method::GET,
            "/metrics",
            "How the service is, for Prometheus",
            |state: Arc<Served>, _| Box::pin(async move { Ok(Response::bytes(CONTENT_TYPE, state.metrics.render())) }),
        )
        .returns_bytes(CONTENT_TYPE),
        Route::new(
            Method::GET,
            "/watch",
            "How the service is, and why",
            |state: Arc<Served>, _| {
                Box::pin(async move {
                    let answer = state.shown.read(Response::json);
                    answer.ok_or_else(|| ApiError::not_found("Nothing was judged yet."))
                })
            },
        ),
    ];
    let state = Arc::new(Served {
        shown,
        metrics: Arc::clone(&metrics),
    });
    let running = server.serve(Arc::new(Router::new(routes)), state, &throw_away()?, metrics)?;
    Ok((running, bound))
}

/// Certificates that nobody is ever shown: the interface speaks clear text.
fn throw_away() -> Result<Certificates> {
    let unusable = |why: crate::crypto::Error| Error::Unreadable(format!("a certificate could not be made: {why}"));
    let mut rng = system_rng().map_err(unusable)?;
    let key = SigningKey::generate(Curve::P256, &mut rng);
    let validity = Validity::days(wall_ms() / 1000, 1).map_err(unusable)?;
    let certificate = issue_self_signed("CN=watch", &[], &key, validity, serial(&mut rng)).map_err(unusable)?;
    let slot = CertificateSlot::new(&certificate, &key)?;
    Ok(Certificates {
        node: Arc::clone(&slot),
        service: slot,
    })
}

/// A value of a node, where it has one.
type OfNode = fn(&Node) -> Option<f64>;

fn register(metrics: &Metrics, shown: &Arc<Shown>) {
    let at = Arc::clone(shown);
    metrics.labelled_gauge(
        "watch_state",
        "1 for the state that the service is in",
        "state",
        move || {
            let now = at.read(|judgement| judgement.state).unwrap_or(State::Unknown);
            let value = |state: State| (state.name().to_owned(), f64::from(u8::from(state == now)));
            State::ALL.into_iter().map(value).collect()
        },
    );
    let at = Arc::clone(shown);
    metrics.gauge(
        "watch_view",
        "The view of the primary that a majority agrees on, 0 if there is none",
        move || at.read(|judgement| judgement.view).flatten().unwrap_or(0) as f64,
    );
    let at = Arc::clone(shown);
    metrics.gauge("watch_nodes", "Nodes of the current configurations", move || {
        at.read(|judgement| judgement.nodes.len()).unwrap_or(0) as f64
    });
    let at = Arc::clone(shown);
    metrics.gauge(
        "watch_spare_nodes",
        "Nodes that may be lost before no majority can form; -1 where none can",
        move || at.read(spare).unwrap_or(0.0),
    );
    let of_nodes: [(&str, &str, OfNode); 4] = [
        ("watch_node_lost", "1 where a node counts as lost", |node| {
            Some(f64::from(u8::from(node.standing == Standing::Lost)))
        }),
        ("watch_node_primary", "1 where a node leads", |node| {
            Some(f64::from(u8::from(node.standing == Standing::Leads)))
        }),
        (
            "watch_node_silent_seconds",
            "Since the last word of life of a node",
            |node| Some(Duration::from_millis(node.silent_ms).as_secs_f64()),
        ),
        ("watch_node_committed_seqno", "What a node has committed", |node| {
            Some(node.committed?.seqno as f64)
        }),
    ];
    for (name, help, value) in of_nodes {
        let at = Arc::clone(shown);
        metrics.labelled_gauge(name, help, "node", move || at.of_nodes(value));
    }
}

/// How many nodes may be lost yet.
fn spare(judgement: &Judgement) -> f64 {
    let spare = judgement
        .configurations
        .iter()
        .map(|it| it.left as f64 - it.needed as f64);
    spare.fold(f64::INFINITY, f64::min).clamp(-1.0, 1e6)
}
