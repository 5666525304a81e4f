//! How requests reach the part of the node that heals: what was verified of a message waits for its turn, and its sender
//! for the answer.

use std::sync::OnceLock;

use tokio::sync::{Semaphore, mpsc, oneshot};

use crate::heal::{Generation, Message};
use crate::http::{ApiError, ApiResult};

/// Messages that wait: a cluster has few nodes, and each says little.
const PLACES: usize = 64;
/// Messages whose evidence is verified at one time.
const VERIFIED_AT_ONCE: usize = 2;

/// What is told to the node that heals.
pub enum Call {
    /// A message, whose evidence holds for its sender's key.
    Heard {
        /// The sender's key, of the TLS session.
        key: Vec<u8>,
        /// What it says.
        message: Box<Message>,
        /// Gets the answer once what follows from it is committed.
        answer: oneshot::Sender<ApiResult<()>>,
    },
    /// The node says to itself that time has passed.
    TimePasses(oneshot::Sender<ApiResult<()>>),
}

/// Leads to the node that heals, if it does.
pub struct HealingCalls {
    generation: Option<Generation>,
    waiting: OnceLock<mpsc::Sender<Call>>,
    /// Who verifies evidence holds one.
    pub verifying: Semaphore,
}

impl HealingCalls {
    /// For a node that is configured so.
    pub fn new(generation: Option<Generation>) -> HealingCalls {
        HealingCalls {
            generation,
            waiting: OnceLock::new(),
            verifying: Semaphore::new(VERIFIED_AT_ONCE),
        }
    }

    /// What the node is configured for.
    pub fn generation(&self) -> Option<Generation> {
        self.generation
    }

    /// Messages are heard from here on. Once.
    pub fn open(&self) -> Option<mpsc::Receiver<Call>> {
        let (send, receive) = mpsc::channel(PLACES);
        self.waiting.set(send).ok().map(|()| receive)
    }

    /// Where messages go, once they are heard.
    pub fn sender(&self) -> Option<&mpsc::Sender<Call>> {
        self.waiting.get()
    }
}

/// The answer to who comes too early, or too late, or while too many wait.
pub fn not_now(why: &'static str) -> ApiError {
    ApiError::new(hyper::StatusCode::SERVICE_UNAVAILABLE, "NodeCannotHandleRequest", why)
}
