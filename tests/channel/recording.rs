//! The recordings of real nodes in `../shared/node-to-node`, as tests look at them.

use std::path::{Path, PathBuf};

use rekindle::channel::{Frame, FrameReader, NodeId};
use rekindle::crypto::{Certificate, VerifyingKey};
use serde_json::Value;

/// Larger than any frame that was recorded.
pub const MAX: usize = 1 << 20;

pub struct Recording {
    pub name: String,
    pub lines: Vec<Line>,
}

/// One line: a frame, or something that happened.
pub struct Line {
    pub value: Value,
    /// The bytes of a frame, with zeros for entries that were left out: the tag does not cover them.
    pub raw: Vec<u8>,
    /// What was said to be made wrong on purpose just before, where this is a frame that was.
    pub wrong: Option<String>,
}

impl Line {
    pub fn text(&self, name: &str) -> &str {
        self.value[name].as_str().unwrap_or_default()
    }

    pub fn bytes<const N: usize>(&self, name: &str) -> [u8; N] {
        hex::decode(self.text(name)).unwrap().try_into().unwrap()
    }

    pub fn id(&self, name: &str) -> NodeId {
        self.text(name).parse().unwrap()
    }

    pub fn is_frame(&self) -> bool {
        !self.raw.is_empty()
    }

    pub fn is_event(&self, name: &str) -> bool {
        self.value["event"] == name
    }

    pub fn is_out(&self) -> bool {
        self.value["dir"] == "out"
    }

    /// The frame.
    pub fn with<T>(&self, look: impl FnOnce(Frame<'_>) -> T) -> T {
        let mut reader = FrameReader::new(MAX);
        reader.feed(&self.raw);
        look(reader.next_frame().unwrap().expect("a whole frame"))
    }

    pub fn payload(&self) -> Vec<u8> {
        self.with(|frame| frame.payload.to_vec())
    }

    pub fn sender(&self) -> NodeId {
        self.with(|frame| frame.sender)
    }
}

impl Recording {
    fn read(path: &Path) -> Recording {
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let text = std::fs::read_to_string(path).unwrap();
        let mut event = None;
        let mut lines = Vec::new();
        for line in text.lines() {
            let value: Value = serde_json::from_str(line).unwrap();
            let mut raw = hex::decode(value["raw"].as_str().unwrap_or_default()).unwrap();
            let cut_to = value["raw_cut_to"].as_u64();
            assert!(cut_to.is_none_or(|bytes| bytes == raw.len() as u64));
            if let Some(whole) = cut_to.and(value["len"].as_u64()) {
                raw.resize(whole as usize, 0);
            }
            if let Some(what) = value["event"].as_str() {
                event = Some(what.to_owned());
            }
            // What was made is the first frame after the words.
            let wrong = event.take_if(|what| !raw.is_empty() && is_wrong(&name, what, &value));
            event.take_if(|_| !raw.is_empty());
            lines.push(Line { value, raw, wrong });
        }
        Recording { name, lines }
    }

    pub fn frames(&self) -> impl Iterator<Item = &Line> {
        self.lines.iter().filter(|line| line.is_frame())
    }

    /// The frames that are as they should be.
    pub fn good(&self) -> impl Iterator<Item = &Line> {
        self.frames().filter(|line| line.wrong.is_none())
    }

    pub fn keys(&self) -> impl Iterator<Item = &Line> {
        self.lines.iter().filter(|line| line.is_event("keys"))
    }

    /// The key of the service that endorsed the nodes.
    pub fn service(&self) -> VerifyingKey {
        let found = self.lines.iter().find_map(|line| {
            let value = &line.value;
            let places = [
                &value["service_cert"],
                &value["network_info"]["identity"]["cert"],
                &value["body"]["network_info"]["identity"]["cert"],
            ];
            places.into_iter().find_map(Value::as_str).map(str::to_owned)
        });
        Certificate::from_pem(&found.expect("a service certificate"))
            .unwrap()
            .key()
            .clone()
    }

    /// Our node's key and certificate, PEM, where they were recorded.
    pub fn own(&self) -> Option<(String, String)> {
        self.lines.iter().find_map(|line| {
            let text = |name: &str| line.value[name].as_str().map(str::to_owned);
            let key = text("own_key").or_else(|| text("node_key"))?;
            Some((key, text("own_cert").or_else(|| text("node_cert"))?))
        })
    }
}

/// Recording 9 says before each frame what is wrong with it; the others' frames are good.
fn is_wrong(recording: &str, event: &str, frame: &Value) -> bool {
    let fine = [
        "a gap of 1000 in the counter",
        "good init, their response ignored (half a handshake), old keys used on",
        "five good inits in a row",
        "heartbeats resumed",
        "ignored on purpose",
    ];
    recording.starts_with("9-")
        && frame["dir"] == "out"
        && frame["key"].is_null()
        && !fine.contains(&event)
        && !["keys", "established", "error in handler"].contains(&event)
}

/// Every recording; `None`, with a message, where they are absent and not required.
pub fn recordings() -> Option<Vec<Recording>> {
    let beside = || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/node-to-node");
    let root = std::env::var_os("REKINDLE_CCF_NODE_TO_NODE").map_or_else(beside, PathBuf::from);
    let mut paths: Vec<PathBuf> = std::fs::read_dir(&root)
        .into_iter()
        .flatten()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "jsonl"))
        .collect();
    paths.sort();
    if paths.is_empty() {
        let required = std::env::var_os("REKINDLE_REQUIRE_CCF_LEDGERS").is_some_and(|value| value == "1");
        assert!(
            !required,
            "REKINDLE_REQUIRE_CCF_LEDGERS=1, but there are no recordings in {}",
            root.display()
        );
        eprintln!("skipped: no recordings in {}", root.display());
        return None;
    }
    assert!(paths.len() >= 12);
    Some(paths.iter().map(|path| Recording::read(path)).collect())
}
