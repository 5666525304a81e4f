//! What this node says to the others: one PUT each, bounded in time and size, and never two of one kind to one node at a time.
//! Recovery specification, section 7.3.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use hyper::StatusCode;
use rustls::ClientConfig;
use serde_json::Value;

use crate::heal::{Generation, Kind, Message};
use crate::net::exchange::{Asked, Bounds, put};
use crate::net::tls::{Anybody, client_config_as};
use crate::node::config::Address;
use crate::node::own_certificates::OwnCertificates;
use crate::node::status::Status;
use crate::shown::{excerpt, line};

/// Who is heard is there, and says little: an error that repeats a message has a few kilobytes.
const BOUNDS: Bounds = Bounds {
    connect: Duration::from_secs(1),
    answer: Duration::from_secs(5),
    size: 16 << 10,
};

/// Speaks to the others.
#[derive(Clone)]
pub struct Sender {
    generation: Generation,
    tls: Arc<ClientConfig>,
    status: Arc<Status>,
    under_way: Arc<Mutex<HashSet<(String, Kind)>>>,
}

impl Sender {
    /// Shows the others the certificate that this node made itself. Whoever answers is not verified: nothing of the answer
    /// counts.
    ///
    /// # Errors
    /// In words, if the certificate can't be presented.
    pub fn new(generation: Generation, certificates: &OwnCertificates, status: Arc<Status>) -> Result<Sender, String> {
        let own = certificates.for_servers().map_err(|why| why.to_string())?;
        let tls = client_config_as(own, Anybody).map_err(|why| format!("TLS can't be used: {why}"))?;
        Ok(Sender {
            generation,
            tls,
            status,
            under_way: Arc::default(),
        })
    }

    /// Sends beside everything else. What is not answered yet is not said again.
    pub fn send(&self, to: String, address: String, message: Message) {
        let key = (to, message.kind());
        let is_new = self.under_way().insert(key.clone());
        if !is_new {
            return;
        }
        let sender = self.clone();
        tokio::spawn(async move {
            let problem = sender.say(&address, &message).await.err();
            sender.under_way().remove(&key);
            sender.note(&key.0, problem);
        });
    }

    fn under_way(&self) -> std::sync::MutexGuard<'_, HashSet<(String, Kind)>> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, id: &str, problem: Option<String>) {
        let mut is_news = false;
        self.status
            .healing
            .update(|board| is_news = board.state.answered(id, problem.clone()));
        let node = line(id);
        match problem {
            _ if !is_news => {}
            None => tracing::info!(%node, "self-healing open: a node hears this one"),
            // Who lost ends, which is as it should be.
            Some(why) if self.status.healing.has_opened() => {
                tracing::info!(%node, "self-healing open: a node does not hear this one: {why}");
            }
            Some(why) => tracing::warn!(%node, "self-healing open: a node does not hear this one: {why}"),
        }
    }

    async fn say(&self, address: &str, message: &Message) -> Result<(), String> {
        let body = message.write(self.generation)?;
        let Ok(Address { host, port }) = address.parse() else {
            return Err(format!("{} is no address", excerpt(address)));
        };
        let asked = Asked {
            host: &host,
            port,
            authority: None,
            tls: Some(Arc::clone(&self.tls)),
            path: &self.generation.path(message.kind()),
            accept: "*/*",
            headers: &[],
        };
        let answered = put(&asked, Bytes::from(body), BOUNDS).await;
        let answered = answered.map_err(|why| excerpt(&why))?;
        let text = || format!("{}{}", answered.status.as_u16(), words(&answered.body));
        match answered.status {
            status if status.is_success() => Ok(()),
            // Also how a node answers a gossip that it has no use for any more, which is as it should be.
            StatusCode::INTERNAL_SERVER_ERROR => {
                tracing::debug!(address, answer = text(), "self-healing open: refused");
                Ok(())
            }
            _ => Err(text()),
        }
    }
}

/// Code and message of an error, as far as it has any.
fn words(body: &[u8]) -> String {
    let error: Value = serde_json::from_slice(body).unwrap_or_default();
    let part = |name: &str| {
        error
            .pointer(&format!("/error/{name}"))
            .and_then(Value::as_str)
            .map(excerpt)
    };
    let parts = [part("code"), part("message")];
    parts.into_iter().flatten().map(|part| format!(" {part}")).collect()
}
