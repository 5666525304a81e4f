use std::time::{Duration, Instant};

use serde_json::json;

use super::*;
use crate::format::domain::WriteSet;
use crate::governance::testing::{CONSTITUTION, Recorder, read_json};
use crate::kv::store::Store;
use crate::tables::SINGLETON_KEY;

mod loading;

fn store(writes: &[(&str, &str, &str)]) -> Store {
    let mut set = WriteSet::new();
    for (table, key, value) in writes {
        set.put(table, key.as_bytes(), value.as_bytes());
    }
    let mut store = Store::new();
    store.apply(3, &set);
    store
}

/// What a ballot whose function is `body` does.
fn ballot_in(store: &Store, body: &str) -> Result<bool, Failure> {
    let script = format!("export function vote(proposal, proposerId) {{ {body} }}");
    vote(
        &store.transaction(),
        &script,
        "ballot".to_owned(),
        "the proposal",
        "the proposer",
    )
}

fn ballot(body: &str) -> Result<bool, Failure> {
    ballot_in(&Store::new(), body)
}

/// What a ballot throws.
fn thrown(body: &str) -> String {
    ballot(body).unwrap_err().reason
}

/// Table and key, and the value.
type Written = (String, Option<String>);

/// What `apply` of a constitution whose function is `body` writes, and what it asks for.
fn applied(store: &Store, body: &str) -> Result<(Vec<Written>, Vec<String>), Failure> {
    let script = format!("export function apply(proposal, proposalId) {{ {body} }}");
    let mut transaction = store.transaction();
    let mut effects = Recorder::default();
    apply(&mut transaction, &script, "the proposal", "the id", &mut effects)?;
    let writes = transaction.into_writes();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let writes = writes
        .iter()
        .map(|(table, write)| (format!("{table} {}", text(write.key)), write.value.map(text)));
    Ok((writes.collect(), effects.asked))
}

#[test]
fn a_vote_counts_only_if_it_is_exactly_true() {
    assert_eq!(ballot("return true"), Ok(true));
    for other in [
        "false",
        "1",
        "'true'",
        "{}",
        "undefined",
        "new Boolean(true)",
        "Promise.resolve(true)",
    ] {
        assert_eq!(ballot(&format!("return {other}")), Ok(false), "{other}");
    }
    assert_eq!(
        ballot("return proposal === 'the proposal' && proposerId === 'the proposer'"),
        Ok(true)
    );
}

#[test]
fn what_is_thrown_is_told_with_its_trace() {
    let failure = ballot("throw new TypeError('no')").unwrap_err();
    assert_eq!(failure.reason, "TypeError: no");
    assert!(failure.trace.unwrap().contains("vote (ballot:1"));
    assert!(!failure.unusable);
    assert_eq!(thrown("throw 'text'"), "text");
    assert_eq!(
        thrown("throw {toString() { throw 1 }}"),
        "something that can't be shown as text"
    );
    assert!(thrown("throw null").contains("nothing was thrown"));
}

#[test]
fn a_module_that_cannot_be_used_is_told_apart_from_one_that_throws() {
    let empty = Store::new();
    let transaction = empty.transaction();
    let failure = |script: &str| vote(&transaction, script, "ballot".to_owned(), "", "").unwrap_err();
    for script in [
        "",
        "syntax error",
        "function vote() { return true }",
        "export const vote = 7",
        "import x from 'y'; export function vote() { return true }",
        "throw 1",
        "export function vote() {}\0",
    ] {
        assert!(failure(script).unusable, "{script:?}: {:?}", failure(script));
    }
}

