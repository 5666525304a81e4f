//! The requests of the governance interface, version 2024-07-01 (recovery specification, sections 3.2, 3.3, 4.1, 5.5).

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hyper::{Method, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::client::{Answer, Client};
use super::error::Error;
use super::{Member, MessageType};
use crate::crypto::rsa::DecryptionKey;
use crate::crypto::shares::Share;

/// The version of the interface that every request names.
pub const API_VERSION: &str = "2024-07-01";
/// A ballot for every proposal.
pub const ACCEPT: &str = "export function vote (rawProposal, proposerId) { return true }";
/// A ballot against every proposal.
pub const REJECT: &str = "export function vote (rawProposal, proposerId) { return false }";

const COSE: &str = "application/cose";
/// What is signed where the payload has no meaning.
const NOTHING: &[u8] = b"{}";

/// `GET /node/network`, as far as a member needs it.
#[derive(Clone, Debug, Deserialize)]
pub struct Network {
    /// `Recovering`, `WaitingForRecoveryShares`, `Open`, ...
    pub service_status: String,
    /// PEM.
    pub service_certificate: String,
    /// Recoveries so far.
    pub recovery_count: Option<u64>,
    /// TxID.
    pub current_service_create_txid: Option<String>,
}

/// `GET /node/state` as it is answered.
///
/// # Errors
/// As [`Client::request`] and [`Answer::json`]; the same for all below.
pub async fn node_state(client: &Client) -> Result<Value, Error> {
    client.get("/node/state").await?.json()
}

/// `GET /node/network` as it is answered.
pub async fn node_network(client: &Client) -> Result<Value, Error> {
    client.get("/node/network").await?.json()
}

/// `GET /node/network`.
pub async fn network(client: &Client) -> Result<Network, Error> {
    client.get("/node/network").await?.json()
}

/// A node of the service, by its id.
///
/// # Errors
/// [`Error::Usage`] where the id is none.
pub async fn node(client: &Client, id: &str) -> Result<Value, Error> {
    client
        .get(&format!("/node/network/nodes/{}", checked_id(id)?))
        .await?
        .json()
}

/// PEM of the identity of the service that was recovered; `None` where this is no recovery.
pub async fn previous_identity(client: &Client) -> Result<Option<String>, Error> {
    #[derive(Deserialize)]
    struct Body {
        previous_service_identity: String,
    }
    let answer = client.get("/node/service/previous_identity").await?;
    let body: Option<Body> = found(answer)?.map(Answer::json).transpose()?;
    Ok(body.map(|body| body.previous_service_identity))
}

/// All proposals.
pub async fn proposals(client: &Client) -> Result<Vec<Value>, Error> {
    list(client, "/gov/members/proposals").await
}

/// All members.
pub async fn members(client: &Client) -> Result<Vec<Value>, Error> {
    list(client, "/gov/service/members").await
}

/// One proposal: state, ballots, final votes.
pub async fn proposal(client: &Client, id: &str) -> Result<Value, Error> {
    let path = versioned(&format!("/gov/members/proposals/{}", checked_id(id)?));
    client.get(&path).await?.json()
}

/// What a proposal would do, as it was proposed.
pub async fn actions(client: &Client, id: &str) -> Result<Value, Error> {
    let path = versioned(&format!("/gov/members/proposals/{}/actions", checked_id(id)?));
    client.get(&path).await?.json()
}

/// A member's ballot, if there is one.
pub async fn ballot(client: &Client, id: &str, member_id: &str) -> Result<Option<String>, Error> {
    let (id, member_id) = (checked_id(id)?, checked_id(member_id)?);
    let path = versioned(&format!("/gov/members/proposals/{id}/ballots/{member_id}"));
    found(client.get(&path).await?)?.map(Answer::text).transpose()
}

/// Requests that a member signs.
pub struct Session<'a> {
    /// The node that is spoken to.
    pub client: &'a Client,
    /// Who signs.
    pub member: &'a Member,
    /// Instead of the present time, in seconds since 1970.
    pub created_at_s: Option<u64>,
}

