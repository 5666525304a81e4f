//! What a watch keeps for the one that is started after it: who made up the service, and where they were. Started in an outage, it can't learn
//! that from anybody.
//!
//! A file of two lines: JSON, and the SHA-256 of that line. It is written whole or not at all, and believed only as a whole.

use std::collections::BTreeSet;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use super::answers::{Configuration, MOST_NODES, NodeId, is_address};
use super::clock::Moment;
use super::known::{Believed, Known, Member};
use crate::crypto::{Certificate, sha256};
use crate::error::{Error, Result};
use crate::format::whole_file::{PUBLIC, write_whole};
use crate::shown::Show;

/// Larger is none of ours: some hundred nodes with eight addresses each take a tenth of it.
const MOST_BYTES: u64 = 4 << 20;
const VERSION: u32 = 1;
/// Configurations, and addresses of a node: far more than are ever kept.
const MOST: usize = 64;
/// Older, and so many nodes may have been replaced meanwhile that what became of these says nothing of the service.
pub const BELIEVED_FOR_MS: u64 = 24 * 3_600_000;

/// A service, as it was known when somebody of it last answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Memory {
    rekindle_watch: u32,
    /// When this was true, in milliseconds since 1970.
    pub kept_at_ms: u64,
    /// PEM.
    pub service: String,
    is_firm: bool,
    recoveries: Option<u64>,
    configurations: Vec<KeptConfiguration>,
    nodes: Vec<KeptNode>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeptConfiguration {
    seqno: u64,
    nodes: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeptNode {
    id: String,
    addresses: Vec<String>,
    answered_at: Vec<String>,
    heard_at_ms: u64,
}

impl Memory {
    /// What is worth keeping: nothing, as long as no node has answered this watch.
    pub fn of(known: &Known, service: &Certificate, wall_ms: u64) -> Option<Memory> {
        let believed = &known.believed;
        let has_answered = known.members.values().any(|member| member.said.is_some());
        if believed.configurations.is_empty() || !has_answered {
            return None;
        }
        let kept = |it: &Configuration| KeptConfiguration {
            seqno: it.seqno,
            nodes: it.nodes.iter().map(|id| id.as_str().to_owned()).collect(),
        };
        let everybody = Known::everybody(&believed.configurations);
        let nodes = everybody.iter().filter_map(|id| {
            let member = known.members.get(id)?;
            Some(KeptNode {
                id: id.as_str().to_owned(),
                addresses: member.addresses.iter().take(MOST).cloned().collect(),
                answered_at: member.proven.iter().take(MOST).cloned().collect(),
                heard_at_ms: member.heard_wall_ms,
            })
        });
        Some(Memory {
            rekindle_watch: VERSION,
            kept_at_ms: wall_ms,
            service: service.to_pem(),
            is_firm: believed.is_firm,
            recoveries: known.recoveries,
            configurations: believed.configurations.iter().take(MOST).map(kept).collect(),
            nodes: nodes.collect(),
        })
    }

    /// Whether it says the same but for times.
    pub fn is_as(&self, other: &Memory) -> bool {
        let places = |it: &Memory| -> Vec<_> {
            let nodes = it.nodes.iter();
            nodes
                .map(|it| (it.id.clone(), it.addresses.clone(), it.answered_at.clone()))
                .collect()
        };
        self.configurations == other.configurations && self.service == other.service && places(self) == places(other)
    }

    /// As it is in a file.
    ///
    /// # Errors
    /// None that is known: JSON of texts and numbers can be written.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let json = serde_json::to_string(self);
        let json = json.map_err(|why| Error::Unreadable(format!("what is known could not be written: {why}")))?;
        let digest = hex::encode(sha256(json.as_bytes()));
        Ok(format!("{json}\nsha256 {digest}\n").into_bytes())
    }

    /// What a file holds.
    ///
    /// # Errors
    /// What it is instead, in words.
    pub fn parse(bytes: &[u8]) -> std::result::Result<Memory, String> {
        let text = std::str::from_utf8(bytes).map_err(|_| "it is no text")?;
        let (json, last) = text.split_once('\n').ok_or("it has not two lines")?;
        let digest = format!("sha256 {}\n", hex::encode(sha256(json.as_bytes())));
        if last != digest {
            return Err(
                "its first line has not the digest that the second one names: it was changed or cut".to_owned(),
            );
        }
        let memory: Memory = serde_json::from_str(json).map_err(|why| why.to_string())?;
        if memory.rekindle_watch != VERSION {
            return Err(format!(
                "it is of version {}, expected {VERSION}",
                memory.rekindle_watch
            ));
        }
        Certificate::from_pem(&memory.service).map_err(|why| format!("its service's certificate: {why}"))?;
        let ids = memory
            .configurations
            .iter()
            .flat_map(|it| &it.nodes)
            .chain(memory.nodes.iter().map(|it| &it.id));
        if let Some(id) = ids.into_iter().find(|id| NodeId::parse(id).is_none()) {
            return Err(format!("{id:?} is no node's id"));
        }
        let addresses = memory
            .nodes
            .iter()
            .flat_map(|it| it.addresses.iter().chain(&it.answered_at));
        if let Some(address) = addresses.into_iter().find(|it| !is_address(it)) {
            return Err(format!("{address:?} is no address"));
        }
        let is_bounded = memory.nodes.len() <= MOST_NODES
            && memory.configurations.len() <= MOST
            && memory.configurations.iter().all(|it| it.nodes.len() <= MOST_NODES)
            && memory
                .nodes
                .iter()
                .all(|it| it.addresses.len() <= MOST && it.answered_at.len() <= MOST);
        is_bounded
            .then_some(memory)
            .ok_or_else(|| "it is larger than any service".to_owned())
    }

    /// The service's certificate.
    ///
    /// # Errors
    /// Not after [`Memory::parse`].
    pub fn certificate(&self) -> Result<Certificate> {
        Certificate::from_pem(&self.service)
            .map_err(|why| Error::Unreadable(format!("a service's certificate that was kept: {why}")))
    }
}

