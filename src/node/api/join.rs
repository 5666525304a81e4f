//! `POST /node/join`: how other nodes come into the service. Recovery specification, section 8; node-to-node, section 7.
//!
//! What is decided, and what is told, is `service::admission`; here it is made a transaction. The answer to a node that is Trusted
//! holds the service's private key and the ledger's secrets: it is in memory that is wiped, and reaches no log.

use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use hyper::Method;

use super::{not_open, not_written, with_txid};
use crate::attestation::{Anchors, Platform, Verifier};
use crate::crypto::random::serial;
use crate::format::Seqno;
use crate::http::{ApiError, ApiResult, Request, Response, Route};
use crate::kv::store::Transaction;
use crate::node::session::{Session, rng};
use crate::node::shared::Node;
use crate::node::status::NodeState;
use crate::node::writer::NotWritten;
use crate::recovery::secrets::LedgerSecrets;
use crate::service::admission::answer::{Giving, JoinAnswer, body};
use crate::service::admission::{Admitted, Here, JoinRequest, Judge, Refusal, Role, decide};
use crate::service::identity::now_s;

/// Remembers certificates of makers, which repeat.
static VERIFIER: LazyLock<Verifier> = LazyLock::new(|| Verifier::new(Anchors::built_in()));

/// Joiners wait for each other, so that nobody else waits for them.
const CALLER: &str = "join";

const UNDECIDED: &str = "Nodes are still finding out which of them opens: join that one.";

const ALONE: &str = "This node does not lead others yet: it takes no node into its service.";

pub(super) fn routes() -> Vec<Route<Node>> {
    vec![
        Route::new(
            Method::POST,
            "/node/join",
            "How a node joins the service; what it is told once it is Trusted is secret",
            |node, request| Box::pin(join(node, request)),
        )
        .returns::<JoinAnswer<'static>>()
        .never_forwarded(),
    ]
}

async fn join(node: Arc<Node>, request: Request) -> ApiResult<Response> {
    let asked = match JoinRequest::parse(&request.body) {
        Ok(asked) => asked,
        Err(refusal) => return Ok(refusal.response()),
    };
    let Some(writer) = node.writer.get() else {
        return Ok(Refusal::NotInNetwork.response());
    };
    if node.is_undecided() {
        return Ok(Refusal::NotNow(UNDECIDED).response());
    }
    let platform = node.evidence.get().map(|evidence| evidence.platform());
    let platform = platform.ok_or_else(not_open)?;
    let about = {
        let node = Arc::clone(&node);
        let interface = request.interface.name.clone();
        move |transaction: &mut Transaction<'_>, session: &mut Session| {
            let primary = node.primary().map(|primary| primary.to_string());
            let asking = Asking {
                asked: &asked,
                client: request.peer_certificate.as_deref(),
                role: match node.is_primary() {
                    true => Role::Primary,
                    false => Role::Backup {
                        primary: primary.as_deref(),
                        interface: &interface,
                    },
                },
                startup_seqno: node.status.startup_seqno(),
                platform,
                before: node.old_secrets.get(),
                can_lead: node.can_lead(),
            };
            admit(transaction, session, &asking)
        }
    };
    match writer.transact(CALLER, about).await {
        Ok((
            Let {
                response,
                id,
                status,
                is_new,
            },
            txid,
        )) => {
            match is_new {
                true => tracing::info!(node = id, status, %txid, "a node joins"),
                false => tracing::debug!(node = id, status, "a node asks again"),
            }
            Ok(with_txid(response, txid))
        }
        Err(NotWritten::Failed(refusal)) => {
            let ApiError { code, message, .. } = refusal.error();
            tracing::info!(code, why = %crate::shown::line(&message), "a node is not let in");
            Ok(refusal.response())
        }
        Err(other) => Err(not_written(other.map_failed(|refusal| refusal.error()))),
    }
}

/// Who asks whom.
struct Asking<'a> {
    asked: &'a JoinRequest,
    /// The TLS client's certificate.
    client: Option<&'a [u8]>,
    role: Role<'a>,
    startup_seqno: Seqno,
    /// What this node stands on.
    platform: Platform,
    /// The secrets of the ledger that was recovered, once they are known.
    before: Option<&'a LedgerSecrets>,
    can_lead: bool,
}

