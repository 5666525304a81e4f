//! What a node is told that asks to join. To one that is Trusted that is everything, and all of it is secret: it is checked here, and
//! wiped when it is dropped.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer};
use zeroize::Zeroizing;

use crate::crypto::{Certificate, Digest, LedgerSecret, SigningKey};
use crate::format::Seqno;
use crate::journal::succession::KnownSecret;
use crate::service::identity::ServiceIdentity;
use crate::shown::excerpt;
use crate::tables::values::NodeStatus;

/// Ledger secrets that are taken. A service has one more with each re-key.
const MAX_SECRETS: usize = 1 << 16;
/// Bytes of a name in signatures.
const MAX_NAME_BYTES: usize = 4 << 10;
const SECRET_BYTES: usize = 32;

/// What a node is answered.
pub enum Answer {
    /// Members have to trust it first: it asks again.
    Pending,
    /// It is in.
    Trusted(Box<Told>),
}

/// Everything that a node needs to be part of a service.
pub struct Told {
    /// The service, with its private key.
    pub service: ServiceIdentity,
    /// The node's certificate, as the service has endorsed it.
    pub endorsed: Option<Certificate>,
    /// Ledger secrets, the oldest first: at least one.
    pub secrets: Vec<KnownSecret>,
    /// The private part of the ledger is not recovered yet.
    pub public_only: bool,
    /// The last signature of the ledger that was recovered; 0 where none was.
    pub last_recovered: Seqno,
    /// Issuer and subject of the service's signatures.
    pub signatures: (String, String),
}

#[derive(Deserialize)]
struct Raw {
    node_status: NodeStatus,
    network_info: Option<Network>,
}

#[derive(Deserialize)]
struct Network {
    identity: Identity,
    ledger_secrets: Vec<(Seqno, Secret)>,
    public_only: bool,
    #[serde(default)]
    last_recovered_signed_idx: Seqno,
    endorsed_certificate: Option<String>,
    cose_signatures_config: Option<Signatures>,
}

#[derive(Deserialize)]
struct Identity {
    cert: String,
    priv_key: Text,
}

#[derive(Deserialize)]
struct Secret {
    raw_key: Text,
    previous_secret_stored_version: Option<Seqno>,
}

#[derive(Deserialize)]
struct Signatures {
    issuer: String,
    subject: String,
}

/// A text that is wiped.
struct Text(Zeroizing<String>);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Text, D::Error> {
        String::deserialize(deserializer).map(|text| Text(Zeroizing::new(text)))
    }
}

impl Answer {
    /// Reads an answer to the node with the key of this digest, of the service that has the key of `service`.
    ///
    /// # Errors
    /// In words, with nothing of what is secret: what is wrong with it.
    pub fn parse(body: &[u8], node: &Digest, service: &Certificate) -> Result<Answer, String> {
        // What the parser says may repeat what it has read.
        let raw: Raw = serde_json::from_slice(body)
            .map_err(|why| format!("it is not as expected, at line {} column {}", why.line(), why.column()))?;
        match (raw.node_status, raw.network_info) {
            (NodeStatus::Pending, None) => Ok(Answer::Pending),
            (NodeStatus::Trusted, Some(network)) => {
                Told::check(network, node, service).map(|told| Answer::Trusted(Box::new(told)))
            }
            (status, network) => Err(format!(
                "it says that this node is {status:?}, {} what a node is told that is let in",
                match network {
                    Some(_) => "with",
                    None => "without",
                }
            )),
        }
    }
}

