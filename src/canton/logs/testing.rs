//! Logs as participants and what carries their logs write them: for tests. A [`Written`] record is rendered by an [`Encoder`],
//! and its lines are put into a [`Wrapper`]; each is told apart by what it does to a record's bytes.

use std::io::Write;

use serde_json::json;

/// A record as Canton's code makes it.
#[derive(Clone, Debug)]
pub struct Written {
    /// Seconds after the beginning of the log.
    pub at: u32,
    pub level: &'static str,
    pub logger: String,
    pub message: String,
    /// What is in the diagnostic context: fields of JSON, `err-context` in text.
    pub context: Vec<(&'static str, String)>,
}

pub const PROCESSOR: &str =
    "c.d.c.p.p.AcsCommitmentProcessor:participant=participant/psid=global-domain::1220e959c972::34-0";
pub const OTHER: &str = "c.d.c.s.c.SequencerClient:participant=participant/psid=global-domain::1220e959c972::34-0";

impl Written {
    pub fn new(at: u32, message: impl Into<String>) -> Written {
        Written {
            at,
            level: "INFO",
            logger: PROCESSOR.to_owned(),
            message: message.into(),
            context: Vec::new(),
        }
    }

    pub fn by(mut self, logger: &str) -> Written {
        self.logger = logger.to_owned();
        self
    }

    pub fn level(mut self, level: &'static str) -> Written {
        self.level = level;
        self
    }

    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Written {
        self.context.push((name, value.into()));
        self
    }

