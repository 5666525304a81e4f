//! Governance against real services: their constitutions, and every signed request that their ledgers keep.
//!
//! A replay feeds each recorded proposal, ballot, withdrawal and acknowledgement to this program, in the state in which the
//! real node met it, and compares what both wrote, key by key and byte by byte.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::Path;

use crate::support::{REAL_SERVICES, Service, ledgers};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rekindle::crypto::cose::MessageType;
use rekindle::crypto::cose::Sign1;
use rekindle::crypto::digest::Digest;
use rekindle::format::Seqno;
use rekindle::format::directory::LedgerFiles;
use rekindle::format::domain::WriteSet;
use rekindle::governance::request::{CONTENT_TYPE, SignedRequest, authenticate};
use rekindle::governance::{
    Reason, Refusal, acks, ballots, proposals,
    views::{self, code},
};
use rekindle::kv::store::{Store, Transaction};
use rekindle::merkle::accumulator::Accumulator;
use rekindle::recovery::segments::Windows;
use rekindle::script::{self, Effects};
use rekindle::tables::json::Json;
use rekindle::tables::names;
use serde_json::{Value, json};

const ONLY_KEY: [u8; 8] = [0; 8];
/// So many earlier states are tried: a transaction may have read a little before it was written.
const STATES_KEPT: usize = 4;

/// Writes that a node makes beside its scripts, when it opens a service or deals with its secrets.
const WRITTEN_BY_EFFECTS: [&str; 9] = [
    names::SERVICE_INFO,
    names::RECOVERY_SHARES,
    names::HISTORICAL_ENCRYPTED_LEDGER_SECRET,
    names::ENCRYPTED_LEDGER_SECRETS,
    names::ENCRYPTED_SUBMITTED_SHARES,
    names::PREVIOUS_SERVICE_IDENTITY_ENDORSEMENT,
    names::LAST_RECOVERY_TYPE,
    names::MODULES_QUICKJS_BYTECODE,
    names::MODULES_QUICKJS_VERSION,
];

/// A node that notes what it is asked for.
#[derive(Default)]
struct Node(Vec<&'static str>);

impl Node {
    fn note(&mut self, what: &'static str) -> Result<(), String> {
        self.0.push(what);
        Ok(())
    }
}

impl Effects for Node {
    fn transition_service_to_open(&mut self, _: &mut Transaction<'_>, _: Option<&str>, _: &str) -> Result<(), String> {
        self.note("open")
    }

    fn trigger_ledger_rekey(&mut self, _: &mut Transaction<'_>) -> Result<(), String> {
        self.note("rekey")
    }

    fn trigger_recovery_shares_refresh(&mut self, _: &mut Transaction<'_>) -> Result<(), String> {
        self.note("refresh")
    }

    fn trigger_ledger_chunk(&mut self) -> Result<(), String> {
        self.note("chunk")
    }

    fn trigger_snapshot(&mut self) -> Result<(), String> {
        self.note("snapshot")
    }

    fn latest_ledger_secret_seqno(&self, _: &Transaction<'_>) -> Result<Seqno, String> {
        Ok(7)
    }

    fn endorse_certificate(&mut self, _: &str, _: &str, _: u32) -> Result<String, String> {
        self.note("endorse").map(|()| "endorsed".to_owned())
    }

    fn renew_service_certificate(&mut self, _: &str, _: u32) -> Result<String, String> {
        self.note("renew").map(|()| "renewed".to_owned())
    }
}

/// Hands every entry of a ledger to `each`: its seqno, its public writes and its leaf.
fn walk(ledger: &Path, mut each: impl FnMut(Seqno, WriteSet, Digest)) {
    let files = LedgerFiles::list(&[ledger.to_owned()], false).unwrap();
    let mut windows = Windows::new(&files, 1, Seqno::MAX);
    while let Some(window) = windows.next_window().unwrap() {
        for segment in window {
            segment.for_each(|located| {
                let mut writes = WriteSet::new();
                let copy = |table: &str, write: rekindle::format::domain::Write<'_>| match write.value {
                    Some(value) => writes.put(table, write.key, value),
                    None => writes.remove(table, write.key),
                };
                located.maps().for_each(copy).unwrap();
                each(located.seqno, writes, located.entry.leaf(&located.public));
            });
        }
    }
}

