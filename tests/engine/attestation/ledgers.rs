//! The nodes of every real ledger at hand. All of them are virtual, or of builds without a quote: none is attested.

use super::*;

use crate::support::{self, Run};

#[test]
fn no_node_of_the_real_ledgers_is_attested_and_their_keys_are_those_they_say() {
    let Some(ledgers) = support::ledgers() else { return };
    let verifier = Verifier::new(Anchors::built_in());
    let mut seen = 0;
    for name in support::expected(&ledgers).keys() {
        let arguments = ["export", ledgers.join(name).to_str().unwrap(), "--history", "-o", "-"].map(Into::into);
        let table = ["--table", "^public:ccf.gov.nodes.info$"].map(Into::into);
        for write in support::lines(&Run::of(&[&arguments[..], &table].concat()).expect(0).text()) {
            let Some(text) = write["value"].as_str() else { continue };
            let info: Value = serde_json::from_str(text).unwrap();
            let evidence = Evidence::from_quote_info(info["quote_info"].to_string().as_bytes()).unwrap();
            let key = info["public_key"].as_str().unwrap();
            let key = rekindle::crypto::VerifyingKey::from_spki_pem(key).unwrap();
            let subject = Subject {
                public_key_der: Some(key.spki_der()),
                code_digest: info["code_digest"].as_str(),
            };
            let judged = verifier.judge(&evidence, &subject, None, Time::None);
            seen += 1;
            assert_eq!(
                judged.judgement.verdict(),
                Verdict::Unattested,
                "{name} {:?}",
                judged.judgement
            );
            assert!(judged.judgement.refusal().is_some());
            if !evidence.quote.is_empty() {
                assert_eq!(judged.judgement.outcome(Check::ReportData), Some(&Outcome::Passed));
                assert_eq!(judged.judgement.outcome(Check::CodeDigest), Some(&Outcome::Passed));
            }
        }
    }
    assert!(seen > 30, "{seen}");
}