impl Known {
    /// Begins with what an earlier watch knew, as if nobody had been heard since this one began.
    pub fn recall(&mut self, memory: &Memory) {
        let nodes = |ids: &[String]| ids.iter().filter_map(|id| NodeId::parse(id)).collect();
        let configurations = memory.configurations.iter().map(|it| Configuration {
            seqno: it.seqno,
            nodes: nodes(&it.nodes),
        });
        self.believed = Believed {
            configurations: configurations.collect(),
            is_firm: memory.is_firm,
        };
        self.recoveries = memory.recoveries;
        self.agreed = Some(Moment::ZERO);
        self.recalled = Some(memory.kept_at_ms);
        for node in &memory.nodes {
            let Some(id) = NodeId::parse(&node.id) else { continue };
            let proven: BTreeSet<String> = node.answered_at.iter().cloned().collect();
            for address in node.addresses.iter().chain(&proven) {
                let place = self.places.entry(address.clone()).or_default();
                if proven.contains(address) {
                    place.answered.insert(id.clone());
                }
            }
            self.members.insert(
                id,
                Member {
                    addresses: node.addresses.iter().chain(&proven).cloned().collect(),
                    has_answered: !proven.is_empty(),
                    proven,
                    ..Member::new(Moment::ZERO, node.heard_at_ms)
                },
            );
        }
    }
}

/// Reads the file of an earlier watch; nothing where there is none yet.
///
/// # Errors
/// Where it can't be read, or is anything else: it is not written over then.
pub fn read(path: &Path) -> Result<Option<Memory>> {
    let found = match path.metadata() {
        Err(why) if why.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        found => found.map_err(Error::io("look at", path))?,
    };
    let refused = |why: &str| {
        Error::Usage(format!(
            "{} is not what a watch has kept: {why}; it is left as it is. Name another file, or take this one away",
            path.shown()
        ))
    };
    if !found.is_file() {
        return Err(refused("it is no file"));
    }
    if found.len() > MOST_BYTES {
        return Err(refused("it is too large"));
    }
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(Error::io("open", path))?;
    file.take(MOST_BYTES)
        .read_to_end(&mut bytes)
        .map_err(Error::io("read", path))?;
    Memory::parse(&bytes).map(Some).map_err(|why| refused(&why))
}

/// Writes the file, on a thread of its own: a disk that hangs does not hold the watch.
pub struct Keeper {
    newest: Arc<Mutex<Option<Memory>>>,
    ring: Option<SyncSender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Keeper {
    /// Keeps what it is given in this file. What goes wrong is told in words, once until it goes well again.
    ///
    /// # Errors
    /// Where a thread can't be started.
    pub fn start(path: PathBuf, tell: impl Fn(&str) + Send + 'static) -> Result<Keeper> {
        let newest = Arc::<Mutex<Option<Memory>>>::default();
        let (ring, rings) = sync_channel(1);
        let waits = Arc::clone(&newest);
        let thread = std::thread::Builder::new().name("memory".to_owned());
        let thread = thread.spawn(move || write(&rings, &waits, &path, &tell));
        let thread =
            thread.map_err(|why| Error::Unreadable(format!("the thread of --state can't be started: {why}")))?;
        Ok(Keeper {
            newest,
            ring: Some(ring),
            thread: Some(thread),
        })
    }

    /// Keeps this.
    pub fn keep(&self, memory: Memory) {
        *self.newest.lock().unwrap_or_else(PoisonError::into_inner) = Some(memory);
        // Where it rings already, the newest is taken.
        let _ = self.ring.as_ref().map(|ring| ring.try_send(()));
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.ring.take();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn write(rings: &Receiver<()>, newest: &Mutex<Option<Memory>>, path: &Path, tell: &dyn Fn(&str)) {
    let mut is_well = true;
    while rings.recv().is_ok() {
        let memory = newest.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(memory) = memory else { continue };
        let written = memory.to_bytes().and_then(|bytes| write_whole(path, &bytes, PUBLIC));
        if let Err(why) = &written
            && is_well
        {
            tell(&format!("what is known could not be kept: {why}"));
        }
        is_well = written.is_ok();
    }
}
