//! From logs to the timestamp: directly, and over evidence files.

use rekindle::canton::agreement::decide;
use rekindle::canton::evidence::file;
use rekindle::canton::logs;
use serde_json::Value;

use super::command::timestamp;
use super::decisions::{calm, settings, svs};
use super::disaster::lines::{ENCODERS, Encoder, PACKS, Pack, WRAPPERS, Wrapper};
use super::disaster::{Dice, Disaster, Log};

/// Writes all logs, decides from them by both ways, and gives both documents and the disaster's own.
fn all_ways(disaster: &Disaster, how: (Encoder, Wrapper, Pack), dice: &mut Dice) -> [Value; 3] {
    let directory = tempfile::tempdir().unwrap();
    let margin = disaster.margin_s.to_string();
    let list: Vec<String> = disaster
        .svs
        .iter()
        .map(|sv| format!("{}={}", sv.name, sv.participant))
        .collect();
    let list = list.join(",");
    let common = ["--json", "--margin", &margin, "--svs", &list].map(str::to_owned);
    let (mut direct, mut over_files) = (common.to_vec(), common.to_vec());
    for (at, sv) in disaster.svs.iter().enumerate() {
        let Some(path) = disaster.write_log(at, how, directory.path(), dice) else {
            continue;
        };
        direct.extend(["--log".to_owned(), format!("{}={}", sv.name, path.display())]);
        let scanned = logs::scan(&[path], &logs::Settings::default(), &|_| {}).unwrap();
        let json = file::to_json(&sv.name, &scanned.evidence).unwrap();
        let name = format!("{}.json", sv.name);
        std::fs::write(directory.path().join(&name), json).unwrap();
        over_files.extend(["--evidence".to_owned(), name]);
    }
    let decided = decide(&svs(disaster), &settings(disaster)).unwrap();
    let document = |args: &[String]| -> Value {
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let output = timestamp(directory.path(), &args);
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"))
    };
    [
        document(&direct),
        document(&over_files),
        serde_json::to_value(&decided).unwrap(),
    ]
}

/// What has to be the same whichever way it was found.
pub fn answer(document: &Value) -> Value {
    let fields = [
        "verdict",
        "timestamp",
        "agreed",
        "quorum",
        "support",
        "table",
        "synchronizer",
        "pairs",
    ];
    let mut answer: serde_json::Map<String, Value> = fields
        .iter()
        .map(|field| ((*field).to_owned(), document[*field].clone()))
        .collect();
    let svs = document["svs"].as_array().unwrap().iter();
    let verdicts = svs
        .map(|sv| serde_json::json!([sv["name"], sv["verdict"], sv["action"], sv["donors"]]))
        .collect();
    answer.insert("svs".to_owned(), verdicts);
    answer.into()
}

#[test]
fn every_encoder_wrapper_and_packing_gives_the_answer_of_the_facts() {
    let mut disaster = calm();
    (disaster.svs[0].reached, disaster.svs[1].forked) = (20, Some(30));
    (disaster.svs[2].lags, disaster.svs[2].reached) = (Some(10), 30);
    disaster.svs[3].log = Log::Cut(5, 33);
    let mut dice = Dice::new(7);
    let mut nth = 0;
    for encoder in ENCODERS {
        for wrapper in WRAPPERS {
            nth += 1;
            let how = (encoder, wrapper, PACKS[nth % PACKS.len()]);
            let [direct, over_files, facts] = all_ways(&disaster, how, &mut dice);
            assert_eq!(answer(&direct), answer(&facts), "{how:?}");
            assert_eq!(answer(&over_files), answer(&facts), "{how:?}");
            assert_eq!(direct["evidence_digest"], over_files["evidence_digest"]);
        }
    }
}

#[test]
fn made_up_disasters_are_decided_alike_from_logs_and_over_files() {
    for seed in 0..10 {
        let disaster = Disaster::new(seed);
        if disaster.svs.len() > 14 {
            continue;
        }
        let mut dice = Dice::new(seed);
        let how = (ENCODERS[dice.below(3)], WRAPPERS[dice.below(5)], PACKS[dice.below(4)]);
        let [direct, over_files, facts] = all_ways(&disaster, how, &mut dice);
        assert_eq!(answer(&direct), answer(&facts), "{seed}: {how:?}");
        assert_eq!(answer(&over_files), answer(&facts), "{seed}: {how:?}");
        assert_eq!(direct["evidence_digest"], over_files["evidence_digest"]);
    }
}
