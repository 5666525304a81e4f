//! The logs of a disaster: each encoder and wrapper of SPEC-CANTON 1.3, packed or not.

use std::io::Write;
use std::path::{Path, PathBuf};

use super::{Dice, Disaster, Log, Record, SYNCHRONIZER};

/// Who writes the record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoder {
    /// Canton 3.3 as JSON.
    Json33,
    /// Canton 3.4 and later as JSON.
    Json34,
    /// The text appender.
    Text,
}

/// What was put around it on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrapper {
    Bare,
    Docker,
    /// Containerd's, in pieces where a line is long.
    Cri,
    Kubectl,
    /// An array of entries, the newest first.
    Cloud,
}

/// How the file is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pack {
    Plain,
    Gzip,
    Zstd,
    Xz,
}

pub const ENCODERS: [Encoder; 3] = [Encoder::Json33, Encoder::Json34, Encoder::Text];
pub const WRAPPERS: [Wrapper; 5] = [
    Wrapper::Bare,
    Wrapper::Docker,
    Wrapper::Cri,
    Wrapper::Kubectl,
    Wrapper::Cloud,
];
pub const PACKS: [Pack; 4] = [Pack::Plain, Pack::Gzip, Pack::Zstd, Pack::Xz];

/// Bytes of a piece of a CRI line. Containerd's are of 16 KiB; here records are cut, too.
const PIECE: usize = 300;

impl Disaster {
    /// Writes an SV's log into several files of a directory, with repetition, out of order, and between other lines.
    pub fn write_log(
        &self,
        sv: usize,
        how: (Encoder, Wrapper, Pack),
        directory: &Path,
        dice: &mut Dice,
    ) -> Option<PathBuf> {
        let (encoder, wrapper, pack) = how;
        if self.svs[sv].log == Log::Missing {
            return None;
        }
        let mut lines: Vec<String> = self
            .records(sv)
            .iter()
            .map(|record| self.line(sv, record, encoder))
            .collect();
        for _ in 0..lines.len() / 10 {
            lines.push(lines[dice.below(lines.len())].clone());
        }
        for tick in 0..self.ticks {
            lines.push(self.noise(tick, encoder));
        }
        // Threads overtake each other.
        for at in 1..lines.len() {
            lines.swap(at, at - dice.below(at.min(4) + 1));
        }
        let directory = directory.join(&self.svs[sv].name);
        std::fs::create_dir(&directory).unwrap();
        for (number, part) in lines.chunks(lines.len() / 2 + 1).enumerate() {
            let bytes = packed(&wrapped(part, wrapper, dice), pack);
            std::fs::write(directory.join(format!("participant.{number}.log")), bytes).unwrap();
        }
        Some(directory)
    }

    fn line(&self, owner: usize, record: &Record, encoder: Encoder) -> String {
        let sender = &self.svs[record.sender].participant;
        let period = format!(
            "CommitmentPeriod(fromExclusive = {}, toInclusive = {})",
            self.at(record.from),
            self.at(record.to)
        );
        let at = self.at(record.to).plus_seconds(3);
        if record.agrees {
            let message = format!("Commitment correct for sender {sender} and period {period}");
            return encoded(encoder, at, "INFO", &message, "");
        }
        let term = format!(
            "AcsCommitment(\n  synchronizerId = {SYNCHRONIZER}...,\n  sender = {sender},\n  counterParticipant = {},\n  \
             period = {period},\n  commitment = 0a1b\n)",
            self.svs[owner].participant
        );
        let message = "ACS_COMMITMENT_MISMATCH(5,e37a6a5b): The local commitment does not match the remote commitment";
        encoded(encoder, at, "WARN", message, &term)
    }

    fn noise(&self, tick: usize, encoder: Encoder) -> String {
        let at = self.at(tick);
        encoded(
            encoder,
            at,
            "INFO",
            &format!("Processing request {tick}: \"quoted\\path\"\tx"),
            "",
        )
    }
}

fn encoded(encoder: Encoder, at: rekindle::canton::Timestamp, level: &str, message: &str, remote: &str) -> String {
    let (logger, key) = match encoder {
        Encoder::Json33 => ("c.d.c.p.p.AcsCommitmentProcessor", "synchronizerId"),
        _ => ("c.d.c.p.p.AcsCommitmentProcessor", "psid"),
    };
    let logger = format!("{logger}:participant=participant/{key}={SYNCHRONIZER}");
    if encoder == Encoder::Text {
        let date = at.to_string().replace('T', " ").replace('Z', ",123");
        let context = match remote.is_empty() {
            true => String::new(),
            false => format!(" err-context:{{remote={remote}}}"),
        };
        return format!("{date} [canton-env-ec-7] {level:<5} {logger} tid:4bf92f35 - {message}{context}");
    }
    let mut fields = serde_json::json!({
        "@timestamp": at.to_string().replace('Z', ".123Z"), "message": message, "logger_name": logger,
        "thread_name": "canton-env-ec-7", "level": level, "trace-id": "4bf92f35",
    });
    if encoder == Encoder::Json33 {
        fields["@version"] = "1".into();
        fields["level_value"] = 20_000.into();
    }
    if !remote.is_empty() {
        fields["remote"] = remote.into();
    }
    fields.to_string()
}

fn wrapped(records: &[String], wrapper: Wrapper, dice: &mut Dice) -> Vec<u8> {
    if wrapper == Wrapper::Cloud {
        let entries: Vec<serde_json::Value> = records
            .iter()
            .rev()
            .map(|record| match serde_json::from_str::<serde_json::Value>(record) {
                Ok(fields) => serde_json::json!({"insertId": "1x", "jsonPayload": fields, "severity": "INFO"}),
                Err(_) => serde_json::json!({"insertId": "1x", "textPayload": record, "severity": "INFO"}),
            })
            .collect();
        return serde_json::to_vec_pretty(&entries).unwrap();
    }
    let mut out = String::new();
    for record in records {
        for line in record.lines() {
            match wrapper {
                Wrapper::Docker => {
                    let fields = serde_json::json!({"log": format!("{line}\n"), "stream": "stdout", "time": "2024-04-21T23:25:31.1Z"});
                    out.push_str(&format!("{fields}\n"));
                }
                Wrapper::Cri => {
                    let mut left = line;
                    while left.len() > PIECE {
                        let (piece, rest) = left.split_at(PIECE - dice.below(20));
                        out.push_str(&format!("2024-04-21T23:25:31.123456789Z stdout P {piece}\n"));
                        left = rest;
                    }
                    out.push_str(&format!("2024-04-21T23:25:31.123456789Z stdout F {left}\n"));
                }
                Wrapper::Kubectl => out.push_str(&format!("2024-04-21T23:25:31.123456789Z {line}\n")),
                Wrapper::Bare | Wrapper::Cloud => out.push_str(&format!("{line}\n")),
            }
        }
    }
    out.into_bytes()
}

fn packed(bytes: &[u8], pack: Pack) -> Vec<u8> {
    match pack {
        Pack::Plain => bytes.to_vec(),
        Pack::Gzip => {
            let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            out.write_all(bytes).unwrap();
            out.finish().unwrap()
        }
        Pack::Zstd => zstd::encode_all(bytes, 1).unwrap(),
        Pack::Xz => {
            let mut out = liblzma::write::XzEncoder::new(Vec::new(), 1);
            out.write_all(bytes).unwrap();
            out.finish().unwrap()
        }
    }
}