#[test]
fn endless_scripts_are_stopped_and_the_process_goes_on() {
    let started = Instant::now();
    // Each takes its five seconds: at the same time.
    let endless = [
        "while (true) {}",
        "for (;;) { try { while (true) {} } catch (e) {} finally { while (true) {} } }",
        "return /^(a+)+$/.test('a'.repeat(64) + 'b')",
        "for (;;) { ccf.kv['public:ccf.gov.x'].has(new ArrayBuffer(8)) }",
        // This built-in does not ask whether it should stop: its thread is abandoned.
        "return ('a'.repeat(1 << 24)).includes('a'.repeat(1 << 23) + 'b')",
        "return Array.prototype.includes.call({ length: Number.MAX_SAFE_INTEGER }, 1)",
        "const forever = { toString() { while (true) {} } }; throw forever",
    ];
    let scripts = endless.map(|body| std::thread::spawn(move || ballot(body)));
    for (body, script) in endless.iter().zip(scripts) {
        assert_eq!(script.join().unwrap().unwrap_err().reason, TOOK_TOO_LONG, "{body}");
    }
    assert!(started.elapsed().as_secs() >= 5);
    // The deaf one still runs: it is not started beside itself, whatever else is.
    let again = Instant::now();
    assert_eq!(thrown(endless[4]), TOOK_TOO_LONG);
    assert!(again.elapsed().as_secs() < 1);
    assert_eq!(ballot("return true"), Ok(true));
}

#[test]
fn greedy_scripts_run_out_of_memory_or_stack_and_the_process_goes_on() {
    for body in [
        "new ArrayBuffer(200 * 1024 * 1024)",
        "const all = []; while (true) all.push(new ArrayBuffer(1 << 20))",
        "let text = 'a'; while (true) text += text",
        "const deep = () => deep(); deep()",
        "let list = []; for (let i = 0; i < 1e6; i++) list = [list]; JSON.stringify(list)",
        "JSON.parse('['.repeat(1e6))",
        "new RegExp('('.repeat(1e6))",
        "ccf.strToBuf('a'.repeat(90 << 20)); ccf.strToBuf('a'.repeat(90 << 20))",
    ] {
        assert!(ballot(body).is_err(), "{body}");
    }
    assert_eq!(ballot("return true"), Ok(true));
}

#[test]
fn governance_reads_tables_by_key_and_as_a_whole() {
    let store = store(&[
        ("public:ccf.gov.names", "b", "\"two\""),
        ("public:ccf.gov.names", "a", "\"one\""),
        ("public:ccf.internal.tree", "x", "\0\u{ff}"),
    ]);
    let check = |body: &str| assert_eq!(ballot_in(&store, body), Ok(true), "{body}");
    check("return ccf.bufToJsonCompatible(ccf.kv['public:ccf.gov.names'].get(ccf.strToBuf('a'))) === 'one'");
    check("return ccf.kv['public:ccf.gov.names'].get(ccf.strToBuf('c')) === undefined");
    check("const t = ccf.kv['public:ccf.gov.names']; return t.has(ccf.strToBuf('a')) && !t.has(ccf.strToBuf('c'))");
    check("return ccf.kv['public:ccf.gov.names'].size === 2");
    check("return ccf.kv['public:ccf.gov.names'].getVersionOfPreviousWrite(ccf.strToBuf('a')) === 3");
    check("return ccf.kv['public:ccf.gov.names'].getVersionOfPreviousWrite(ccf.strToBuf('c')) === undefined");
    check(
        "let all = ''; const table = ccf.kv['public:ccf.gov.names'];
         table.forEach((value, key, same) => { all += ccf.bufToStr(key) + ccf.bufToStr(value) + (same === table) });
         return all === 'a\"one\"trueb\"two\"true'",
    );
    check("return new Uint8Array(ccf.kv['public:ccf.internal.tree'].get(ccf.strToBuf('x'))).join() === '0,195,191'");
}

