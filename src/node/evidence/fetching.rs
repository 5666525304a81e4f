//! Asking a server for the endorsements of a chip, as patiently as it needs and no longer. Attestation specification,
//! section 7.

use std::time::Duration;

use hyper::StatusCode;
use tokio::time::{sleep, timeout};

use super::answers::Certificates;
use super::servers::{Chip, Server};
use crate::net::exchange::{Asked, Bounds, exchange};

/// Three certificates have 7 kB.
const MAX_BYTES: usize = 128 << 10;

/// How long servers are waited for.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// For a connection, and for the whole of one request.
    pub request: Duration,
    /// Between two requests.
    pub between: Duration,
    /// The same, at most, where a server is too busy and says when to come again: nobody keeps a node from starting for ever.
    pub longest: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Patience {
            request: Duration::from_secs(3),
            between: Duration::from_secs(3),
            longest: Duration::from_secs(60),
        }
    }
}

/// The certificates that a server has for a chip. What they are worth is not looked at.
///
/// # Errors
/// In words: what became of the last attempt, and how many there were.
pub(super) async fn fetch(server: &Server, chip: &Chip, patience: Patience) -> Result<Certificates, String> {
    let tls = server.tls()?;
    let authority = server.authority();
    let mut retries_left = server.max_retries;
    let mut answers = Vec::new();
    for path in server.paths(chip) {
        let asked = Asked {
            host: &server.host,
            port: server.port,
            authority: Some(&authority),
            tls: tls.clone(),
            path: &path,
            accept: "*/*",
            headers: server.headers(),
        };
        let bounds = Bounds {
            connect: patience.request,
            answer: patience.request,
            size: MAX_BYTES,
        };
        loop {
            let late = |_| Err(format!("it took longer than {} ms", patience.request.as_millis()));
            let answered = timeout(patience.request, exchange(&asked, bounds)).await;
            let (why, wait) = match answered.unwrap_or_else(late) {
                Ok(answered) if answered.status == StatusCode::OK => {
                    answers.push(answered.body);
                    break;
                }
                Ok(answered) if answered.status == StatusCode::TOO_MANY_REQUESTS => {
                    let wait = answered.retry_after.unwrap_or(patience.between);
                    ("it is too busy (429)".to_owned(), wait.min(patience.longest))
                }
                Ok(answered) => (format!("it answered {}", answered.status), patience.between),
                Err(why) => (why, patience.between),
            };
            if retries_left == 0 {
                return Err(format!(
                    "{why}; tried {} times in all",
                    server.max_retries.saturating_add(1)
                ));
            }
            retries_left -= 1;
            tracing::info!(
                wait_ms = wait.as_millis() as u64,
                retries_left,
                "endorsements of {server}: {why}"
            );
            sleep(wait).await;
        }
    }
    server.read(&answers)
}
