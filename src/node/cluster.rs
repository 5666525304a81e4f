//! This node among the others of its service: what it agrees on with them, and how it reaches them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::Arc;

use super::config::{CommandKind, Config};
use super::membership::Stall;
use super::peers::{Entries, Peers, Settings, Word};
use super::writer::{Message, Writer};
use crate::channel::message::Forwarded;
use crate::channel::{NodeId, Own};
use crate::consensus::{self, Configuration, Consensus, Departure, Role, Start, ViewStart};
use crate::core::Core;
use crate::crypto::VerifyingKey;
use crate::error::{Error, Result};
use crate::format::domain::WriteSet;
use crate::format::{Seqno, TxId, View};
use crate::journal::Shelf;
use crate::recovery::foundation::Foundation;
use crate::service::identity::system_rng;
use crate::shown::line;
use crate::tables::names;
use crate::tables::node_info::NodeRecord;

/// Where other nodes connect, if the configuration says so.
///
/// # Errors
/// If the address can't be had.
pub(super) fn listen(config: &Config) -> Result<Option<TcpListener>> {
    let Some(interface) = &config.network.node_to_node_interface else {
        return Ok(None);
    };
    let address = &interface.bind_address;
    let listener = TcpListener::bind((address.host.as_str(), address.port)).map_err(|why| {
        Error::Unreadable(format!(
            "network.node_to_node_interface.bind_address {} can't be listened on: {why}; give another, or end who has it",
            line(&address.to_string())
        ))
    })?;
    Ok(Some(listener))
}

/// The first seqno of each view that has entries.
fn views_of(history: &[Seqno]) -> Vec<ViewStart> {
    let mut views: Vec<ViewStart> = Vec::new();
    for (view, first) in (1..).zip(history) {
        // A view without entries begins where the next one does.
        while views.last().is_some_and(|last| last.first >= *first) {
            views.pop();
        }
        views.push(ViewStart { view, first: *first });
    }
    views
}

/// What a node that recovers a service begins to agree with: itself alone, after what it recovers.
///
/// # Errors
/// If the machine gives no random numbers.
pub(super) fn lead(
    config: &Config,
    id: NodeId,
    foundation: &Foundation,
    next: TxId,
    first_held: Seqno,
) -> Result<Consensus> {
    let last = foundation.signed.txid.seqno;
    let start = Start {
        id,
        view: next.view,
        views: views_of(&foundation.view_history),
        last,
        committed: last,
        signatures: Vec::new(),
        first_held,
        configurations: Vec::new(),
        departures: BTreeMap::new(),
    };
    // It begins with nobody to tell.
    let (consensus, _) = Consensus::lead(settings(config), start, system_rng()?, std::time::Duration::ZERO);
    Ok(consensus)
}

/// Where a node begins that joins others: by default with nothing.
#[derive(Debug, Default)]
pub(super) struct Following {
    /// The view of the last entry.
    pub(super) view: View,
    /// The first seqno of each view, from view 1 on.
    pub(super) view_history: Vec<Seqno>,
    /// The last entry; it is committed.
    pub(super) last: Seqno,
    /// Who takes part there.
    pub(super) configurations: Vec<Configuration>,
    /// Who has left.
    pub(super) departures: BTreeMap<NodeId, Departure>,
}

/// What a node begins to agree with that joins others.
///
/// # Errors
/// If the machine gives no random numbers.
pub(super) fn follow(config: &Config, id: NodeId, following: Following) -> Result<Consensus> {
    let start = Start {
        id,
        view: following.view,
        views: views_of(&following.view_history),
        last: following.last,
        committed: following.last,
        signatures: Vec::new(),
        first_held: following.last.saturating_add(1),
        configurations: following.configurations,
        departures: following.departures,
    };
    let (settings, chance) = (settings(config), system_rng()?);
    Ok(Consensus::follow(settings, start, chance, std::time::Duration::ZERO))
}

fn settings(config: &Config) -> consensus::Settings {
    consensus::Settings {
        message_timeout: config.consensus.message_timeout,
        election_timeout: config.consensus.election_timeout,
        ..consensus::Settings::default()
    }
}

/// The others.
pub(super) struct Cluster {
    own: NodeId,
    /// What this node is to its peers, as they were told last.
    certificate: String,
    peers: Arc<Peers>,
    /// Whom these know.
    known: BTreeSet<NodeId>,
    /// Whether others keep something from being committed.
    pub(super) stall: Stall,
    /// Why entries for a node could not be read, as it was said last.
    unread: BTreeMap<NodeId, String>,
}

