use super::*;

#[test]
fn an_epoch_covers_its_first_and_last_transaction_and_no_other_view() {
    let txid = |view, seqno| TxId { view, seqno };
    let epoch = Epoch {
        begin: txid(4, 41),
        end: txid(6, 80),
    };
    for inside in [txid(4, 41), txid(6, 80), txid(5, 60)] {
        assert!(epoch.covers(inside), "{inside}");
    }
    for outside in [txid(4, 40), txid(6, 81), txid(3, 60), txid(7, 60), txid(0, 0)] {
        assert!(!epoch.covers(outside), "{outside}");
    }
}

#[test]
fn nothing_leads_anywhere_without_a_key_that_is_trusted() {
    let chain = follow(&[], &[vec![0xd2], Vec::new()]);
    assert!(chain.keys.is_empty());
    assert_eq!(chain.faults.len(), 2);
}
