//! Three copies, damaged in seeded ways: whenever every entry is somewhere the result is complete and the same byte for byte;
//! otherwise it ends exactly before the first entry that no copy holds.

use std::path::Path;

use rekindle::recovery::salvage::{Options, salvage};
use rekindle::report::progress::Silent;

use super::damage::{
    Copy, Original, complaint, complaint_of_entries, cut_anew, first_missing, holds_after, proven_before, read,
};
use super::dice::Dice;

/// In memory where there is such a place: thousands of files are synced.
pub fn scratch() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm")
        .or_else(|_| tempfile::tempdir())
        .unwrap()
}

/// How far it came.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Came {
    Whole,
    UpToTheGap,
    /// The signature over what is missing is missing, too, so that nothing tells where the sound entries end.
    Proven,
}

/// Damages copies of one ledger by a seed, and holds what is salvaged against what must come of it. Answers
/// how far it came.
pub fn one(files: &[Original], seed: u64, heavy: usize) -> Result<Came, String> {
    let mut dice = Dice(seed);
    let mut copies: Vec<Copy> = (0..3).map(|_| Copy::sound(files)).collect();
    for copy in &mut copies {
        for _ in 0..dice.below(heavy) {
            copy.damage(&mut dice, files);
        }
    }
    judge(files, &copies, seed, &complaint)
}

/// What is not as it must be in an output that is everything, or everything before a seqno.
type Complain = dyn Fn(&[Original], &Path, Option<u64>) -> Option<String>;

/// The same where each copy was cut into chunks at places of its own: `verify` must accept what comes of it.
pub fn cut_differently(files: &[Original], seed: u64, heavy: usize) -> Result<Came, String> {
    let mut dice = Dice(seed);
    let mut copies = Vec::new();
    for _ in 0..3 {
        let own = cut_anew(files, &mut dice);
        let mut copy = Copy::sound(&own);
        // A copy of which nothing is left up to the end of what is proven is not known to be one: not so many.
        for _ in 0..dice.below(heavy.min(12)) {
            copy.damage(&mut dice, &own);
        }
        copies.push(copy);
    }
    judge(files, &copies, seed, &|files, output, missing| {
        let ledger = output.join("ledger");
        let why = complaint_of_entries(files, output, missing);
        if why.is_some() || !ledger.exists() {
            return why;
        }
        let run = rekindle!["verify", ledger];
        (run.code != Some(0)).then(|| format!("verify: {} {}", run.text(), run.stderr))
    })
}

/// One entry wiped out in every copy, in two of three, and in all but a copy that is cut differently.
pub fn hole(files: &[Original], seqno: u64) -> Result<(), String> {
    let wiped = |count: usize| -> Vec<Copy> {
        let mut copies: Vec<Copy> = (0..3).map(|_| Copy::sound(files)).collect();
        copies.iter_mut().take(count).for_each(|copy| copy.wipe(files, seqno));
        copies
    };
    let came = judge(files, &wiped(2), seqno, &complaint)?;
    if came != Came::Whole {
        return Err(format!("{seqno} is there, but it came {came:?}"));
    }
    match judge(files, &wiped(3), seqno, &complaint)? {
        Came::Whole if files.last().is_some_and(|file| seqno < file.first) => Err(format!("{seqno} is nowhere")),
        _ => Ok(()),
    }
}

/// Holds what is salvaged from copies against what must come of it.
fn judge(files: &[Original], copies: &[Copy], seed: u64, complain: &Complain) -> Result<Came, String> {
    let scratch = scratch();
    let mut directories = Vec::new();
    for (number, copy) in copies.iter().enumerate() {
        let directory = scratch.path().join(format!("copy{number}"));
        copy.write(&directory);
        directories.push(directory);
    }
    let output = scratch.path().join("out");
    let options = Options {
        copies: directories,
        output: output.clone(),
        service_certificate: None,
        prefer: None,
    };
    let missing = first_missing(files, copies);
    let said = || {
        copies
            .iter()
            .map(|copy| copy.said.join(", "))
            .collect::<Vec<_>>()
            .join("; ")
    };
    let report = salvage(&options, &Silent).map_err(|why| format!("seed {seed}: {why}: {}", said()))?;
    // Nobody can tell of entries that no copy knows of.
    let is_told_of = missing.is_some_and(|missing| holds_after(files, copies, missing));
    if (report.is_complete && is_told_of) || (!report.is_complete && missing.is_none()) {
        return Err(format!(
            "seed {seed}: complete is {}, missing {missing:?}, ends at {}: {}; {:?}",
            report.is_complete,
            report.last_seqno,
            said(),
            report.findings
        ));
    }
    if let Some(missing) = missing
        && complain(files, &output, Some(missing)).is_some()
        && let Some(proven) = proven_before(files, copies, missing)
    {
        let end = report.last_seqno;
        let signed = report.last_signed.map_or(0, |signed| signed.seqno);
        let wrong = match end < missing {
            true => complain(files, &output, Some(end + 1)),
            false => None,
        };
        return match (wrong, signed == proven && (proven > 0 || end == 0)) {
            (None, true) => Ok(Came::Proven),
            (why, _) => Err(format!(
                "seed {seed}: missing {missing}, proven {proven}, signed {signed}, ends at {end}: {why:?}: {}; {:?}",
                said(),
                report.findings
            )),
        };
    }
    match complain(files, &output, missing) {
        Some(why) => Err(format!(
            "seed {seed}: missing {missing:?}: {why}: {}; {:?}",
            said(),
            report.findings
        )),
        None if missing.is_some() => Ok(Came::UpToTheGap),
        None => Ok(Came::Whole),
    }
}

/// So many seeds over one ledger. Some must be mended and some not, or the damage is not what it should be.
#[track_caller]
pub fn many(directory: &Path, seeds: std::ops::Range<u64>) {
    many_of(directory, seeds, one);
}

/// How one seed is tried.
type Try = fn(&[Original], u64, usize) -> Result<Came, String>;

#[track_caller]
pub fn many_of(directory: &Path, seeds: std::ops::Range<u64>, one: Try) {
    let files = read(directory);
    let mut wrong = Vec::new();
    let mut came = std::collections::BTreeMap::new();
    for seed in seeds.clone() {
        match one(&files, seed, [3, 6, 12, 24][(seed % 4) as usize]) {
            Ok(how) => *came.entry(how).or_insert(0) += 1,
            Err(why) => wrong.push(why),
        }
    }
    println!("{}: {came:?}", directory.display());
    assert!(
        wrong.is_empty(),
        "{} of {seeds:?}: {:#?}",
        wrong.len(),
        &wrong[..wrong.len().min(5)]
    );
    let of = |how| came.get(&how).copied().unwrap_or(0);
    let (whole, exact) = (of(Came::Whole), of(Came::UpToTheGap));
    assert!(
        whole > 0 && exact > 0 && whole + exact > 2 * of(Came::Proven),
        "{came:?}"
    );
}