impl<'a> Session<'a> {
    /// Requests of `member` to the service behind `client`, dated when they are made.
    pub fn new(client: &'a Client, member: &'a Member) -> Self {
        Session {
            client,
            member,
            created_at_s: None,
        }
    }

    /// Makes a proposal of a JSON text, as it is; answers its state.
    ///
    /// # Errors
    /// [`Error::Usage`] where the text is no proposal; the others as [`Client::request`] and [`Answer::json`], here and below.
    pub async fn propose(&self, text: &[u8]) -> Result<Value, Error> {
        let parsed: Value =
            serde_json::from_slice(text).map_err(|why| Error::Usage(format!("the proposal is not JSON: {why}")))?;
        if !parsed.get("actions").is_some_and(Value::is_array) {
            return Err(Error::Usage(
                "the proposal has no array \"actions\", expected {\"actions\": [{\"name\": …, \"args\": …}]}"
                    .to_owned(),
            ));
        }
        let path = "/gov/members/proposals:create";
        self.post(path, MessageType::Proposal, None, text).await?.json()
    }

    /// Votes with the source of a ballot (a module that exports `vote`); answers the proposal's state.
    pub async fn vote(&self, proposal_id: &str, ballot: &str) -> Result<Value, Error> {
        let id = checked_id(proposal_id)?;
        let path = format!("/gov/members/proposals/{id}/ballots/{}:submit", self.member.id());
        let body = json!({"ballot": ballot}).to_string();
        let answer = self
            .post(&path, MessageType::Ballot, Some(&id), body.as_bytes())
            .await?;
        answer.json()
    }

    /// Takes back the member's own proposal; `None` where the service does not know it.
    pub async fn withdraw(&self, proposal_id: &str) -> Result<Option<Value>, Error> {
        let id = checked_id(proposal_id)?;
        let path = format!("/gov/members/proposals/{id}:withdraw");
        let answer = self.post(&path, MessageType::Withdrawal, Some(&id), NOTHING).await?;
        match answer.status {
            StatusCode::NO_CONTENT => Ok(None),
            _ => answer.json().map(Some),
        }
    }

    /// Fetches the newest state digest and acknowledges it, which makes a new member active; answers the digest.
    pub async fn acknowledge(&self) -> Result<String, Error> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Update {
            state_digest: String,
        }
        let path = |verb: &str| format!("/gov/members/state-digests/{}:{verb}", self.member.id());
        let answer = self
            .post(&path("update"), MessageType::StateDigest, None, NOTHING)
            .await?;
        let update: Update = answer.json()?;
        let body = json!({"stateDigest": update.state_digest}).to_string();
        let answer = self.post(&path("ack"), MessageType::Ack, None, body.as_bytes()).await?;
        answer.success()?;
        Ok(update.state_digest)
    }

    /// Proposes to open the service: both identities as PEM, exactly as the node gives them, because CCF compares text.
    pub async fn propose_opening(&self, previous: Option<&str>, next: &str) -> Result<Value, Error> {
        let mut arguments = json!({"next_service_identity": next});
        if let Some((arguments, previous)) = arguments.as_object_mut().zip(previous) {
            arguments.insert("previous_service_identity".to_owned(), previous.into());
        }
        let proposal = json!({"actions": [{"name": "transition_service_to_open", "args": arguments}]});
        self.propose(proposal.to_string().as_bytes()).await
    }

    /// Fetches the member's share, decrypts it and submits it; answers `{message, submittedCount, recoveryThreshold,
    /// fullKeySubmitted}`.
    ///
    /// # Errors
    /// [`Error::Usage`] too where the share does not open with `key`.
    pub async fn submit_share(&self, key: &DecryptionKey) -> Result<Value, Error> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Encrypted {
            encrypted_share: String,
        }
        let id = self.member.id();
        let path = versioned(&format!("/gov/recovery/encrypted-shares/{id}"));
        let encrypted: Encrypted = self.client.get(&path).await?.json()?;
        let encrypted = STANDARD
            .decode(&encrypted.encrypted_share)
            .map_err(|why| Error::Answer {
                what: "the encrypted share".to_owned(),
                why: why.to_string(),
            })?;
        let share = key.decrypt(&encrypted).map_err(|why| {
            Error::Usage(format!(
                "the share that the service holds for this member does not open with this encryption key: {why}; give the \
                 private key (memberN_enc_privk.pem) that was registered when the shares were last issued"
            ))
        })?;
        // The service would store anything, and fail all members' shares together in the end.
        Share::parse(&share).map_err(|why| Error::Answer {
            what: "the decrypted share".to_owned(),
            why: why.to_string(),
        })?;
        let path = format!("/gov/recovery/members/{id}:recover");
        let body = share_body(&share);
        self.post(&path, MessageType::RecoveryShare, None, &body).await?.json()
    }

    async fn post(
        &self,
        path: &str,
        message_type: MessageType,
        proposal_id: Option<&str>,
        payload: &[u8],
    ) -> Result<Answer, Error> {
        let created_at_s = self.created_at_s.unwrap_or_else(now_s);
        let signed = self.member.sign(message_type, created_at_s, proposal_id, payload)?;
        // Wiped when the last use of it ends.
        let body = Bytes::from_owner(signed);
        self.client
            .request(Method::POST, &versioned(path), body, Some(COSE))
            .await
    }
}

