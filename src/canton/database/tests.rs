use std::io::Write;

use super::*;
use crate::canton::evidence::{Comparison, Period};
use crate::canton::name::Participant;

fn participant(name: &str) -> String {
    let digits: String = name
        .bytes()
        .cycle()
        .take(33)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("PAR::{name}::1220{}", &digits[..64])
}

fn read_text(text: &str) -> Database {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    read(&Source::File(file.path().to_owned()), &Options::default()).unwrap()
}

fn dump(body: &str) -> String {
    format!("--\n-- PostgreSQL database dump\n--\n\n{body}\n--\n-- PostgreSQL database dump complete\n--\n")
}

fn copy(table: &str, columns: &str, rows: &[&str]) -> String {
    format!(
        "COPY participant.{table} ({columns}) FROM stdin;\n{}\\.\n\n",
        rows.iter().map(|row| format!("{row}\n")).collect::<String>()
    )
}

fn codes(database: Database) -> Vec<Code> {
    database.findings.finish().iter().map(|finding| finding.code).collect()
}

fn at(micros: i64) -> Timestamp {
    Timestamp::from_micros(micros).unwrap()
}

#[test]
fn rows_in_any_order_of_columns_and_of_tables_become_evidence() {
    let (alice, bob) = (participant("alice"), participant("bob"));
    for index in ["synchronizer_idx", "domain_idx", "domain_id"] {
        let outstanding = copy(
            "par_outstanding_acs_commitments",
            &format!(
                "matching_state, counter_participant, {index}, to_inclusive, from_exclusive, multi_hosted_cleared"
            ),
            &[
                &format!("2\t{bob}\t7\t120000000\t60000000\tf"),
                &format!("3\t{bob}\t7\t180000000\t120000000\tf"),
                &format!("5\t{bob}\t7\t240000000\t180000000\tf"),
                &format!("4\t{bob}\t7\t300000000\t240000000\tf"),
                &format!("1\t{bob}\t8\t300000000\t240000000\tf"),
            ],
        );
        let rest = [
            copy(
                "par_last_computed_acs_commitments",
                &format!("{index}, ts"),
                &["7\t240000000"],
            ),
            copy(
                "par_received_acs_commitments",
                &format!("{index}, sender, from_exclusive, to_inclusive, signed_commitment"),
                &[&format!("7\t{bob}\t0\t300000000\t\\\\x00")],
            ),
            copy(
                "par_commitment_pruning",
                &format!("{index}, phase, ts, succeeded"),
                &["7\tcompleted\t30000000\t\\N"],
            ),
            copy(
                "lapi_parameters",
                "ledger_end, participant_id, participant_pruned_up_to_inclusive, ledger_end_publication_time",
                &[&format!("42\t{}\t\\N\t250000000", alice.trim_start_matches("PAR::"))],
            ),
            copy(
                "common_static_strings",
                "id, string, source",
                &["7\tglobal-domain::1220be58c29e65de40\t1", "8\tno synchronizer\t3"],
            ),
        ];
        let database = read_text(&dump(&format!("{outstanding}{}", rest.concat())));
        assert_eq!(database.ending, Ending::Clean);
        assert_eq!(database.evidence.participant, Participant::parse(&alice));
        assert_eq!((database.ledger.end, database.ledger.pruned_up_to), (Some(42), None));
        assert_eq!(database.ledger.end_published, Some(at(250_000_000)));
        let expected = States {
            not_compared: 1,
            matched: 1,
            mismatched: 1,
            buffered: 1,
            outstanding: 1,
        };
        assert_eq!(database.states, expected);
        let global = &database.evidence.observations["global-domain::1220be58c29e"];
        let bob = Participant::parse(&bob).unwrap();
        let compared: Vec<_> = global
            .compared
            .iter()
            .map(|((who, period), what)| (who, period.to_inclusive, what.iter().next().unwrap()))
            .collect();
        assert_eq!(
            compared,
            [
                (&bob, at(120_000_000), Comparison::Correct),
                (&bob, at(180_000_000), Comparison::Mismatch)
            ]
        );
        let first = Period {
            from_exclusive: at(60_000_000),
            to_inclusive: at(120_000_000),
        };
        assert!(global.compared.has(&bob, &first, Comparison::Correct));
        assert_eq!(global.sent[&bob], at(300_000_000));
        assert_eq!(
            (global.reached, global.pruned),
            (Some(at(240_000_000)), Some(at(30_000_000)))
        );
        assert!(codes(database).is_empty());
    }
}