/// The public state at the end of a ledger.
fn state(ledger: &Path) -> Store {
    let mut store = Store::new();
    walk(ledger, |seqno, writes, _| store.apply(seqno, &writes));
    store
}

fn json_of(bytes: Option<&[u8]>) -> Value {
    bytes.map_or(Value::Null, |bytes| serde_json::from_slice(bytes).unwrap())
}

/// Writes by table and key.
fn sorted(writes: &WriteSet) -> BTreeMap<(String, Vec<u8>), Option<Vec<u8>>> {
    writes
        .iter()
        .map(|(table, write)| {
            let key = (table.to_owned(), write.key.to_vec());
            (key, write.value.map(<[u8]>::to_vec))
        })
        .collect()
}

/// That this program wrote what the real node did, except what effects write, and what was there already: old releases
/// wrote it again.
#[track_caller]
fn assert_same_writes(place: &str, before: &Store, ours: &WriteSet, real: &WriteSet) {
    let (ours, real) = (sorted(ours), sorted(real));
    for ((table, key), value) in &ours {
        let text =
            |value: Option<&Option<Vec<u8>>>| format!("{:?}", value.map(|v| v.as_deref().map(String::from_utf8_lossy)));
        let key_text = String::from_utf8_lossy(key);
        let other = real.get(&(table.clone(), key.clone()));
        assert_eq!(text(Some(value)), text(other), "{place}: {table} {key_text}");
    }
    for ((table, key), value) in real.iter().filter(|(key, _)| !ours.contains_key(*key)) {
        if before.get(table, key).map(|(_, value)| value) == value.as_deref() {
            continue;
        }
        let key = String::from_utf8_lossy(key);
        assert!(
            WRITTEN_BY_EFFECTS.contains(&table.as_str()),
            "{place}: {table} {key} was not written"
        );
    }
}

/// What was replayed of one ledger.
#[derive(Debug, Default)]
struct Replayed {
    proposals: usize,
    ballots: usize,
    withdrawals: usize,
    acks: usize,
    digests: usize,
    asked: BTreeSet<&'static str>,
}

/// Replays the requests of a ledger.
fn replay(ledger: &Path) -> Replayed {
    let mut done = Replayed::default();
    let mut store = Store::new();
    let mut tree = Accumulator::genesis();
    let mut roots = VecDeque::from([tree.root()]);
    walk(ledger, |seqno, writes, leaf| {
        let place = format!("{} at {seqno}", ledger.display());
        let recorded: Vec<_> = writes
            .iter()
            .filter(|(table, write)| *table == names::COSE_HISTORY && write.value.is_some())
            .map(|(_, write)| json_of(write.value))
            .collect();
        for request in recorded {
            let raw = STANDARD.decode(request.as_str().unwrap()).unwrap();
            requested(&place, &store, &roots, &raw, &writes, &mut done);
        }
        for (table, write) in writes.iter() {
            if table == names::MEMBERS_ACKS && write.value.is_some() {
                acknowledged(&place, &store, write.key, &json_of(write.value), &writes, &mut done);
            }
        }
        store.apply(seqno, &writes);
        tree.append(&leaf);
        roots.push_front(tree.root());
        roots.truncate(STATES_KEPT);
    });
    done
}