    fn clock(&self) -> String {
        format!(
            "{:02}:{:02}:{:02}",
            10 + self.at / 3600,
            self.at / 60 % 60,
            self.at % 60
        )
    }
}

/// The period of so many minutes that ends at a minute of a day.
pub fn period(minute: u32, minutes: u32) -> String {
    let at = |minute: u32| format!("2024-04-21T{:02}:{:02}:00Z", minute / 60, minute % 60);
    format!(
        "CommitmentPeriod(fromExclusive = {}, toInclusive = {})",
        at(minute - minutes),
        at(minute)
    )
}

pub fn correct(at: u32, sender: &str, minute: u32) -> Written {
    Written::new(
        at,
        format!(
            "Commitment correct for sender {sender} and period {}",
            period(minute, 1)
        ),
    )
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoder {
    /// `CantonJsonEncoder` of 3.4 and later.
    Json,
    /// The same up to 3.3: with a version and a number for the level.
    JsonOfOld,
    /// The file appender.
    Text,
}

impl Encoder {
    pub const ALL: [Encoder; 3] = [Encoder::Json, Encoder::JsonOfOld, Encoder::Text];

    pub fn encode(self, record: &Written) -> String {
        if self == Encoder::Text {
            let mut line = format!(
                "2024-04-21 {},123 [canton-env-ec-72] {:<5} {} tid:8a1 - {}",
                record.clock(),
                record.level,
                record.logger,
                record.message
            );
            if !record.context.is_empty() {
                let fields: Vec<String> = record
                    .context
                    .iter()
                    .map(|(name, value)| format!("{name}={value}"))
                    .collect();
                line += &format!(" err-context:{{{}}}", fields.join(", "));
            }
            return line;
        }
        let text = |value: &str| serde_json::to_string(value).unwrap();
        let mut line = format!(r#"{{"@timestamp":"2024-04-21T{}.123Z","#, record.clock());
        if self == Encoder::JsonOfOld {
            line += r#""@version":"1","#;
        }
        line += &format!(
            r#""message":{},"logger_name":{},"thread_name":"canton-env-ec-72","level":"{}""#,
            text(&record.message),
            text(&record.logger),
            record.level
        );
        if self == Encoder::JsonOfOld {
            line += r#","level_value":10000"#;
        }
        for (name, value) in &record.context {
            line += &format!(",{}:{}", text(name), text(value));
        }
        line + r#","trace-id":"8a1"}"#
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrapper {
    None,
    /// Docker's json-file, cutting lines into pieces of so many bytes.
    Docker(usize),
    /// CRI, the same, with lines of the other stream between the pieces.
    Cri(usize),
    /// `kubectl logs --timestamps`.
    Timestamps,
    /// `kubectl logs --prefix --timestamps`.
    Prefix,
    Compose,
    /// Cloud Logging: an entry a line.
    CloudText,
    /// A JSON array, newest first, minified.
    CloudArray,
    /// The same over several lines, with the record's fields in `jsonPayload` where it is JSON.
    CloudPretty,
    /// The answer of Loki's API.
    Loki,
    /// Hits of Elasticsearch.
    Elastic,
}

/// What runtimes cut at.
pub const PIECE: usize = 16 << 10;

impl Wrapper {
    pub const ALL: [Wrapper; 13] = [
        Wrapper::None,
        Wrapper::Docker(PIECE),
        Wrapper::Docker(150),
        Wrapper::Cri(PIECE),
        Wrapper::Cri(150),
        Wrapper::Timestamps,
        Wrapper::Prefix,
        Wrapper::Compose,
        Wrapper::CloudText,
        Wrapper::CloudArray,
        Wrapper::CloudPretty,
        Wrapper::Loki,
        Wrapper::Elastic,
    ];

    pub fn wrap(self, encoded: &[String]) -> Vec<u8> {
        let time = "2024-04-21T10:00:00.123456789Z";
        let lines = || encoded.iter().flat_map(|record| record.lines());
        let each = |wrap: &dyn Fn(&str) -> String| lines().map(|line| wrap(line) + "\n").collect::<String>();
        let payload = |record: &String| match serde_json::from_str::<serde_json::Value>(record) {
            Ok(fields) if self == Wrapper::CloudPretty => {
                json!({ "insertId": "1", "jsonPayload": fields, "labels": {"a": "}{"} })
            }
            _ => json!({ "insertId": "1", "textPayload": record, "labels": {"a": "}{"} }),
        };
        let newest_first: Vec<_> = encoded.iter().rev().map(payload).collect();
        let out = match self {
            Wrapper::None => each(&str::to_owned),
            Wrapper::Docker(piece) => lines()
                .flat_map(|line| pieces(line, piece))
                .map(|(text, is_last)| {
                    let log = if is_last { format!("{text}\n") } else { text.to_owned() };
                    format!(r#"{{"log":{},"stream":"stdout","time":"{time}"}}"#, json!(log)) + "\n"
                })
                .collect(),
            Wrapper::Cri(piece) => lines()
                .flat_map(|line| pieces(line, piece))
                .map(|(text, is_last)| match is_last {
                    true => format!("{time} stdout F {text}\n"),
                    false => format!("{time} stdout P {text}\n{time} stderr F Commitment to nothing\n"),
                })
                .collect(),
            Wrapper::Timestamps => each(&|line| format!("{time} {line}")),
            Wrapper::Prefix => each(&|line| format!("[pod/participant-0-abc/participant] {time} {line}")),
            Wrapper::Compose => each(&|line| format!("participant-1  | {line}")),
            Wrapper::CloudText => encoded
                .iter()
                .map(|record| payload(record).to_string() + "\n")
                .collect(),
            Wrapper::CloudArray => serde_json::to_string(&newest_first).unwrap(),
            Wrapper::CloudPretty => serde_json::to_string_pretty(&newest_first).unwrap() + "\n",
            Wrapper::Loki => {
                let values: Vec<_> = encoded
                    .iter()
                    .map(|record| json!(["1713693600000000000", record]))
                    .collect();
                json!({"status": "success", "data": {"resultType": "streams", "result": [
                    {"stream": {"app": "participant"}, "values": values}]}})
                .to_string()
            }
            Wrapper::Elastic => {
                let hits: Vec<_> = encoded
                    .iter()
                    .map(|record| json!({"_source": {"message": record, "x": [1]}}))
                    .collect();
                serde_json::to_string_pretty(&json!({"hits": {"hits": hits}})).unwrap()
            }
        };
        out.into_bytes()
    }
}

fn pieces(line: &str, size: usize) -> Vec<(&str, bool)> {
    let words: Vec<usize> = line.match_indices("Commitment").map(|(at, _)| at).collect();
    let (mut start, mut all) = (0, Vec::new());
    while line.len() - start > size {
        let cut = start + size;
        // What has the word only once is not found where it is cut; other tests cut it on purpose.
        let end = words
            .iter()
            .find(|at| (**at..**at + 10).contains(&cut))
            .copied()
            .unwrap_or(cut);
        all.push((&line[start..end], false));
        start = end;
    }
    all.push((&line[start..], true));
    all
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packer {
    Plain,
    Gzip,
    Zstd,
    Xz,
}

impl Packer {
    pub const ALL: [Packer; 4] = [Packer::Plain, Packer::Gzip, Packer::Zstd, Packer::Xz];

    pub fn pack(self, bytes: &[u8]) -> Vec<u8> {
        match self {
            Packer::Plain => bytes.to_vec(),
            Packer::Gzip => {
                let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
                out.write_all(bytes).unwrap();
                out.finish().unwrap()
            }
            Packer::Zstd => zstd::encode_all(bytes, 1).unwrap(),
            Packer::Xz => {
                let mut out = liblzma::write::XzEncoder::new(Vec::new(), 0);
                out.write_all(bytes).unwrap();
                out.finish().unwrap()
            }
        }
    }
}