#[test]
fn only_governance_tables_are_written_and_only_by_apply() {
    let store = store(&[("public:ccf.gov.names", "a", "1"), ("public:ccf.gov.names", "b", "2")]);
    let denied = |body: &str| {
        let reason = ballot_in(&store, body).unwrap_err().reason;
        assert!(reason.starts_with("TypeError: Cannot call "), "{body}: {reason}");
        reason
    };
    let reason = denied("ccf.kv['public:ccf.gov.names'].set(ccf.strToBuf('a'), ccf.strToBuf('b'))");
    assert!(
        reason.contains("Cannot call set on table named public:ccf.gov.names. "),
        "{reason}"
    );
    denied("ccf.kv['public:ccf.gov.names'].delete(ccf.strToBuf('a'))");
    denied("ccf.kv['public:ccf.gov.names'].clear()");
    denied("ccf.kv['public:records'].get(ccf.strToBuf('a'))");
    denied("ccf.kv['secrets'].has(ccf.strToBuf('a'))");
    denied("ccf.kv['secrets'].forEach(() => {})");
    denied("ccf.kv['secrets'].size");

    let fails = |body: &str| assert!(applied(&store, body).is_err(), "{body}");
    fails("ccf.kv['public:ccf.internal.tree'].set(ccf.strToBuf('a'), ccf.strToBuf('b'))");
    fails("ccf.kv['secrets'].set(ccf.strToBuf('a'), ccf.strToBuf('b'))");
    fails("ccf.kv['public:records'].get(ccf.strToBuf('a'))");
    fails("ccf.kv['public:ccf.gov.names'].set(ccf.strToBuf('a'))");
    fails("ccf.kv['public:ccf.gov.names'].set('a', 'b')");

    let body = "const names = ccf.kv['public:ccf.gov.names'];
        names.forEach((value, key) => names.delete(key));
        if (names.size !== 0) throw 1;
        names.set(ccf.strToBuf('c'), ccf.strToBuf('3')).set(ccf.strToBuf('d'), new Uint8Array([1, 2]).buffer);
        if (ccf.bufToStr(names.get(ccf.strToBuf('c'))) !== '3') throw 2;
        ccf.kv['public:records'].set(ccf.strToBuf('e'), ccf.strToBuf('5'));";
    let (writes, asked) = applied(&store, body).unwrap();
    let expected = [
        ("public:ccf.gov.names a", None),
        ("public:ccf.gov.names b", None),
        ("public:ccf.gov.names c", Some("3")),
        ("public:ccf.gov.names d", Some("\u{1}\u{2}")),
        ("public:records e", Some("5")),
    ];
    let expected = expected.map(|(key, value)| (key.to_owned(), value.map(str::to_owned)));
    assert_eq!((writes.as_slice(), asked.len()), (&expected[..], 0));
}

#[test]
fn converters_keep_bytes_and_refuse_what_is_not_bytes() {
    let check = |body: &str| assert_eq!(ballot(body), Ok(true), "{body}");
    check("return ccf.bufToStr(ccf.strToBuf('grün 🦀')) === 'grün 🦀'");
    check("return ccf.strToBuf('ü').byteLength === 2");
    check("return ccf.bufToStr(ccf.jsonCompatibleToBuf({ b: 1, a: [null, 'x'] })) === '{\"b\":1,\"a\":[null,\"x\"]}'");
    check("return ccf.bufToJsonCompatible(ccf.strToBuf('{\"a\":1}')).a === 1");
    check("return new Uint8Array(ccf.crypto.digest('SHA-256', ccf.strToBuf('abc')))[0] === 0xba");
    for wrong in [
        "ccf.strToBuf(1)",
        "ccf.strToBuf('\\ud800')",
        "ccf.bufToStr('text')",
        "ccf.bufToStr(new Uint8Array(8))",
        "ccf.jsonCompatibleToBuf(undefined)",
        "ccf.strToBuf()",
    ] {
        assert!(thrown(wrong).starts_with("TypeError: "), "{wrong}: {}", thrown(wrong));
    }
    assert!(thrown("ccf.bufToJsonCompatible(ccf.strToBuf('{'))").starts_with("SyntaxError: "));
    assert!(thrown("ccf.crypto.digest('MD5', ccf.strToBuf(''))").starts_with("RangeError: "));
    assert!(thrown("ccf.crypto.sign()").contains("not available"));
    assert!(thrown("ccf.pemToId('no certificate')").contains("Failed to parse PEM"));
}

#[test]
fn time_stands_still_until_it_is_asked_for_and_chance_does_not() {
    let check = |body: &str| assert_eq!(ballot(body), Ok(true), "{body}");
    check("return Date.now() === 0 && new Date().getTime() === 0 && new Date(5).getTime() === 5");
    check("return new (new Date().constructor)().getTime() === 0 && typeof performance === 'undefined'");
    check("return ccf.enableUntrustedDateTime(true) === false && Date.now() > 1e12 && new Date() instanceof Date");
    check("const r = Math.random(); return r >= 0 && r < 1 && r !== Math.random()");
    check("return ccf.enableMetricsLogging(true) === false && ccf.enableMetricsLogging(false) === true");
    check("console.log('text', 1, { a: 1 }, null, undefined, new Error('x')); console.error(); return true");
}

