//! No parser panics or asks for much memory, whatever it is given: seeded mutations of real inputs, on the functions that
//! the fuzz targets in `fuzz/` call.

use std::alloc::{GlobalAlloc, Layout as Memory, System};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rekindle::channel::handshake::{Handshake, Share};
use rekindle::channel::message::{Consensus, Forwarded, ForwardedRequest, RequestVote};
use rekindle::channel::{Frame, FrameType, NodeId};
use rekindle::crypto::{EphemeralKey, SigningKey, x509};
use rekindle::format::chunk::{Layout, Step, Walker};
use rekindle::format::names::FileName;
use rekindle::format::snapshot::Snapshot;
use rekindle::member::{Member, MessageType};
use rekindle::probes;
use rekindle::tables::values::Base64;
use serde_json::json;

/// The largest single allocation since it was last set to 0.
static LARGEST: AtomicUsize = AtomicUsize::new(0);

struct Watching;

// SAFETY: passes every call on to the system's allocator unchanged.
#[allow(unsafe_code)]
unsafe impl GlobalAlloc for Watching {
    unsafe fn alloc(&self, memory: Memory) -> *mut u8 {
        LARGEST.fetch_max(memory.size(), Ordering::Relaxed);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(memory) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, memory: Memory) {
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(pointer, memory) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, memory: Memory, size: usize) -> *mut u8 {
        LARGEST.fetch_max(size, Ordering::Relaxed);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.realloc(pointer, memory, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Watching = Watching;

#[cfg(feature = "canton")]
#[path = "parsers/canton.rs"]
mod canton;
#[path = "support/dice.rs"]
mod dice;

use dice::Dice;

fn files(directory: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    files
}

/// Inputs that the parsers read to their end: chunks, entries, table values, snapshots, receipts, PEM files, names.
fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = vec![
        b"ledger_1-18446744073709551615.committed".to_vec(),
        b"snapshot_13_14.committed_16".to_vec(),
        b"141.sealed.json".to_vec(),
        SEALED.as_bytes().to_vec(),
        ARCHIVED.as_bytes().to_vec(),
        b"ledger/%E2%80%AEledger_1-2.committed".to_vec(),
        br#"{"previous_secret_stored_version":17,"raw_key":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="}"#.to_vec(),
    ];
    for fixture in ["small", "cose", "p256"] {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(fixture);
        seeds.extend(
            files(&root.join("common"))
                .into_iter()
                .map(|path| std::fs::read(path).unwrap()),
        );
        for path in files(&root.join("ledger")) {
            let bytes = std::fs::read(&path).unwrap();
            let FileName::Chunk(name) = FileName::parse(path.file_name().unwrap().to_str().unwrap()) else {
                continue;
            };
            let mut walker = Walker::new(&bytes, Layout::read(&bytes).unwrap(), name.first);
            while let Step::Entry(located) = walker.step(&mut Vec::new()) {
                let maps = located.maps();
                if located.seqno < 12 {
                    seeds.push(located.entry.raw.to_vec());
                    seeds.push(located.entry.public.to_vec());
                    let mut each = |_: &str, write: rekindle::format::domain::Write<'_>| {
                        seeds.extend(write.value.map(<[u8]>::to_vec));
                    };
                    maps.for_each(&mut each).unwrap();
                }
            }
            seeds.push([&[0], &bytes[..]].concat());
        }
        if root.join("snapshots").is_dir() {
            for path in files(&root.join("snapshots")) {
                let bytes = std::fs::read(path).unwrap();
                seeds.push(Snapshot::parse(&bytes).unwrap().receipt.to_vec());
                seeds.push(bytes);
            }
        }
    }
    seeds.extend(receipts());
    seeds.extend(requests());
    seeds.extend(of_an_archive());
    seeds.extend(of_a_channel());
    seeds.extend(of_a_watched_node());
    #[cfg(feature = "canton")]
    seeds.extend(canton::seeds());
    // Shares of both formats, blobs and small trees are nothing but lengths.
    seeds.extend([44, 60, 113, 16 + 32 * 3].map(|length| vec![1; length]));
    seeds
}

/// Receipts of a made-up service that was recovered twice, in both forms, and what leads to them.
fn receipts() -> Vec<Vec<u8>> {
    use rekindle::fixture::{Options, generate};
    use rekindle::format::TxId;
    use rekindle::merkle::presented::write_endorsements;
    use rekindle::recovery::receipts::{Form, Request, make};
    let scratch = tempfile::tempdir().unwrap();
    let options = Options {
        entries: 30,
        signature_every: 5,
        recoveries: 2,
        ..Options::default()
    };
    generate(&options, scratch.path(), &rekindle::report::progress::Silent).unwrap();
    let files = rekindle::format::directory::LedgerFiles::list(&[scratch.path().join("ledger")], false).unwrap();
    let request = Request {
        txid: TxId { view: 2, seqno: 5 },
        form: Form::Json,
        secrets: None,
        service: None,
    };
    let made = make(&files, &request).unwrap().map_err(drop).unwrap();
    assert_eq!(made.endorsements.len(), 2);
    vec![made.bytes, write_endorsements(&made.endorsements)]
}

/// What a virtual node sends that has this key, which is the client's of the probe.
fn join_request(key: &str, encryption_key: &str) -> Vec<u8> {
    let key = SigningKey::from_pkcs8_pem(key).unwrap();
    let base64 = |bytes: &[u8]| serde_json::to_value(Base64(bytes.to_vec())).unwrap();
    let quote = json!({"host_data": "h", "measurement": "m", "report_data": base64(&key.verifying_key().id())});
    let request = json!({
        "certificate_signing_request": x509::request("CN=CCF Node", &[], &key).unwrap(),
        "node_data": {"rack": 7},
        "node_info_network": {
            "node_to_node_interface": {"bind_address": "a:1", "published_address": "a:1"},
            "rpc_interfaces": {"main": {"bind_address": "a:2", "endorsement": {"authority": "Service"}}},
        },
        "public_encryption_key": encryption_key,
        "quote_info": {"format": "Insecure_Virtual", "endorsements": "", "quote": base64(quote.to_string().as_bytes())},
        "startup_seqno": 0,
    });
    request.to_string().into_bytes()
}

/// What a member of the first fixture sends, signed with the key that the probe's store knows; and heads of requests.
fn requests() -> Vec<Vec<u8>> {
    let common = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/small/common");
    let read = |name: &str| std::fs::read_to_string(common.join(name)).unwrap();
    let member = Member::from_pem(&read("member0_cert.pem"), &read("member0_privk.pem")).unwrap();
    let signed = |kind, body: &[u8]| member.sign(kind, 1_700_000_000, None, body).unwrap().to_vec();
    let mut seeds = vec![
        signed(MessageType::Proposal, PROPOSAL.as_bytes()),
        signed(MessageType::RecoveryShare, br#"{"share": "AAAA"}"#),
        join_request(&read("member0_privk.pem"), &read("member0_enc_pubk.pem")),
    ];
    let heads = [
        "bytes=0-100",
        "bytes=10-",
        "bytes=-5",
        "api-version=2024-07-01&a=%C3%A4+b&x=%zz",
        "%2e%2e%2fledger",
    ];
    seeds.extend(heads.map(|head| head.as_bytes().to_vec()));
    seeds
}

/// What a node answers to a watch.
fn of_a_watched_node() -> Vec<Vec<u8>> {
    let [one, two] = ["1", "2"].map(|digit| digit.repeat(64));
    let consensus = json!({"details": {
        "acks": {&two: {"last_received_ms": 71, "seqno": 586}},
        "configs": [{"idx": 585, "nodes": {&one: {"address": "a:1"}, &two: {"address": "a:2"}}, "rid": 585}],
        "current_view": 4, "leadership_state": "Leader", "membership_state": "Active", "primary_id": one, "ticking": true,
    }});
    let nodes = json!({"nodes": [{"node_id": one, "status": "Trusted", "node_data": null,
        "rpc_interfaces": {"main": {"bind_address": "a:1", "published_address": "a:1"}}}]});
    let state = json!({"node_id": one, "state": "PartOfNetwork", "last_signed_seqno": 586});
    let network = json!({"service_status": "Open", "service_certificate": "", "recovery_count": 1, "current_view": 4});
    let commit = json!({"transaction_id": "4.586"});
    [consensus, nodes, state, network, commit]
        .map(|answer| answer.to_string().into_bytes())
        .into()
}

/// What nodes say to each other: payloads, and a stream of frames with them.
fn of_a_channel() -> Vec<Vec<u8>> {
    let common = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/small/common");
    let certificate = std::fs::read(common.join("service_cert.pem")).unwrap();
    let share = Share::of(&EphemeralKey::from_scalar(&[7; 48]).unwrap());
    let (signature, salt) = (vec![0x30; 103], [5; 32]);
    let init = Handshake::Init {
        share,
        signature: &signature,
        certificate: &certificate,
        salt: &salt,
    };
    let response = Handshake::Response {
        share,
        signature: &signature,
        certificate: &certificate,
    };
    let last = Handshake::Final { signature: &signature };
    let request = Forwarded::Request(ForwardedRequest {
        command: 1,
        view: 2,
        session: 3,
        caller: Some(certificate.clone()),
        request: b"GET / HTTP/1.1\r\n\r\n".to_vec(),
    });
    let vote = Consensus::RequestVote(RequestVote {
        view: 5,
        last_signed: 9,
        view_of_last_signed: 4,
    });
    let mut payloads = vec![
        (FrameType::Channel, init.encode()),
        (FrameType::Channel, response.encode()),
        (FrameType::Channel, last.encode()),
        (
            FrameType::Forwarded,
            [&request.header()[..], &[1; 24], &request.plaintext()].concat(),
        ),
        (FrameType::Consensus, [&vote.header()[..], &[1; 24]].concat()),
        (FrameType::Consensus, [&[0; 57 + 24][..], b"entries"].concat()),
    ];
    let mut stream = vec![9];
    for (of, payload) in &payloads {
        Frame::write(*of, &NodeId([3; 32]), &[payload], 1 << 16, &mut stream).unwrap();
    }
    payloads.push((FrameType::Unknown(9), stream));
    payloads.into_iter().map(|(_, payload)| payload).collect()
}

/// The objects of a small archive.
fn of_an_archive() -> Vec<Vec<u8>> {
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/small");
    let scratch = tempfile::tempdir().unwrap();
    let out = scratch.path().join("archive");
    let mode = rekindle::recovery::join::Mode::Integrity;
    rekindle::archive::create::run(&[fixture], &out, mode, &rekindle::report::progress::Silent).unwrap();
    let manifest = std::fs::read(out.join("manifest")).unwrap();
    let pack = std::fs::read(&files(&out.join("blocks"))[0]).unwrap();
    let rows = rekindle::archive::pack::rows(&pack).unwrap();
    let row = rows.first().unwrap();
    let first = [&row.to_bytes()[..], &pack[8 + 48..8 + 48 + row.stored as usize]].concat();
    vec![manifest[..manifest.len() - 32].to_vec(), manifest, pack, first]
}

/// What a manifest says of an archive in which an empty file and a link are.
const ARCHIVED: &str = r#"{"made_by":"rekindle","made_at":1,"packs":[],"sources":[{"name":"node0","path":"/n","directories":
    [{"path":"","modified":{"s":1,"ns":2},"mode":493}],"files":[{"path":"ledger_1","size":0,"modified":{"s":1,"ns":2},"mode":420,
    "sha256":"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","blocks":[]}],
    "links":[{"path":"a","target":"../b"}],"copies":[{"directories":[""],"snapshots":[],"report":null}]}],"findings":[]}"#;