impl Told {
    fn check(network: Network, node: &Digest, expected: &Certificate) -> Result<Told, String> {
        let Network {
            identity,
            ledger_secrets,
            public_only,
            last_recovered_signed_idx,
            endorsed_certificate,
            cose_signatures_config,
        } = network;
        let certificate =
            Certificate::from_pem(&identity.cert).map_err(|why| format!("the service's certificate: {why}"))?;
        if certificate.key_id() != expected.key_id() {
            return Err(format!(
                "the service has the identity {}, and the certificate that this node was given for it {}: it has been recovered \
                 since, or is another one",
                hex::encode(certificate.key_id()),
                hex::encode(expected.key_id())
            ));
        }
        // Nor may what reads a key say anything of it.
        let key = SigningKey::from_pkcs8_pem(&identity.priv_key.0)
            .map_err(|_| "the service's private key is none".to_owned())?;
        if key.verifying_key() != *certificate.key() {
            return Err("the service's private key is not that of its certificate".to_owned());
        }
        let endorsed = endorsed_certificate
            .map(|pem| Certificate::from_pem(&pem).map_err(|why| format!("the endorsed certificate: {why}")))
            .transpose()?;
        if let Some(endorsed) = &endorsed {
            if endorsed.key_id() != *node {
                return Err("the endorsed certificate is of another node".to_owned());
            }
            endorsed
                .is_signed_by(certificate.key())
                .map_err(|why| format!("the endorsed certificate is not endorsed by the service: {why}"))?;
        }
        let signatures = cose_signatures_config.map_or_else(Default::default, |it| (it.issuer, it.subject));
        for name in [&signatures.0, &signatures.1] {
            if name.len() > MAX_NAME_BYTES {
                return Err(format!("a name in signatures is too long: {}", excerpt(name)));
            }
        }
        Ok(Told {
            service: ServiceIdentity {
                key: Arc::new(key),
                certificate,
            },
            endorsed,
            secrets: secrets(ledger_secrets)?,
            public_only,
            last_recovered: last_recovered_signed_idx,
            signatures,
        })
    }
}