#[test]
fn a_synchronizer_without_a_name_keeps_its_index() {
    let text = copy(
        "par_last_computed_acs_commitments",
        "synchronizer_idx, ts",
        &["3\t1000000"],
    );
    let database = read_text(&dump(&text));
    assert!(database.evidence.observations.contains_key("idx:3"));
    assert_eq!(codes(database), [Code::SynchronizerUnnamed]);
}

#[test]
fn a_logical_and_a_physical_index_are_one_synchronizer() {
    let text = copy(
        "par_last_computed_acs_commitments",
        "synchronizer_idx, ts",
        &["1\t1000000", "2\t2000000"],
    ) + &copy(
        "common_static_strings",
        "id, string, source",
        &[
            "1\tglobal-domain::1220be58c29e65de40\t1",
            "2\tglobal-domain::1220be58c29e65de40::34-0\t2",
        ],
    );
    for aliases in [
        copy(
            "par_synchronizers",
            "order_number, alias, synchronizer_id, status",
            &["1\tglobal\tglobal-domain::1220be58c29e65de40\tA"],
        ),
        copy(
            "par_registered_synchronizers",
            "synchronizer_alias, physical_synchronizer_id",
            &["global\tglobal-domain::1220be58c29e65de40::34-0"],
        ),
        copy(
            "par_domains",
            "order_number, alias, domain_id, status",
            &["1\tglobal\tglobal-domain::1220be58c29e65de40\tA"],
        ),
    ] {
        let database = read_text(&dump(&format!("{text}{aliases}")));
        assert!(
            database
                .synchronizers
                .iter()
                .all(|found| found.alias.as_deref() == Some("global"))
        );
    }
    let database = read_text(&dump(&text));
    assert_eq!(database.synchronizers.len(), 2);
    let observations = &database.evidence.observations;
    assert_eq!(observations.len(), 1);
    assert_eq!(observations["global-domain::1220be58c29e"].reached, Some(at(2_000_000)));
}

#[test]
fn what_is_not_understood_is_said_and_the_rest_counts() {
    let bob = participant("bob");
    let text = copy(
        "par_outstanding_acs_commitments",
        "synchronizer_idx, from_exclusive, to_inclusive, counter_participant, matching_state",
        &[
            &format!("1\t0\t60000000\t{bob}\t2"),
            &format!("1\t0\t60000000\t{bob}\t6"),
            &format!("1\tx\t60000000\t{bob}\t2"),
            &format!("1\t0\t9223372036854775807\t{bob}\t2"),
            &format!("\\N\t0\t60000000\t{bob}\t5"),
            "1\t0\t60000000\tnobody\t2",
        ],
    );
    let database = read_text(&dump(&text));
    assert_eq!((database.states.matched, database.ending), (1, Ending::Clean));
    let odd = database.findings.finish();
    let odd = odd
        .iter()
        .find(|finding| finding.code == Code::CommitmentRowsOdd)
        .unwrap();
    assert!(odd.message.starts_with("5 rows"), "{}", odd.message);
}

#[test]
fn other_databases_and_other_tables_are_told() {
    let none = dump(&copy("sequencer_watermarks", "node_index, watermark_ts", &["0\t1"]));
    assert_eq!(codes(read_text(&none)), [Code::NoCommitmentTables]);
    let new = dump(&copy("par_acs_commitment_digests", "a", &["0"]));
    assert_eq!(codes(read_text(&new)), [Code::NewCommitmentTables]);
    let old = copy(
        "par_outstanding_acs_commitments",
        "domain_id, from_exclusive, to_inclusive, counter_participant",
        &[],
    );
    assert_eq!(
        codes(read_text(&dump(&old))),
        [Code::NoCommitmentTables, Code::CommitmentRowsOdd]
    );
}

#[test]
fn several_participants_are_refused_and_other_nodes_are_not_in_the_way() {
    let rows = copy(
        "par_last_computed_acs_commitments",
        "synchronizer_idx, ts",
        &["3\t1000000"],
    ) + &copy(
        "lapi_parameters",
        "ledger_end, participant_id",
        &["\\N\tsv::1220be58c29e"],
    );
    let empty = copy("par_last_computed_acs_commitments", "synchronizer_idx, ts", &[])
        + &copy("common_node_id", "identifier, namespace", &["sequencer\t1220be58c29e"]);
    let all = dump(&format!("\\connect sequencer\n{empty}\\connect participant\n{rows}"));
    let one = read_text(&all);
    assert_eq!(one.evidence.participant.unwrap().identifier(), "sv");
    let two = read_text(&dump(&format!("\\connect a\n{rows}\\connect b\n{rows}")));
    assert_eq!((two.ending, two.evidence.observations.len()), (Ending::Unreadable, 0));
    assert!(codes(two).contains(&Code::SeveralParticipants));
}