/// A sealed file, which does not open.
const SEALED: &str = r#"{"aad_text":"{\"tcb_version\":\"d315000000000004\",\"version\":141}","ciphertext":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}"#;

const PROPOSAL: &str = r#"{"actions": [
    {"name": "set_member_data", "args": {"member_id": "00", "member_data": {"a": [1, null, "\u00e4"]}}},
    {"name": "set_recovery_threshold", "args": {"recovery_threshold": 2}},
    {"name": "trigger_ledger_rekey"}
]}"#;

fn mutate(seed: &[u8], dice: &mut Dice) -> Vec<u8> {
    let mut bytes = seed.to_vec();
    for _ in 0..1 + dice.below(4) {
        if bytes.is_empty() {
            bytes.push(0);
        }
        let at = dice.below(bytes.len());
        match dice.below(6) {
            0 => bytes[at] ^= 1 << dice.below(8),
            1 => bytes[at] = dice.below(256) as u8,
            2 => bytes.truncate(at),
            3 => {
                let end = bytes.len().min(at + 8);
                let extreme = [0, 0xff, 0x7f, 0x80][dice.below(4)];
                bytes[at..end].fill(extreme);
            }
            4 => {
                let end = bytes.len().min(at + dice.below(64));
                let doubled = bytes[at..end].to_vec();
                bytes.splice(at..at, doubled);
            }
            _ => {
                let end = bytes.len().min(at + dice.below(64));
                bytes.drain(at..end);
            }
        }
    }
    bytes
}