/// Seconds since 1970.
pub fn now_s() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

/// A proposal's or member's id: 64 hex digits, in lower case.
///
/// # Errors
/// [`Error::Usage`].
pub fn checked_id(id: &str) -> Result<String, Error> {
    if id.len() == 64 && id.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Ok(id.to_ascii_lowercase());
    }
    Err(Error::Usage(format!(
        "{:?} is not an id: expected 64 hexadecimal digits; `rekindle member proposals` lists those of all proposals",
        id.chars().take(80).collect::<String>()
    )))
}

/// `{"share": "<base64>"}`, written without leaving copies behind.
fn share_body(share: &[u8]) -> Zeroizing<Vec<u8>> {
    const BEFORE: &[u8] = b"{\"share\":\"";
    const AFTER: &[u8] = b"\"}";
    let mut digits = Zeroizing::new(vec![0; 4 * share.len().div_ceil(3)]);
    // Never fails: the buffer has just the length that is needed.
    let length = STANDARD.encode_slice(share, &mut digits).unwrap_or(0);
    let mut body = Zeroizing::new(Vec::with_capacity(BEFORE.len() + length + AFTER.len()));
    body.extend_from_slice(BEFORE);
    body.extend(digits.iter().take(length));
    body.extend_from_slice(AFTER);
    body
}

/// The answer, unless it is 404 for a thing that is not there.
fn found(answer: Answer) -> Result<Option<Answer>, Error> {
    match answer.status {
        StatusCode::NOT_FOUND => match answer.success() {
            Err(Error::Refused(refusal)) if refusal.code == "FrontendNotOpen" => Err(Error::Refused(refusal)),
            _ => Ok(None),
        },
        _ => answer.success().map(Some),
    }
}

async fn list(client: &Client, path: &str) -> Result<Vec<Value>, Error> {
    #[derive(Deserialize)]
    struct List {
        value: Vec<Value>,
    }
    let list: List = client.get(&versioned(path)).await?.json()?;
    Ok(list.value)
}

fn versioned(path: &str) -> String {
    format!("{path}?api-version={API_VERSION}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_sent_as_json_with_base64() {
        for length in [0, 1, 2, 3, 44, 113] {
            let share: Vec<u8> = (0..length).collect();
            let body: Value = serde_json::from_slice(&share_body(&share)).unwrap();
            assert_eq!(STANDARD.decode(body["share"].as_str().unwrap()).unwrap(), share);
        }
    }

    #[test]
    fn an_id_that_could_change_the_path_is_refused() {
        assert_eq!(checked_id(&"Ab".repeat(32)).unwrap_or_default(), "ab".repeat(32));
        for id in ["", "12", "../../x", &"é".repeat(32), &"g".repeat(64)] {
            assert!(matches!(checked_id(id), Err(Error::Usage(_))), "{id}");
        }
    }
}