#[test]
fn effects_reach_the_node_in_apply_only() {
    let empty = Store::new();
    let body = "const n = ccf.node;
        n.triggerLedgerRekey(); n.triggerRecoverySharesRefresh(); n.triggerLedgerChunk(); n.triggerSnapshot();
        n.transitionServiceToOpen(ccf.strToBuf('old'), ccf.strToBuf('new'));
        n.transitionServiceToOpen(undefined, ccf.strToBuf('new'));
        const made = ccf.network.generateEndorsedCertificate('csr', 'from', 30)
            + ccf.network.generateNetworkCertificate('from', 31) + ccf.network.getLatestLedgerSecretSeqno();
        if (made !== 'endorsedrenewed42') throw made;";
    let (writes, asked) = applied(&empty, body).unwrap();
    let expected = [
        "rekey",
        "refresh",
        "chunk",
        "snapshot",
        "open Some(\"old\") \"new\"",
        "open None \"new\"",
        "endorse csr from 30",
        "renew from 31",
    ];
    assert_eq!(asked, expected);
    assert_eq!(writes[0].0, format!("public:ccf.gov.opened {}", "\0".repeat(8)));
    for absent in [
        "ccf.node.triggerSnapshot()",
        "ccf.network.x",
        "ccf.setJwtPublicSigningKeys()",
    ] {
        assert!(thrown(absent).starts_with("TypeError"), "{absent}");
    }
    assert!(applied(&empty, "ccf.network.generateNetworkCertificate('from', 1.5)").is_err());
    let nothing = applied(&empty, "ccf.node.transitionServiceToOpen(undefined, undefined)").unwrap_err();
    assert_eq!(nothing.reason, "InternalError: Proposal requires a service identity");

    let mut effects = Recorder {
        refuse: Some("not today".to_owned()),
        ..Recorder::default()
    };
    let script = "export function apply() { ccf.node.transitionServiceToOpen(undefined, ccf.strToBuf('x')) }";
    let failure = apply(&mut empty.transaction(), script, "", "", &mut effects).unwrap_err();
    assert_eq!(failure.reason, "InternalError: Unable to open service: not today");
}

#[test]
fn the_nodes_own_work_does_not_count_as_the_scripts_time() {
    let mut slow = Recorder {
        takes: Duration::from_millis(6_500),
        ..Recorder::default()
    };
    let script = "export function apply() {
        ccf.node.transitionServiceToOpen(undefined, ccf.strToBuf('x'));
        for (let i = 0; i < 1e6; i++) {}
        ccf.kv['public:ccf.gov.x'].set(ccf.strToBuf('a'), ccf.strToBuf('b'));
    }";
    let empty = Store::new();
    let mut transaction = empty.transaction();
    apply(&mut transaction, script, "", "", &mut slow).unwrap();
    assert!(transaction.get("public:ccf.gov.x", b"a").is_some());
}