/// A recorded proposal, ballot or withdrawal.
fn requested(place: &str, store: &Store, roots: &VecDeque<Digest>, raw: &[u8], real: &WriteSet, done: &mut Replayed) {
    let message = Sign1::parse(raw).unwrap();
    let kind = message.named_header("ccf.gov.msg.type").and_then(|kind| kind.as_text());
    let kind = [MessageType::Proposal, MessageType::Ballot, MessageType::Withdrawal]
        .into_iter()
        .find(|known| Some(known.as_str()) == kind)
        .unwrap_or_else(|| panic!("{place}: a request of type {kind:?}"));
    let mut transaction = store.transaction();
    let request = authenticate(&transaction, Some(CONTENT_TYPE), raw, kind, true)
        .unwrap_or_else(|why| panic!("{place}: {why:?}"));
    let mut node = Node::default();
    let answer = match kind {
        MessageType::Proposal => {
            done.proposals += 1;
            let root = proposed_on(place, roots, &request, real);
            proposals::create(&mut transaction, &request, &root, &mut node)
        }
        MessageType::Ballot => {
            done.ballots += 1;
            let id = request.proposal_id.clone().unwrap();
            ballots::submit_ballot(&mut transaction, &request, &id, &request.member_id, &mut node)
        }
        _ => {
            done.withdrawals += 1;
            let id = request.proposal_id.clone().unwrap();
            proposals::withdraw(&mut transaction, &request, &id).map(Option::unwrap)
        }
    };
    answer.unwrap_or_else(|why| panic!("{place}: {why:?}"));
    assert_same_writes(place, store, &transaction.into_writes(), real);
    done.asked.extend(node.0);
}

/// The root that makes the id under which the real node recorded a proposal.
fn proposed_on(place: &str, roots: &VecDeque<Digest>, request: &SignedRequest, real: &WriteSet) -> Digest {
    let known = |root: &&Digest| {
        let id = proposals::proposal_id(root, request);
        matches!(real.get(names::PROPOSALS, id.as_bytes()), Some(Some(_)))
    };
    **roots
        .iter()
        .find(known)
        .as_ref()
        .unwrap_or_else(|| panic!("{place}: no root gives the proposal's id"))
}

/// A recorded acknowledgement, or an update of the digest that is to be acknowledged.
fn acknowledged(place: &str, store: &Store, key: &[u8], ack: &Value, real: &WriteSet, done: &mut Replayed) {
    let member_id = String::from_utf8(key.to_vec()).unwrap();
    let mut transaction = store.transaction();
    let before = json_of(transaction.get(names::MEMBERS_ACKS, key));
    let signed = ack.get("cose_sign1_req").filter(|signed| !signed.is_null());
    let Some(signed) = signed.filter(|signed| before.get("cose_sign1_req") != Some(signed)) else {
        // A new member's digest, and that of a service that has signed nothing, is written by other code.
        if !before.is_null() && ack["state_digest"] != before["state_digest"] {
            done.digests += 1;
            let signature = json_of(transaction.get(names::SIGNATURES, &ONLY_KEY));
            assert_eq!(ack["state_digest"], signature["root"], "{place}");
        }
        return;
    };
    done.acks += 1;
    let raw = STANDARD.decode(signed.as_str().unwrap()).unwrap();
    let request = authenticate(&transaction, Some(CONTENT_TYPE), &raw, MessageType::Ack, false)
        .unwrap_or_else(|why| panic!("{place}: {why:?}"));
    acks::acknowledge(&mut transaction, &request, &member_id).unwrap_or_else(|why| panic!("{place}: {why:?}"));
    assert_same_writes(place, store, &transaction.into_writes(), real);
}

#[test]
fn every_recorded_request_writes_here_what_it_wrote_on_the_real_node() {
    let Some(ledgers) = ledgers() else { return };
    let mut sums = Replayed::default();
    let mut directories: Vec<_> = REAL_SERVICES.iter().map(|name| format!("{name}/ledger")).collect();
    directories.push("real_three_nodes/node0".to_owned());
    for name in directories {
        let done = replay(&ledgers.join(&name));
        eprintln!("{name}: {done:?}");
        assert!(done.proposals > 0 && done.ballots > 0, "{name}: {done:?}");
        sums.proposals += done.proposals;
        sums.ballots += done.ballots;
        sums.acks += done.acks;
        sums.digests += done.digests;
        sums.asked.extend(done.asked);
    }
    assert!(sums.acks > 5 && sums.digests > 5, "{sums:?}");
    assert!(
        ["open", "rekey", "refresh"]
            .iter()
            .all(|effect| sums.asked.contains(effect)),
        "{sums:?}"
    );
}

