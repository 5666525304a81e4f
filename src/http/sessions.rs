//! Sessions and their errors, counted per interface: the caps, and `/node/metrics`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use schemars::JsonSchema;
use serde::Serialize;

use super::interface::Interface;

/// Counters of every interface.
#[derive(Debug)]
pub struct Sessions {
    interfaces: Vec<Counters>,
    active: AtomicUsize,
    peak: AtomicUsize,
}

/// What is counted of one interface.
#[derive(Debug)]
pub struct Counters {
    /// The interface's name.
    pub name: String,
    soft_cap: usize,
    hard_cap: usize,
    active: AtomicUsize,
    peak: AtomicUsize,
    /// Requests that were not HTTP.
    pub parsing: AtomicUsize,
    /// 431.
    pub request_header_too_large: AtomicUsize,
    /// 413.
    pub request_payload_too_large: AtomicUsize,
}

/// What becomes of a new connection.
#[derive(Debug)]
pub(super) enum Admission {
    Serve(Session),
    /// Above the soft cap: one answer, 503.
    Refuse(Session),
    /// Above the hard cap.
    Close,
}

/// An open session: counted until it is dropped.
#[derive(Debug)]
pub(super) struct Session {
    sessions: Arc<Sessions>,
    interface: usize,
}

impl Sessions {
    pub(super) fn new(interfaces: &[Arc<Interface>]) -> Arc<Self> {
        let counters = |interface: &Arc<Interface>| Counters {
            name: interface.name.clone(),
            soft_cap: interface.max_open_sessions_soft,
            hard_cap: interface.max_open_sessions_hard,
            active: AtomicUsize::new(0),
            peak: AtomicUsize::new(0),
            parsing: AtomicUsize::new(0),
            request_header_too_large: AtomicUsize::new(0),
            request_payload_too_large: AtomicUsize::new(0),
        };
        Arc::new(Sessions {
            interfaces: interfaces.iter().map(counters).collect(),
            active: AtomicUsize::new(0),
            peak: AtomicUsize::new(0),
        })
    }

    /// Counts a connection to the interface at `index`, unless it is above the hard cap.
    pub(super) fn admit(self: &Arc<Self>, index: usize) -> Admission {
        let Some(counters) = self.interfaces.get(index) else {
            return Admission::Close;
        };
        let before = counters.active.fetch_add(1, Relaxed);
        let all = self.active.fetch_add(1, Relaxed);
        let session = Session {
            sessions: self.clone(),
            interface: index,
        };
        if before >= counters.hard_cap {
            return Admission::Close;
        }
        counters.peak.fetch_max(before + 1, Relaxed);
        self.peak.fetch_max(all + 1, Relaxed);
        match before >= counters.soft_cap {
            true => Admission::Refuse(session),
            false => Admission::Serve(session),
        }
    }

    /// The counters of the interface at `index`.
    pub(super) fn counters(&self, index: usize) -> Option<&Counters> {
        self.interfaces.get(index)
    }

    /// Every interface's counters.
    pub fn interfaces(&self) -> &[Counters] {
        &self.interfaces
    }

    /// Sessions that are open now.
    pub fn active(&self) -> usize {
        self.active.load(Relaxed)
    }

    /// As `/node/metrics` answers.
    pub fn to_answer(&self) -> NodeMetrics {
        let interfaces = self.interfaces.iter();
        NodeMetrics {
            sessions: SessionMetrics {
                active: self.active(),
                interfaces: interfaces
                    .map(|counters| (counters.name.clone(), counters.to_answer()))
                    .collect(),
                peak: self.peak.load(Relaxed),
            },
        }
    }
}

/// `GET /node/metrics`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct NodeMetrics {
    /// Sessions.
    pub sessions: SessionMetrics,
}

/// Sessions of a node.
#[derive(Debug, Serialize, JsonSchema)]
pub struct SessionMetrics {
    /// Open now.
    pub active: usize,
    /// By interface.
    pub interfaces: BTreeMap<String, InterfaceMetrics>,
    /// The most there were.
    pub peak: usize,
}

/// Sessions of an interface.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "SessionMetrics__PerInterface")]
pub struct InterfaceMetrics {
    /// Open now.
    pub active: usize,
    /// What went wrong with them.
    pub errors: SessionErrors,
    /// Further ones are closed at once.
    pub hard_cap: usize,
    /// The most there were.
    pub peak: usize,
    /// Further ones are told so.
    pub soft_cap: usize,
}

/// What went wrong with sessions.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "SessionMetrics__Errors")]
pub struct SessionErrors {
    /// Requests that are no HTTP.
    pub parsing: usize,
    /// Requests with too large headers.
    pub request_header_too_large: usize,
    /// Requests with a too large body.
    pub request_payload_too_large: usize,
}

impl Counters {
    /// Sessions that are open now.
    pub fn active(&self) -> usize {
        self.active.load(Relaxed)
    }

    fn to_answer(&self) -> InterfaceMetrics {
        InterfaceMetrics {
            active: self.active(),
            errors: SessionErrors {
                parsing: self.parsing.load(Relaxed),
                request_header_too_large: self.request_header_too_large.load(Relaxed),
                request_payload_too_large: self.request_payload_too_large.load(Relaxed),
            },
            hard_cap: self.hard_cap,
            peak: self.peak.load(Relaxed),
            soft_cap: self.soft_cap,
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.sessions.active.fetch_sub(1, Relaxed);
        if let Some(counters) = self.sessions.interfaces.get(self.interface) {
            counters.active.fetch_sub(1, Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn caps_count_what_is_open_and_the_answer_has_the_shape_of_a_real_nodes() {
        let mut interface = Interface::new("primary_rpc_interface", "127.0.0.1:0");
        (interface.max_open_sessions_soft, interface.max_open_sessions_hard) = (1, 2);
        let sessions = Sessions::new(&[Arc::new(interface)]);
        let Admission::Serve(first) = sessions.admit(0) else {
            panic!("refused")
        };
        let Admission::Refuse(second) = sessions.admit(0) else {
            panic!("served or closed")
        };
        assert!(matches!(sessions.admit(0), Admission::Close));
        assert_eq!(sessions.active(), 2);
        drop(first);
        assert!(matches!(sessions.admit(0), Admission::Refuse(_)));
        drop(second);
        let expected = json!({"sessions": {"active": 0, "interfaces": {"primary_rpc_interface": {
            "active": 0,
            "errors": {"parsing": 0, "request_header_too_large": 0, "request_payload_too_large": 0},
            "hard_cap": 2, "peak": 2, "soft_cap": 1,
        }}, "peak": 2}});
        assert_eq!(serde_json::to_value(sessions.to_answer()).unwrap(), expected);
    }
}
