//! Inputs that the parsers of Canton's files read to their end, each as small as it can be.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rekindle::canton::evidence::file::to_json;
use rekindle::canton::logs::{Settings, scan_bytes};
use serde_json::json;

/// All of them.
pub fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = vec![
        LOG.as_bytes().to_vec(),
        JSON_LOG.as_bytes().to_vec(),
        evidence(),
        SQL.as_bytes().to_vec(),
        archive(14),
        archive(16),
        JOURNAL.as_bytes().to_vec(),
        identities(),
        snapshot(),
    ];
    let answers = [
        json!({"kind": "VolumeSnapshot", "metadata": {"name": "apps-pvc-1", "annotations": {"migrationId": "1"}},
            "status": {"creationTime": "2024-04-21T23:20:00Z", "readyToUse": true}}),
        json!([{"instance": "sv-apps-pg", "startTime": "2024-04-21T23:20:00Z", "endTime": "2024-04-21T23:21:00Z"}]),
        json!({"apps": {"start": "2024-04-21T23:20:00Z", "end": "2024-04-21T23:25:00Z"}}),
        json!({"error": "UNAVAILABLE_ACS_SNAPSHOT(9,0): pruned"}),
        json!({"error": "Timestamp mismatch: requested=2024-04-21T23:10:00Z != recordTime=2024-04-21T23:10:01.5Z"}),
        json!({"success": {"id": "a::1220", "uptime": "PT3H", "active": true}}),
        json!({"id": "cometbft", "catching_up": false, "voting_power": 10.0}),
        json!({"dso_party_id": "DSO::1220", "voting_threshold": 3, "dso_rules": {"contract": {"payload": {"svs": []}}}}),
    ];
    seeds.extend(answers.map(|answer| answer.to_string().into_bytes()));
    seeds.push(b"validator-2024-04-21T23:25:00+00:00.dump".to_vec());
    seeds
}

const LOG: &str = "2024-04-21 23:25:31,123 [canton-env-ec-72] INFO  \
    c.d.c.p.p.AcsCommitmentProcessor:participant=participant/synchronizerId=global-domain::1220be58c29e tid:8a1 - \
    Commitment correct for sender PAR::SV-2::12205f1149bc... and period CommitmentPeriod(fromExclusive = \
    2024-04-21T23:24:00Z, toInclusive = 2024-04-21T23:25:00Z)\n";
const JSON_LOG: &str = "{\"log\":\"{\\\"@timestamp\\\":\\\"2024-04-21T23:25:31.1Z\\\",\\\"message\\\":\\\"Commitment \
    correct for sender PAR::SV-2::12205f1149bc... and period CommitmentPeriod(fromExclusive = 2024-04-21T23:24:00Z, \
    toInclusive = 2024-04-21T23:25:00Z)\\\",\\\"logger_name\\\":\\\"c.d.c.p.p.AcsCommitmentProcessor:participant=p\\\",\
    \\\"level\\\":\\\"INFO\\\"}\\n\",\"stream\":\"stdout\"}\n";
const SQL: &str = "--\n-- PostgreSQL database dump\n--\n\nSET search_path = 'participant';\n\
    CREATE TABLE participant.lapi_parameters (ledger_end bigint, participant_id character varying);\n\
    COPY participant.lapi_parameters (ledger_end, participant_id) FROM stdin;\n12\tPAR::a::1220\\\\\n\\.\n\n\
    INSERT INTO sv.store_last_ingested_offsets (store_id, migration_id, last_ingested_offset) VALUES (1, 0, \
    '00000000000000000c'), (2, NULL, E'a\\'');\n\n--\n-- PostgreSQL database dump complete\n--\n";
const JOURNAL: &str = "{\"journal\":\"rekindle canton runbook\",\"version\":1}\n\
    {\"plan\":{\"kind\":\"restore\"},\"digest\":\"ab\",\"at\":\"2024-04-21T23:25:00Z\"}\n\
    {\"step\":\"down\",\"state\":\"began\",\"at\":\"2024-04-21T23:25:00Z\"}\n\
    {\"step\":\"down\",\"state\":\"done\",\"how\":\"ran\",\"at\":\"2024-04-21T23:25:01Z\"}\n";

/// What the log says, as it is sent to the others.
fn evidence() -> Vec<u8> {
    let found = scan_bytes(LOG.as_bytes(), &Settings::default());
    assert_eq!(found.observations.len(), 1, "the log is read");
    assert_eq!(
        scan_bytes(JSON_LOG.as_bytes(), &Settings::default()).observations.len(),
        1
    );
    to_json("SV-1", &found).unwrap()
}