/// Every action that makes sense on one node, in an order in which each finds what it needs: name, arguments, and what
/// shows that it was done, a table or an effect.
fn actions(store: &Store) -> Vec<(&'static str, Value, &'static str)> {
    let transaction = store.transaction();
    let first = |table: &str| transaction.entries(table).into_iter().next().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    let (member, certificate) = first(names::MEMBERS_CERTS);
    let (member, certificate) = (text(member), text(certificate));
    let (user, user_certificate) = first(names::USERS_CERTS);
    let (user, user_certificate) = (text(user), text(user_certificate));
    let encryption_key = text(
        transaction
            .get(names::MEMBERS_ENCRYPTION_PUBLIC_KEYS, member.as_bytes())
            .unwrap()
            .to_vec(),
    );
    let service = json_of(transaction.get(names::SERVICE_INFO, &ONLY_KEY));
    let identity = service["cert"].as_str().unwrap();
    let constitution = json_of(transaction.get(names::CONSTITUTION, &ONLY_KEY));
    let (trusted, pending) = (TRUSTED.repeat(32), PENDING.repeat(32));
    let point = "A".repeat(43);
    let valid = json!({"valid_from": "2024-01-01T00:00:00", "validity_period_days": 30});
    let of_node = |id: &str| json!({"node_id": id, "valid_from": "240101000000Z", "validity_period_days": 30});
    let endpoint = json!({
        "js_module": "m.js", "js_function": "f", "mode": "readonly", "forwarding_required": "never",
        "authn_policies": ["user_cert", {"all_of": ["user_cert", "member_cert"]}], "openapi": {},
    });
    let bundle = json!({
        "metadata": {"endpoints": {"/path": {"get": endpoint}}},
        "modules": [{"name": "m.js", "module": "export function f() {}"}],
    });
    let jwks = json!({"keys": [{"kid": "key", "kty": "EC", "crv": "P-256", "x": point, "y": point}]});
    let policy_digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    let other_id = "0".repeat(64);
    vec![
        (
            "set_constitution",
            json!({"constitution": constitution}),
            names::CONSTITUTION,
        ),
        (
            "set_member",
            json!({"cert": user_certificate, "encryption_pub_key": encryption_key, "member_data": {"a": 1}}),
            names::MEMBERS_INFO,
        ),
        (
            "set_member_data",
            json!({"member_id": member, "member_data": {"b": 2}}),
            names::MEMBERS_INFO,
        ),
        ("remove_member", json!({"member_id": member}), "rekey"),
        ("remove_member", json!({"member_id": other_id}), ""),
        (
            "set_user",
            json!({"cert": certificate, "user_data": {"c": 3}}),
            names::USERS_INFO,
        ),
        (
            "set_user_data",
            json!({"user_id": user, "user_data": {"d": 4}}),
            names::USERS_INFO,
        ),
        ("remove_user", json!({"user_id": user}), names::USERS_CERTS),
        ("set_recovery_threshold", json!({"recovery_threshold": 2}), "refresh"),
        ("trigger_recovery_shares_refresh", Value::Null, "refresh"),
        ("trigger_ledger_rekey", Value::Null, "rekey"),
        (
            "transition_service_to_open",
            json!({"previous_service_identity": identity, "next_service_identity": identity}),
            "open",
        ),
        ("set_js_app", json!({"bundle": bundle}), names::ENDPOINTS),
        (
            "set_js_app",
            json!({"bundle": bundle, "disable_bytecode_cache": true}),
            names::MODULES,
        ),
        ("refresh_js_app_bytecode_cache", Value::Null, ""),
        ("remove_js_app", Value::Null, ""),
        (
            "set_js_runtime_options",
            json!({"max_heap_bytes": 1, "max_stack_bytes": 1, "max_execution_time_ms": 1}),
            names::JS_RUNTIME_OPTIONS,
        ),
        (
            "set_ca_cert_bundle",
            json!({"name": "b", "cert_bundle": certificate}),
            names::TLS_CA_CERT_BUNDLES,
        ),
        (
            "remove_ca_cert_bundle",
            json!({"name": "b"}),
            names::TLS_CA_CERT_BUNDLES,
        ),
        (
            "set_jwt_issuer",
            json!({"issuer": "https://example.com", "auto_refresh": false, "jwks": jwks}),
            names::JWT_PUBLIC_SIGNING_KEYS_METADATA_V2,
        ),
        ("remove_jwt_issuer", json!({"issuer": "https://example.com"}), ""),
        ("add_node_code", json!({"code_id": "ab"}), names::NODES_CODE_IDS),
        ("remove_node_code", json!({"code_id": "ab"}), names::NODES_CODE_IDS),
        (
            "add_snp_measurement",
            json!({"measurement": "ab"}),
            names::NODES_SNP_MEASUREMENTS,
        ),
        (
            "remove_snp_measurement",
            json!({"measurement": "ab"}),
            names::NODES_SNP_MEASUREMENTS,
        ),
        (
            "add_snp_uvm_endorsement",
            json!({"did": "did:x509:a", "feed": "f", "svn": "1"}),
            names::NODES_SNP_UVM_ENDORSEMENTS,
        ),
        (
            "remove_snp_uvm_endorsement",
            json!({"did": "did:x509:a", "feed": "f"}),
            names::NODES_SNP_UVM_ENDORSEMENTS,
        ),
        (
            "add_snp_host_data",
            json!({"security_policy": "abc", "host_data": policy_digest}),
            names::NODES_SNP_HOST_DATA,
        ),
        (
            "remove_snp_host_data",
            json!({"host_data": policy_digest}),
            names::NODES_SNP_HOST_DATA,
        ),
        (
            "set_snp_minimum_tcb_version",
            json!({"cpuid": "00a00f11", "tcb_version": {"boot_loader": 1, "tee": 2, "snp": 3, "microcode": 4}}),
            names::NODES_SNP_TCB_VERSIONS,
        ),
        (
            "set_snp_minimum_tcb_version_hex",
            json!({"cpuid": "00a00f11", "tcb_version": "d315000000000004"}),
            names::NODES_SNP_TCB_VERSIONS,
        ),
        (
            "set_node_data",
            json!({"node_id": trusted, "node_data": {"e": 5}}),
            names::NODES_INFO,
        ),
        ("set_node_certificate_validity", of_node(&trusted), "endorse"),
        ("set_all_nodes_certificate_validity", valid.clone(), "endorse"),
        ("set_service_certificate_validity", valid, "renew"),
        (
            "transition_node_to_trusted",
            of_node(&pending),
            names::NODES_ENDORSED_CERTIFICATES,
        ),
        ("remove_node", json!({"node_id": trusted}), names::NODES_INFO),
        (
            "set_service_configuration",
            json!({"recent_cose_proposals_window_size": 50, "recovery_threshold": 2}),
            names::SERVICE_CONFIG,
        ),
        ("trigger_ledger_chunk", Value::Null, "chunk"),
        ("trigger_snapshot", Value::Null, "snapshot"),
        ("assert_service_identity", json!({"service_identity": identity}), ""),
    ]
}