/// Who is let in, and what it is told.
struct Let {
    response: Response,
    id: String,
    status: &'static str,
    is_new: bool,
}

/// Decides, writes what is to be written, and answers.
fn admit(transaction: &mut Transaction<'_>, session: &mut Session, asking: &Asking<'_>) -> Result<Let, Refusal> {
    let public_only = match session.state {
        NodeState::PartOfPublicNetwork => true,
        NodeState::ReadingPrivateLedger | NodeState::PartOfNetwork => false,
        NodeState::Uninitialized | NodeState::Initialized | NodeState::Pending | NodeState::ReadingPublicLedger => {
            return Err(Refusal::NotInNetwork);
        }
    };
    let here = Here {
        role: asking.role,
        startup_seqno: asking.startup_seqno,
        judge: Judge {
            verifier: &VERIFIER,
            platform: asking.platform,
            now_s: now_s(),
        },
        service: &session.service,
        // Who is let in while somebody replaces the secret is asked again, and told of both.
        newest_secret: session.secret_to_write_with(transaction).map_err(Refusal::Failed)?.from,
        serial: serial(&mut rng().map_err(Refusal::Failed)?),
    };
    let mut decision = decide(transaction, asking.asked, asking.client, &here)?;
    if !asking.can_lead {
        return Err(Refusal::NotNow(ALONE));
    }
    let (issuer, subject) = &*session.issuer_and_subject;
    let giving = Giving {
        public_only,
        service: &session.service,
        secrets: &session.secrets,
        before: asking.before,
        historical: &session.historical,
        signatures: (issuer, subject),
    };
    let body = body(transaction, &decision, &giving)?;
    let addition = decision.addition.take();
    let is_new = addition.is_some();
    if let Some(addition) = addition {
        addition.write(transaction);
    }
    Ok(Let {
        response: Response::bytes("application/json", Bytes::from_owner(body)),
        id: decision.id,
        status: match decision.admitted {
            Admitted::Pending => "Pending",
            Admitted::Trusted { .. } => "Trusted",
        },
        is_new,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attestation::VIRTUAL_MEASUREMENT;
    use crate::crypto::testing::rng as seeded;
    use crate::crypto::{Curve, LedgerSecret};
    use crate::format::TxId;
    use crate::format::domain::WriteSet;
    use crate::http::Body;
    use crate::journal::succession::KnownSecret;
    use crate::kv::store::Store;
    use crate::node::afterwards::Afterwards;
    use crate::service::admission::testing::{HOST_DATA, Joiner};
    use crate::service::identity::{ServiceIdentity, ServiceName};
    use crate::tables::values::{ServiceInfo, ServiceStatus};
    use crate::tables::{SINGLETON_KEY, names};

    fn session(state: NodeState) -> Session {
        let service = ServiceIdentity::generate(Curve::P384, &ServiceName::Text("CN=service"), 1);
        Session {
            root: [0; 32],
            state,
            historical: Arc::default(),
            issuer_and_subject: Arc::new(("issuer".to_owned(), "subject".to_owned())),
            service: Arc::new(service.unwrap()),
            secrets: Arc::new(vec![KnownSecret {
                secret: LedgerSecret::generate(&mut seeded(2)),
                from: 7,
                previous_stored: None,
            }]),
            unsealer: None,
            afterwards: Afterwards::default(),
            seed: None,
        }
    }

    fn store(session: &Session) -> Store {
        let info = ServiceInfo {
            cert: session.service.certificate.to_pem(),
            status: ServiceStatus::Recovering,
            previous_service_identity_version: None,
            recovery_count: Some(1),
            current_service_create_txid: Some(TxId { view: 4, seqno: 7 }),
            service_data: None,
        };
        let mut writes = WriteSet::new();
        writes.put(names::SERVICE_INFO, SINGLETON_KEY, info.to_json());
        writes.put(
            names::NODES_VIRTUAL_MEASUREMENTS,
            VIRTUAL_MEASUREMENT,
            "\"AllowedToJoin\"",
        );
        writes.put(names::NODES_VIRTUAL_HOST_DATA, HOST_DATA, "1");
        let mut store = Store::new();
        store.apply(8, &writes);
        store
    }

    /// What a joiner is answered, and what that leaves to be written.
    fn asked(state: NodeState, joiner: &Joiner, can_lead: bool) -> (Result<Let, Refusal>, WriteSet) {
        let mut session = session(state);
        let store = store(&session);
        let mut transaction = store.transaction();
        let asked = JoinRequest::parse(joiner.request.to_string().as_bytes()).unwrap();
        let asking = Asking {
            asked: &asked,
            client: Some(joiner.client.der()),
            role: Role::Primary,
            startup_seqno: 0,
            platform: Platform::Virtual,
            before: None,
            can_lead,
        };
        let answer = admit(&mut transaction, &mut session, &asking);
        (answer, transaction.into_writes())
    }

    #[test]
    fn who_can_lead_takes_a_node_in() {
        let joiner = Joiner::new(1, 1001);
        let (answer, writes) = asked(NodeState::PartOfPublicNetwork, &joiner, true);
        let answer = answer.unwrap();
        assert!(answer.is_new && answer.id == joiner.id());
        let Body::Bytes(body) = answer.response.body else {
            panic!("not in memory")
        };
        let told: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(told["node_status"], "Trusted");
        assert_eq!(told["network_info"]["public_only"], true);
        assert_eq!(told["network_info"]["last_recovered_signed_idx"], 6);
        assert_eq!(told["network_info"]["cose_signatures_config"]["issuer"], "issuer");
        assert!(writes.get(names::NODES_INFO, joiner.id().as_bytes()).is_some());
        assert!(
            writes
                .get(names::NODES_ENDORSED_CERTIFICATES, joiner.id().as_bytes())
                .is_some()
        );
    }

    #[test]
    fn who_can_not_lead_writes_nothing_and_gives_nothing_away() {
        let (answer, writes) = asked(NodeState::PartOfPublicNetwork, &Joiner::new(1, 1001), false);
        assert_eq!(answer.err().unwrap(), Refusal::NotNow(ALONE));
        assert_eq!(writes.iter().count(), 0);
        // What is refused anyway is refused for its own reason.
        let bad = Joiner::new(1, 1001).with("certificate_signing_request", "x".into());
        let (answer, _) = asked(NodeState::PartOfPublicNetwork, &bad, false);
        assert!(matches!(answer.err().unwrap(), Refusal::CertificateRequest(_)));
    }

    #[test]
    fn nobody_joins_before_there_is_a_network_nor_while_secrets_are_being_read() {
        for state in [
            NodeState::Uninitialized,
            NodeState::Initialized,
            NodeState::ReadingPublicLedger,
        ] {
            let (answer, _) = asked(state, &Joiner::new(1, 1001), true);
            assert_eq!(answer.err().unwrap(), Refusal::NotInNetwork);
        }
        let (answer, writes) = asked(NodeState::ReadingPrivateLedger, &Joiner::new(1, 1001), true);
        assert!(matches!(answer.err().unwrap(), Refusal::NotNow(_)));
        assert_eq!(writes.iter().count(), 0);
    }

    #[test]
    fn who_is_let_in_while_the_secret_is_replaced_is_decided_again() {
        let mut session = session(NodeState::PartOfPublicNetwork);
        let mut store = store(&session);
        let frozen = store.freeze();
        let mut transaction = frozen.transaction();
        let joiner = Joiner::new(1, 1001);
        let asked = JoinRequest::parse(joiner.request.to_string().as_bytes()).unwrap();
        let asking = Asking {
            asked: &asked,
            client: Some(joiner.client.der()),
            role: Role::Primary,
            startup_seqno: 0,
            platform: Platform::Virtual,
            before: None,
            can_lead: true,
        };
        assert!(admit(&mut transaction, &mut session, &asking).is_ok());
        let (_, reads) = transaction.into_parts();
        assert!(store.still_holds(&reads));
        let mut rekey = WriteSet::new();
        rekey.put(names::ENCRYPTED_LEDGER_SECRETS, SINGLETON_KEY, "{}");
        store.apply(9, &rekey);
        assert!(!store.still_holds(&reads));
    }
}