/// A custom archive with one table, of one row.
fn archive(version: u8) -> Vec<u8> {
    let mut out = b"PGDMP\x01".to_vec();
    out.extend([version, 0, 4, 8, 1]);
    let integer = |out: &mut Vec<u8>, value: i32| {
        out.push(u8::from(value < 0));
        out.extend(value.unsigned_abs().to_le_bytes());
    };
    let text = |out: &mut Vec<u8>, text: &str| {
        integer(out, text.len() as i32);
        out.extend(text.bytes());
    };
    match version {
        15.. => out.push(0),
        _ => integer(&mut out, 0),
    }
    for part in [5, 30, 21, 22, 10, 126, 0] {
        integer(&mut out, part);
    }
    for name in ["participant", "14.1", "14.1"] {
        text(&mut out, name);
    }
    integer(&mut out, 1);
    for number in [6, 1] {
        integer(&mut out, number);
    }
    for name in ["0", "0", "lapi_parameters", "TABLE DATA"] {
        text(&mut out, name);
    }
    integer(&mut out, 3);
    for statement in [
        "",
        "",
        "COPY participant.lapi_parameters (ledger_end, participant_id) FROM stdin;\n",
        "participant",
    ] {
        text(&mut out, statement);
    }
    // Tablespace, access method and kind of relation.
    integer(&mut out, -1);
    integer(&mut out, -1);
    if version >= 16 {
        integer(&mut out, i32::from(b'r'));
    }
    for name in ["owner", "false", "1"] {
        text(&mut out, name);
    }
    integer(&mut out, -1);
    out.push(1);
    out.extend([0; 8]);
    out.push(1);
    integer(&mut out, 6);
    text(&mut out, "12\tPAR::a::1220\n\\.\n\n\n");
    integer(&mut out, 0);
    out
}

/// A field of a message of Protocol Buffers.
fn field(number: u8, content: &[u8]) -> Vec<u8> {
    let length = match content.len() {
        short @ ..128 => vec![short as u8],
        long => vec![long as u8 | 0x80, (long >> 7) as u8],
    };
    [&[number << 3 | 2], &length[..], content].concat()
}

/// A whole dump of an SV, whose keys prove nothing.
fn identities() -> Vec<u8> {
    let namespace = format!("1220{}", "ab".repeat(32));
    let pair = |purpose: u8| {
        let public = field(3, &[7; 44]);
        let private = [field(1, namespace.as_bytes()), field(3, &[9; 48])].concat();
        let pair = field(purpose, &[field(1, &public), field(2, &private)].concat());
        STANDARD.encode([field(1, &pair), vec![0x10, 30]].concat())
    };
    let node = |code: &str| {
        json!({
            "id": format!("{code}::SV-1::{namespace}"),
            "keys": [{"keyPair": pair(1), "name": "namespace"}, {"keyPair": pair(2)},
                {"type": "signing", "keyId": "arn:aws:kms:x", "name": "signing"}],
            "authorizedStoreSnapshot": STANDARD.encode([field(1, &field(1, namespace.as_bytes())), vec![0x10, 30]].concat()),
            "version": "0.5.4",
        })
    };
    let whole = json!({"identities": {
        "sv_party_id": format!("SV-1::{namespace}"),
        "dso_party_id": format!("DSO::{namespace}"),
        "domain_alias": "global",
        "domain_id": format!("global-domain::{namespace}"),
        "participant": node("PAR"),
        "sequencer": node("SEQ"),
        "mediator": node("MED"),
    }});
    whole.to_string().into_bytes()
}

/// What the SV app answers, in pieces of 32 bytes.
fn snapshot() -> Vec<u8> {
    let answer = json!({
        "created_at": "2024-04-21T23:10:00Z",
        "migration_id": 1,
        "data_snapshot": {"genesis_state": "AAAA", "acs_snapshot": "AAAA", "acs_timestamp": "2024-04-21T23:10:00Z",
            "dars": [{"hash": "ab", "content": "AAAA"}], "acs_format": "ledger_api"},
        "participant_users": {"identityProviders": [], "users": [{"id": "sv", "annotations": {"a": "\u{e4}"}}]},
    });
    [" ", &answer.to_string()].concat().into_bytes()
}