#[test]
fn a_constitution_validates_resolves_and_applies() {
    let empty = Store::new();
    let transaction = empty.transaction();
    let validation = |text| validate(&transaction, CONSTITUTION, text);
    assert!(validation(r#"{"do":"this"}"#).unwrap().valid);
    let refused = validation("{}").unwrap();
    assert_eq!(
        (refused.valid, refused.description.as_str()),
        (false, "there is nothing to do")
    );
    assert!(validation("{").unwrap_err().reason.starts_with("SyntaxError"));
    let none = "export function validate() { return true }";
    assert!(validate(&transaction, none, "").unwrap_err().reason.contains("object"));

    let decision = |votes: &[(&str, bool)], text: &str| {
        let votes = votes.iter().map(|(id, vote)| ((*id).to_owned(), *vote)).collect();
        resolve(&transaction, CONSTITUTION, text, "p", &votes, "id").unwrap()
    };
    assert_eq!(decision(&[("a", true)], "{}"), "Accepted");
    assert_eq!(decision(&[("a", false)], "{}"), "Open");
    assert_eq!(decision(&[("a", false)], r#"{"veto":"a"}"#), "Rejected");
    assert_eq!(decision(&[], r#"{"at_once":7}"#), "7");

    let mut transaction = empty.transaction();
    apply(
        &mut transaction,
        CONSTITUTION,
        r#"{"do":"it"}"#,
        "id",
        &mut Recorder::default(),
    )
    .unwrap();
    assert_eq!(
        read_json(&transaction, "public:ccf.gov.done", &SINGLETON_KEY),
        Some(json!("it"))
    );
}

#[test]
fn a_refresh_of_acme_certificates_does_nothing() {
    assert_eq!(
        applied(&Store::new(), "ccf.node.triggerACMERefresh(['a'])"),
        Ok((vec![], vec![]))
    );
}

const KEYS: &str = "public:ccf.gov.jwt.public_signing_keys_metadata_v2";

#[test]
fn keys_of_token_issuers_replace_those_before_and_leave_others_alone() {
    let store = Store::new();
    let mut transaction = store.transaction();
    let modulus = format!("{}AQ", "_".repeat(340));
    let set = |transaction: &mut Transaction<'_>, issuer: &str, kids: &[&str]| {
        let keys: Vec<_> = kids
            .iter()
            .map(|kid| json!({"kid": kid, "kty": "RSA", "n": modulus, "e": "AQAB"}))
            .collect();
        jwt::set_keys(transaction, issuer, &json!({"keys": keys}).to_string())
    };
    set(&mut transaction, "https://a.example", &["one", "two"]).unwrap();
    set(&mut transaction, "https://b.example", &["two"]).unwrap();
    let issuers = |transaction: &Transaction<'_>, kid: &str| -> Vec<String> {
        let keys = read_json(transaction, KEYS, kid.as_bytes()).unwrap_or_default();
        let keys = keys.as_array().cloned().unwrap_or_default();
        keys.iter()
            .map(|key| key["issuer"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(issuers(&transaction, "two"), ["https://a.example", "https://b.example"]);
    set(&mut transaction, "https://a.example", &["three"]).unwrap();
    assert!(issuers(&transaction, "one").is_empty());
    assert_eq!(issuers(&transaction, "two"), ["https://b.example"]);
    jwt::remove_keys(&mut transaction, "https://a.example");
    assert!(issuers(&transaction, "three").is_empty());
    assert_eq!(issuers(&transaction, "two"), ["https://b.example"]);
}

#[test]
fn keys_of_token_issuers_are_refused_as_a_whole_if_one_is_bad() {
    let store = Store::new();
    let mut transaction = store.transaction();
    let x = "A".repeat(43);
    for (jwk, words) in [
        (json!({"kty": "RSA"}), "Missing kid"),
        (json!({"kid": "k"}), "neither"),
        (json!({"kid": "k", "n": "AQ", "e": "AQ"}), "RSA"),
        (json!({"kid": "k", "x": x, "y": x, "crv": "P-999"}), "P-999"),
        (json!({"kid": "k", "x": "AQ", "y": x, "crv": "P-256"}), "expected 32"),
        (json!({"kid": "k", "x5c": ["AAAA"]}), "X.509"),
        (
            json!({"kid": "k", "x": x, "y": x, "crv": "P-256", "issuer": "https://evil.example"}),
            "constraint",
        ),
    ] {
        let good = json!({"kid": "good", "x": x, "y": x, "crv": "P-256", "issuer": "https://example.com/v2"});
        let set = json!({"keys": [good, jwk]}).to_string();
        let why = jwt::set_keys(&mut transaction, "https://login.example.com", &set).unwrap_err();
        assert!(why.contains(words), "{why}");
    }
    assert!(jwt::set_keys(&mut transaction, "i", r#"{"keys":[]}"#).is_err());
    assert!(jwt::set_keys(&mut transaction, "i", "[").is_err());
    assert!(transaction.into_writes().is_empty());
}

#[test]
fn the_version_told_is_the_one_that_is_built_in() {
    let lock = include_str!("../../Cargo.lock");
    let (_, after) = lock.split_once("name = \"rquickjs-sys\"\n").unwrap();
    assert!(after.starts_with("version = \"0.14.0\"\n"), "change ENGINE with it");
}