#[test]
fn no_parser_panics_or_asks_for_much_more_memory_than_it_was_given_bytes() {
    let seeds = seeds();
    let mut dice = Dice(1);
    for round in 0..60_000 {
        let seed = &seeds[dice.below(seeds.len())];
        let bytes = if round < seeds.len() {
            seeds[round].clone()
        } else {
            mutate(seed, &mut dice)
        };
        for (name, probe) in probes::ALL {
            LARGEST.store(0, Ordering::Relaxed);
            let outcome = std::panic::catch_unwind(|| probe(&bytes));
            assert!(outcome.is_ok(), "{name} panics in round {round}");
            let largest = LARGEST.load(Ordering::Relaxed);
            assert!(
                largest <= 64 * bytes.len() + (64 << 10),
                "{name} allocates {largest} for {} bytes in round {round}",
                bytes.len()
            );
        }
    }
}

#[test]
fn no_proposal_makes_the_constitution_or_the_node_panic_or_hang() {
    let seeds = [
        PROPOSAL.as_bytes().to_vec(),
        br#"{"actions": [{"name": "set_constitution", "args": {"constitution": "export function validate() {}"}}]}"#.to_vec(),
        br#"{"actions": [{"name": "set_user", "args": {"cert": "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----"}}]}"#.to_vec(),
    ];
    let mut dice = Dice(2);
    for (name, probe) in probes::SLOW {
        for round in 0..400 {
            let seed = &seeds[dice.below(seeds.len())];
            let bytes = if round < seeds.len() {
                seeds[round].clone()
            } else {
                mutate(seed, &mut dice)
            };
            let began = Instant::now();
            let outcome = std::panic::catch_unwind(|| probe(&bytes));
            assert!(outcome.is_ok(), "{name} panics in round {round}");
            assert!(
                began.elapsed() < Duration::from_secs(2),
                "{name} takes {:?} in round {round}",
                began.elapsed()
            );
        }
    }
}

#[test]
fn every_probe_has_a_fuzz_target() {
    let targets = files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/fuzz_targets"));
    let mut targets: Vec<String> = targets
        .iter()
        .map(|path| path.file_stem().unwrap().to_string_lossy().into_owned())
        .collect();
    // Built without Canton, there are no parsers of its files.
    targets.retain(|target| cfg!(feature = "canton") || !target.starts_with("canton_"));
    targets.sort();
    let mut probes: Vec<&str> = probes::ALL.iter().chain(probes::SLOW).map(|(name, _)| *name).collect();
    probes.sort();
    assert_eq!(targets, probes);
}