/// Ids of the nodes that the state for actions has beside the real ones.
const TRUSTED: &str = "a1";
const PENDING: &str = "b2";

/// A real service's state, with two nodes more, a threshold that leaves room, and this constitution.
fn state_for_actions(ledger: &Path, constitution: Vec<u8>) -> Store {
    let mut store = state(ledger);
    let mut writes = WriteSet::new();
    for (id, status) in [(TRUSTED, "Trusted"), (PENDING, "Pending")] {
        let info = json!({"status": status, "certificate_signing_request": "request"});
        writes.put(names::NODES_INFO, id.repeat(32), info.to_string());
    }
    writes.put(names::SERVICE_CONFIG, ONLY_KEY, r#"{"recovery_threshold":1}"#);
    writes.put(names::CONSTITUTION, ONLY_KEY, constitution);
    let seqno = store.seqno() + 1;
    store.apply(seqno, &writes);
    store
}

#[test]
fn every_action_of_real_constitutions_validates_and_applies() {
    let Some(ledgers) = ledgers() else { return };
    for name in REAL_SERVICES {
        let constitution = state(&ledgers.join(name).join("ledger"));
        let constitution = constitution
            .transaction()
            .get(names::CONSTITUTION, &ONLY_KEY)
            .unwrap()
            .to_vec();
        let source: String = serde_json::from_slice(&constitution).unwrap();
        let store = state_for_actions(&ledgers.join("real_small/ledger"), constitution);
        let mut done = 0;
        for (action, args, shown_by) in actions(&store) {
            if !source.contains(&format!("\"{action}\"")) {
                continue;
            }
            let place = format!("{name}: {action} {args}");
            let proposal = json!({"actions": [{"name": action, "args": args}]}).to_string();
            let mut transaction = store.transaction();
            let validation = script::validate(&transaction, &source, &proposal).unwrap();
            assert!(validation.valid, "{place}: {}", validation.description);
            let mut node = Node::default();
            script::apply(&mut transaction, &source, &proposal, "id", &mut node)
                .unwrap_or_else(|why| panic!("{place}: {why:?}"));
            let writes = transaction.into_writes();
            let written = writes.iter().any(|(table, _)| table == shown_by);
            assert!(
                shown_by.is_empty() || written || node.0.contains(&shown_by),
                "{place}: {:?}",
                node.0
            );
            done += 1;
        }
        assert!(done >= 34, "{name}: {done} actions");
    }
}

#[test]
fn real_constitutions_refuse_what_they_should() {
    let Some(ledgers) = ledgers() else { return };
    let store = state(&ledgers.join("real_small/ledger"));
    let transaction = store.transaction();
    let source = views::constitution(&transaction).unwrap();
    for (action, args, words) in [
        ("no_such_action", Value::Null, "no such action"),
        (
            "set_member",
            json!({"cert": "not a certificate"}),
            "must be a valid X509 certificate",
        ),
        (
            "set_constitution",
            json!({"constitution": "export function validate(a) {}"}),
            "does not export a function named apply: Failed to find export 'apply'",
        ),
        (
            "set_recovery_threshold",
            json!({"recovery_threshold": 0}),
            "must be greater than 1",
        ),
        (
            "trigger_ledger_rekey",
            json!({"now": true}),
            "does not accept any argument",
        ),
        ("assert_service_identity", json!({"service_identity": "x"}), "X509"),
    ] {
        let proposal = json!({"actions": [{"name": action, "args": args}]}).to_string();
        let validation = script::validate(&transaction, &source, &proposal).unwrap();
        assert!(
            !validation.valid && validation.description.contains(words),
            "{action}: {}",
            validation.description
        );
    }
    let proposal = json!({"actions": [{"name": "set_recovery_threshold", "args": {"recovery_threshold": 200}}]});
    let mut transaction = store.transaction();
    let failure = script::apply(
        &mut transaction,
        &source,
        &proposal.to_string(),
        "id",
        &mut Node::default(),
    );
    assert!(
        failure
            .unwrap_err()
            .reason
            .contains("Cannot set recovery threshold to 200")
    );
}

/// The shape of a JSON value: names and types, ids replaced.
fn shape(value: &Value) -> Value {
    match value {
        Value::Object(fields) => fields
            .iter()
            .map(|(name, value)| {
                let id = name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
                let name = if id { "id" } else { name.as_str() };
                (name.to_owned(), shape(value))
            })
            .collect(),
        Value::Array(items) => Value::Array(items.first().map(shape).into_iter().collect()),
        Value::String(_) => "text".into(),
        Value::Number(_) => "number".into(),
        Value::Bool(_) => "flag".into(),
        Value::Null => Value::Null,
    }
}

#[test]
fn answers_have_the_shape_of_a_real_nodes() {
    let Some(ledgers) = ledgers() else { return };
    let samples = ledgers.join("../http-samples/public-before-proposal");
    if !samples.is_dir() {
        eprintln!("skipped: no answers of a real node in {}", samples.display());
        return;
    }
    let store = state(&ledgers.join("real_small/ledger"));
    let transaction = store.transaction();
    let id_of = |table: &str| {
        let key = transaction.entries(table).into_keys().next().unwrap();
        String::from_utf8(key).unwrap()
    };
    let member = id_of(names::MEMBERS_INFO);
    let sample = |name: &str| -> Value {
        let path = samples.join(name);
        let path = if path.exists() {
            path
        } else {
            // Named after an id that is not ours.
            let entries = std::fs::read_dir(&samples).unwrap().map(|entry| entry.unwrap().path());
            let named = |path: &std::path::PathBuf| path.file_name().unwrap().to_str().unwrap().starts_with(name);
            entries
                .into_iter()
                .find(named)
                .unwrap_or_else(|| panic!("no sample {name}"))
        };
        serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
    };
    let answered = |name: &str, ours: Json| {
        let ours = ours.to_value().unwrap();
        assert_eq!(shape(&ours), shape(&sample(name)), "{name}");
    };
    answered(
        "gov__service__info.json",
        views::service_info(&transaction, |_| 2).unwrap(),
    );
    answered("gov__service__members.json", views::members(&transaction));
    answered("gov__service__members__", views::member(&transaction, &member).unwrap());
    answered("gov__service__users.json", views::users(&transaction));
    answered("gov__service__nodes.json", code::nodes(&transaction));
    answered("gov__service__join-policy.json", code::join_policy(&transaction));
    answered("gov__service__jwk.json", code::jwk(&transaction));
    answered(
        "gov__service__javascript-app.json",
        code::javascript_app(&transaction, None).unwrap(),
    );
    answered(
        "gov__service__javascript-modules.json",
        code::javascript_modules(&transaction),
    );
    answered("gov__members__proposals.json", views::proposals(&transaction));
    answered(
        "gov__members__state-digests__",
        views::state_digest(&transaction, &member).unwrap(),
    );
    answered(
        "gov__recovery__encrypted-shares__",
        views::encrypted_share(&transaction, &member).unwrap(),
    );

    let proposal = id_of(names::PROPOSALS);
    let all = views::proposals(&transaction).to_value().unwrap();
    let listed = &all["value"][0];
    assert_eq!(views::proposal(&transaction, &proposal).unwrap(), *listed);
    let voter = listed["finalVotes"].as_object().unwrap().keys().next().unwrap();
    assert!(views::ballot(&transaction, &proposal, voter).unwrap().contains("vote"));
    assert!(json_of(Some(&views::actions(&transaction, &proposal).unwrap()))["actions"].is_array());
    let missing = |answer: Result<Json, Refusal>| answer.unwrap_err().reason;
    let nobody = "0".repeat(64);
    assert_eq!(missing(views::member(&transaction, &nobody)), Reason::NotFound);
    assert_eq!(missing(views::proposal(&transaction, &nobody)), Reason::UnknownProposal);
}

#[test]
fn a_services_own_answers_come_back_from_a_fixture() {
    let service = Service::made(&[]);
    let store = state(&service.ledger());
    let transaction = store.transaction();
    let info = views::service_info(&transaction, |_| 9).unwrap().to_value().unwrap();
    assert_eq!(info["status"], "Open");
    let members = views::members(&transaction).to_value().unwrap();
    let ids: Vec<_> = members["value"]
        .as_array()
        .unwrap()
        .iter()
        .map(|member| &member["memberId"])
        .collect();
    assert!(ids.is_sorted_by_key(|id| id.as_str()) && !ids.is_empty());
    for id in ids {
        let id = id.as_str().unwrap();
        assert!(views::member(&transaction, id).is_ok());
    }
}
