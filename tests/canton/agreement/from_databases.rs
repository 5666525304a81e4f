//! From participants' databases, dumped and running, to the timestamp.

use rekindle::canton::agreement::decide;
use serde_json::Value;

use super::command::timestamp;
use super::decisions::{calm, settings, svs};
use super::disaster::{Disaster, SYNCHRONIZER};
use super::from_logs::answer;
use crate::postgres::Postgres;

/// The tables of SPEC-CANTON 1.6, with what an SV's log would say.
fn tables(disaster: &Disaster, sv: usize) -> String {
    let whole = |sv: usize| {
        let participant = disaster.participant(sv);
        format!(
            "PAR::{}::{}{}",
            participant.identifier(),
            participant.shortened(),
            "0".repeat(56)
        )
    };
    let rows: Vec<String> = disaster
        .records(sv)
        .iter()
        .map(|record| {
            let state = if record.agrees { 2 } else { 3 };
            let (from, to) = (disaster.at(record.from).micros(), disaster.at(record.to).micros());
            format!("(1, {from}, {to}, '{}', {state}, '')", whole(record.sender))
        })
        .collect();
    format!(
        "CREATE SCHEMA participant;
         CREATE TABLE participant.common_static_strings (id int, string varchar, source int);
         INSERT INTO participant.common_static_strings VALUES (1, '{SYNCHRONIZER}{zeros}', 1);
         CREATE TABLE participant.lapi_parameters (ledger_end bigint, participant_id varchar,
             participant_pruned_up_to_inclusive bigint, ledger_end_publication_time bigint);
         INSERT INTO participant.lapi_parameters VALUES (4711, '{owner}', NULL, 1);
         CREATE TABLE participant.par_outstanding_acs_commitments (synchronizer_idx int, from_exclusive bigint,
             to_inclusive bigint, counter_participant varchar, matching_state smallint, multi_hosted_cleared varchar);
         INSERT INTO participant.par_outstanding_acs_commitments VALUES {rows};",
        zeros = "0".repeat(56),
        owner = whole(sv),
        rows = rows.join(", ")
    )
}

#[test]
fn databases_give_the_answer_of_the_facts() {
    let Some(server) = Postgres::start() else { return };
    let mut disaster = calm();
    (disaster.svs[0].reached, disaster.svs[1].forked) = (20, Some(30));
    (disaster.svs[2].lags, disaster.svs[2].reached) = (Some(10), 30);
    let mut args = vec!["--json".to_owned()];
    for (at, sv) in disaster.svs.iter().enumerate() {
        let database = format!("participant_{at}");
        server.sql("postgres", &format!("CREATE DATABASE {database}"));
        server.sql(&database, &tables(&disaster, at));
        let source = match at {
            0 => server
                .dump("pg_dump", &["-Fc", &database], "custom.dump")
                .display()
                .to_string(),
            1 => server
                .dump("pg_dump", &["-Fd", &database], "directory")
                .display()
                .to_string(),
            2 => server
                .dump("pg_dump", &["--inserts", &database], "inserts.sql")
                .display()
                .to_string(),
            3 => server.dump("pg_dump", &[&database], "plain.sql").display().to_string(),
            _ => server.address(&database),
        };
        args.extend(["--participant-db".to_owned(), format!("{}={source}", sv.name)]);
    }
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let output = timestamp(server.path(), &args);
    let document: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"));
    let facts = serde_json::to_value(decide(&svs(&disaster), &settings(&disaster)).unwrap()).unwrap();
    assert_eq!(answer(&document), answer(&facts));
}

#[test]
fn an_address_is_never_repeated_where_it_is_wrong() {
    let directory = tempfile::tempdir().unwrap();
    for given in [
        "sv-1=postgres://me:s3cret@h/d",
        "postgres://me:s3cret@h/d=x",
        "sv:1=postgres://me:s3cret@h/d",
    ] {
        let output = timestamp(directory.path(), &["--participant-db", given]);
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.code() == Some(2) && !text.contains("s3cret"), "{text}");
    }
}