impl Cluster {
    /// Listens for others, and reaches them as `own`. One that has just joined knows none of them: whoever the service has
    /// endorsed is spoken with.
    ///
    /// # Errors
    /// If the machine gives no thread or socket.
    pub(super) fn start(
        config: &Config,
        own: Own,
        listener: TcpListener,
        directories: Vec<PathBuf>,
        writer: &Writer,
    ) -> Result<Cluster> {
        let id = own.id();
        let certificate = own.certificate().to_owned();
        let writer = writer.clone();
        let mut settings = Settings::new(config.consensus.election_timeout);
        settings.channel.message_limit = config.node_to_node_message_limit;
        settings.takes_the_endorsed = config.command.kind == CommandKind::Join;
        let hear = move |word: Word| writer.tell(Message::Heard(Box::new(word)));
        let peers = Peers::start(settings, Arc::new(own), listener, Shelf::new(directories), hear);
        let peers = peers.map_err(Error::io("start", std::path::Path::new("what speaks with other nodes")))?;
        Ok(Cluster {
            own: id,
            certificate,
            peers: Arc::new(peers),
            known: BTreeSet::new(),
            stall: Stall::default(),
            unread: BTreeMap::new(),
        })
    }

    /// For what is counted.
    pub(super) fn peers(&self) -> Arc<Peers> {
        Arc::clone(&self.peers)
    }

    /// This node's certificate is another from now on, or the same.
    pub(super) fn renew(&mut self, own: Own) {
        if own.certificate() != self.certificate {
            self.certificate = own.certificate().to_owned();
            self.peers.renew(Arc::new(own));
        }
    }

    /// Whether it was not said before, or not last, that entries for this node can't be read for this reason.
    pub(super) fn is_new(&mut self, peer: NodeId, why: &Error) -> bool {
        let why = why.to_string();
        self.unread.insert(peer, why.clone()).is_none_or(|before| before != why)
    }

    /// Learns where nodes are, from what a transaction writes.
    pub(super) fn learn(&mut self, writes: &WriteSet) {
        for (_, write) in writes.iter().filter(|(map, _)| *map == names::NODES_INFO) {
            let id = NodeId::from_key(write.key);
            let Some(id) = id.filter(|id| *id != self.own) else {
                continue;
            };
            let record = write.value.and_then(NodeRecord::read).filter(NodeRecord::is_trusted);
            if let Some(address) = record.and_then(|record| record.node_to_node_address()) {
                self.known.insert(id);
                self.peers.know(id, &address);
            }
        }
    }

    /// Says something to a node, with the entries that go along: from memory where they are there, and else from the files.
    pub(super) fn send(&self, core: &Core, to: NodeId, message: consensus::Message) {
        let entries = match &message {
            consensus::Message::AppendEntries(frame) => Entries::gather(frame, |seqno| core.kept(seqno).cloned()),
            _ => Entries::none(),
        };
        self.peers.send(to, message, entries);
    }

    /// Passes a client's request, or the answer to one, to a node; whether it is on its way.
    pub(super) fn forward(&self, to: NodeId, message: Forwarded) -> bool {
        self.peers.forward(to, message)
    }

    /// A node is not spoken with any more.
    pub(super) fn forget(&mut self, node: NodeId) {
        self.unread.remove(&node);
        self.known.remove(&node);
        self.peers.forget(node);
    }

    /// What others were let in by was taken back by this node, which leads: only those are spoken with that it sends to.
    pub(super) fn keep(&mut self, consensus: &Consensus) {
        if consensus.role() != Role::Leader {
            return;
        }
        let followers = consensus.acknowledgements();
        let gone: Vec<NodeId> = self
            .known
            .iter()
            .filter(|id| !followers.contains_key(id))
            .copied()
            .collect();
        for id in gone {
            self.forget(id);
        }
    }

    /// Ends what speaks with others.
    pub(super) fn stop(&self) {
        self.peers.stop();
    }
}

/// What a node is to its peers.
pub(super) fn own(core: &Core, service: VerifyingKey) -> Own {
    let signers = core.signers();
    Own::new(Arc::clone(&signers.node), signers.node_certificate.to_pem(), service)
}
