//! What nodes that heal by themselves say to each other, in the paths of both generations. Recovery specification, section 7.3.
//!
//! A message reaches the decision only when its evidence holds by this node's own store and for the key that the TLS client
//! has. That key is all that says who speaks.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use hyper::{Method, StatusCode};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::internal::authenticate;
use super::not_open;
use crate::attestation::{Anchors, Verifier};
use crate::crypto::x509::any_certificate_spki;
use crate::heal::{Generation, Kind, Message, Refusal};
use crate::http::{ApiError, ApiResult, Request, Response, Route};
use crate::node::healing_calls::{Call, not_now};
use crate::node::shared::Node;
use crate::service::admission::Judge;
use crate::service::identity::now_s;

/// Remembers certificates of makers, which repeat.
static VERIFIER: LazyLock<Verifier> = LazyLock::new(|| Verifier::new(Anchors::built_in()));

/// How long who speaks waits for what follows to be committed.
const PATIENCE: Duration = Duration::from_secs(10);

const TOO_EARLY: &str = "This node still reads its ledger; say it again.";
const TOO_LATE: &str = "This node is stopping.";
const TOO_MANY: &str = "Too many messages wait; say it again.";
const TOO_SLOW: &str = "What this node decides is not written yet; say it again.";

/// A route for a message.
macro_rules! route {
    ($path:literal, $summary:literal, $generation:expr, $kind:expr) => {
        Route::new(Method::PUT, $path, $summary, |node, request| {
            Box::pin(hear(node, request, $generation, $kind))
        })
        .success(StatusCode::NO_CONTENT)
        .never_forwarded()
    };
}
macro_rules! time_route {
    ($path:literal, $generation:expr) => {
        Route::new(
            Method::PUT,
            $path,
            "How a node tells itself that time has passed: for this node only",
            |node, request| Box::pin(time_passes(node, request, $generation)),
        )
        .success(StatusCode::NO_CONTENT)
        .never_forwarded()
    };
}

pub(super) fn routes() -> Vec<Route<Node>> {
    const HEALING: Generation = Generation::October2025;
    const DECISION: Generation = Generation::Decision2026;
    vec![
        route!(
            "/node/self_healing_open/gossip",
            "A node that heals says what its ledger has",
            HEALING,
            Kind::Gossip
        ),
        route!(
            "/node/self_healing_open/vote",
            "A node that heals says that this one should open",
            HEALING,
            Kind::Vote
        ),
        route!(
            "/node/self_healing_open/iamopen",
            "A node that heals says that it opens",
            HEALING,
            Kind::IAmOpen
        ),
        time_route!("/node/self_healing_open/timeout", HEALING),
        route!(
            "/node/recovery_decision_protocol/gossip",
            "A node that heals says what its ledger has, in the form of 2026",
            DECISION,
            Kind::Gossip
        ),
        route!(
            "/node/recovery_decision_protocol/vote",
            "A node that heals says that this one should open, in the form of 2026",
            DECISION,
            Kind::Vote
        ),
        route!(
            "/node/recovery_decision_protocol/iamopen",
            "A node that heals says that it opens, in the form of 2026",
            DECISION,
            Kind::IAmOpen
        ),
        time_route!("/node/recovery_decision_protocol/timeout", DECISION),
    ]
}

/// What this node is configured for, if that has this path.
fn configured(node: &Node, of: Generation) -> ApiResult<Generation> {
    let configured = node.healing.generation();
    let found = configured.filter(|generation| generation.prefix() == of.prefix());
    found.ok_or_else(|| Refusal::NotConfigured.error(of))
}

async fn hear(node: Arc<Node>, request: Request, of: Generation, kind: Kind) -> ApiResult<Response> {
    let generation = configured(&node, of)?;
    let (key, message) = verified(&node, request, generation, kind).await?;
    let message = Box::new(message);
    let (answer, wait) = oneshot::channel();
    tell(&node, Call::Heard { key, message, answer }, wait).await
}

/// Reads a message, and the key of who says it, whose evidence holds.
async fn verified(
    node: &Arc<Node>,
    request: Request,
    generation: Generation,
    kind: Kind,
) -> ApiResult<(Vec<u8>, Message)> {
    let refused = |refusal: Refusal| refusal.error(generation);
    let message = Message::parse(generation, kind, &request.body).map_err(refused)?;
    let certificate = request
        .peer_certificate
        .ok_or_else(|| refused(Refusal::NoCertificate))?;
    let key = any_certificate_spki(&certificate).map_err(|why| {
        let why = format!("The TLS client's certificate can't be read: {why}.");
        refused(Refusal::Input(why))
    })?;
    let key = key.to_vec();
    if node.healing.sender().is_none() {
        return Err(not_now(TOO_EARLY));
    }
    let platform = node.evidence.get().map(|evidence| evidence.platform());
    let platform = platform.ok_or_else(not_open)?;
    let _place = node.healing.verifying.acquire().await.map_err(|_| not_now(TOO_LATE))?;
    let (state, _) = node.read(|store| store.freeze());
    let judging = tokio::task::spawn_blocking(move || {
        let judge = Judge {
            verifier: &VERIFIER,
            platform,
            now_s: now_s(),
        };
        let judged = judge.measurement(&state.transaction(), &message.info.evidence, &key);
        judged.map(|_| (key, message)).map_err(|refusal| refusal.error())
    });
    judging.await.map_err(|_| not_now(TOO_LATE))?
}

/// Gives it to who decides, and waits for the answer.
async fn tell(node: &Node, call: Call, wait: oneshot::Receiver<ApiResult<()>>) -> ApiResult<Response> {
    let sender = node.healing.sender().ok_or_else(|| not_now(TOO_EARLY))?;
    sender.try_send(call).map_err(|why| match why {
        TrySendError::Full(_) => not_now(TOO_MANY),
        TrySendError::Closed(_) => not_now(TOO_LATE),
    })?;
    let answer = timeout(PATIENCE, wait).await.map_err(|_| not_now(TOO_SLOW))?;
    answer.map_err(|_| not_now(TOO_LATE))??;
    Ok(Response::no_content())
}

/// CCF's nodes send this to themselves. Here time passes by itself: whoever has this node's key may remind it of that, and
/// nothing happens before its time.
async fn time_passes(node: Arc<Node>, request: Request, of: Generation) -> ApiResult<Response> {
    configured(&node, of)?;
    let (is_node, _) = node.read(|store| authenticate(&store.transaction(), &request));
    is_node?;
    let certificate = request.peer_certificate.unwrap_or_default();
    let own = node.certificates.self_signed();
    if any_certificate_spki(&certificate).ok() != Some(own.key().spki_der()) {
        return Err(ApiError::internal(
            "Only the node itself can tell it that time has passed.",
        ));
    }
    let (answer, wait) = oneshot::channel();
    tell(&node, Call::TimePasses(answer), wait).await
}