fn secrets(told: Vec<(Seqno, Secret)>) -> Result<Vec<KnownSecret>, String> {
    if told.is_empty() || told.len() > MAX_SECRETS {
        return Err(format!(
            "it holds {} ledger secrets, expected 1 to {MAX_SECRETS}",
            told.len()
        ));
    }
    let mut secrets: Vec<KnownSecret> = Vec::with_capacity(told.len());
    for (from, secret) in told {
        if secrets.last().is_some_and(|before| before.from >= from) {
            return Err(format!(
                "its ledger secrets are not in order: that from {from} on comes too late"
            ));
        }
        let wrong = || format!("the ledger secret from {from} on is not {SECRET_BYTES} bytes in base64");
        // As long as the digits could stand for: it never grows, which would leave a copy.
        let mut bytes = Zeroizing::new(Vec::with_capacity(secret.raw_key.0.len()));
        STANDARD
            .decode_vec(secret.raw_key.0.as_bytes(), &mut bytes)
            .map_err(|_| wrong())?;
        let bytes: Zeroizing<[u8; SECRET_BYTES]> = Zeroizing::new(bytes.as_slice().try_into().map_err(|_| wrong())?);
        secrets.push(KnownSecret {
            secret: LedgerSecret::from_bytes(*bytes),
            from,
            previous_stored: secret.previous_secret_stored_version,
        });
    }
    Ok(secrets)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::crypto::Curve;
    use crate::crypto::testing::rng;
    use crate::crypto::x509::{AlternativeName, Validity, issue_from_request, request};
    use crate::service::identity::ServiceName;

    struct Case {
        node: SigningKey,
        service: ServiceIdentity,
        answer: Value,
    }

    fn case() -> Case {
        let service = ServiceIdentity::generate(Curve::P384, &ServiceName::Text("CN=service"), 1).unwrap();
        let node = SigningKey::generate(Curve::P384, &mut rng(3));
        let names: [AlternativeName; 0] = [];
        let pem = request("CN=node", &names, &node).unwrap();
        let asked = crate::crypto::x509::CertificateRequest::from_pem(&pem).unwrap();
        let validity = Validity::days(1_700_000_000, 10).unwrap();
        let endorsed = issue_from_request(&asked, &service.certificate, &service.key, validity, [1; 16]).unwrap();
        let answer = json!({
            "node_id": "ab", "node_status": "Trusted",
            "network_info": {
                "cose_signatures_config": {"issuer": "issuer", "subject": "subject"},
                "endorsed_certificate": endorsed.to_pem(),
                "identity": {"cert": service.certificate.to_pem(), "priv_key": *service.key.to_pkcs8_pem()},
                "last_recovered_signed_idx": 578,
                "ledger_secrets": [
                    [1, {"raw_key": STANDARD.encode([7; 32])}],
                    [579, {"raw_key": STANDARD.encode([8; 32]), "previous_secret_stored_version": 17}],
                ],
                "public_only": false, "service_status": "Open",
            },
        });
        Case { node, service, answer }
    }

    impl Case {
        fn parse(&self) -> Result<Answer, String> {
            let node = self.node.verifying_key().id();
            Answer::parse(self.answer.to_string().as_bytes(), &node, &self.service.certificate)
        }

        fn with(mut self, path: &str, value: Value) -> String {
            *self.answer.pointer_mut(path).unwrap() = value;
            match self.parse() {
                Err(why) => why,
                Ok(_) => panic!("{path} is taken"),
            }
        }
    }

    #[test]
    fn a_node_that_is_let_in_knows_the_service_and_its_secrets() {
        let case = case();
        let Ok(Answer::Trusted(told)) = case.parse() else {
            panic!("not trusted")
        };
        assert_eq!(told.service.key.verifying_key(), case.service.key.verifying_key());
        assert_eq!(told.endorsed.unwrap().key_id(), case.node.verifying_key().id());
        let secrets: Vec<_> = told
            .secrets
            .iter()
            .map(|known| (known.from, known.secret.as_bytes()[0], known.previous_stored))
            .collect();
        assert_eq!(secrets, [(1, 7, None), (579, 8, Some(17))]);
        assert_eq!((told.public_only, told.last_recovered), (false, 578));
        assert_eq!(told.signatures, ("issuer".to_owned(), "subject".to_owned()));
    }

    #[test]
    fn who_waits_is_told_nothing() {
        let mut case = case();
        case.answer = json!({"node_id": "ab", "node_status": "Pending"});
        assert!(matches!(case.parse(), Ok(Answer::Pending)));
        case.answer = json!({"node_id": "ab", "node_status": "Trusted"});
        assert!(case.parse().err().unwrap().contains("without"));
        case.answer = json!({"node_id": "ab", "node_status": "Retired"});
        assert!(case.parse().is_err());
        case.answer = json!([1]);
        assert!(case.parse().err().unwrap().contains("line 1"));
    }

    #[test]
    fn what_does_not_fit_is_refused_and_no_secret_is_repeated() {
        let secret = STANDARD.encode([9; 31]);
        let info = "/network_info";
        let other = ServiceIdentity::generate(Curve::P384, &ServiceName::Text("CN=other"), 1).unwrap();
        let key = other.key.to_pkcs8_pem();
        let said = [
            (
                case().with(&format!("{info}/identity/cert"), other.certificate.to_pem().into()),
                "has been recovered since",
            ),
            (
                case().with(&format!("{info}/identity/priv_key"), (*key).clone().into()),
                "not that of its certificate",
            ),
            (case().with(&format!("{info}/identity/priv_key"), "x".into()), "is none"),
            (
                case().with(
                    &format!("{info}/endorsed_certificate"),
                    other.certificate.to_pem().into(),
                ),
                "of another node",
            ),
            (
                case().with(&format!("{info}/ledger_secrets"), json!([])),
                "0 ledger secrets",
            ),
            (
                case().with(&format!("{info}/ledger_secrets/0/1/raw_key"), secret.clone().into()),
                "32 bytes in base64",
            ),
            (
                case().with(&format!("{info}/ledger_secrets/0/0"), 579.into()),
                "not in order",
            ),
            (case().with(&format!("{info}/public_only"), "yes".into()), "line 1"),
            (
                case().with(
                    &format!("{info}/cose_signatures_config/issuer"),
                    "x".repeat(5000).into(),
                ),
                "too long",
            ),
        ];
        for (why, expected) in said {
            assert!(why.contains(expected), "{why}, expected {expected}");
            assert!(!why.contains(&secret) && !why.contains("PRIVATE KEY"), "{why}");
        }
        // A certificate that another service has endorsed.
        let mut foreign = case();
        let answer = case().answer;
        foreign.answer["network_info"]["endorsed_certificate"] = answer["network_info"]["endorsed_certificate"].clone();
        assert!(foreign.parse().err().unwrap().contains("not endorsed by the service"));
    }
}
