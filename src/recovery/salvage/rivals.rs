//! Which history is taken where the copies hold more than one that is signed.
//!
//! Wherever a signature contradicts the history that was grown, a second one is grown without the entry in which they part. If it
//! is signed too, the rules of `compare` decide: the tail of a lower view gave way, a recovery that did not open is as if it
//! had never been, and what contradicts each other is refused unless the operator has said whose it is to be.

use std::collections::{BTreeSet, HashSet};

use super::differences::{Difference, all, leaf_of};
use super::growth::grow;
use super::history::Grown;
use super::pool::{Found, Pool};
use super::report::LeftOut;
use super::sources::Source;
use crate::error::Result;
use crate::format::{Seqno, TxId};
use crate::recovery::commits::Commit;
use crate::recovery::compare::contest::{Contest, Suffix, decide};
use crate::report::progress::Silent;
use crate::report::{Code, Finding, Findings};
use crate::shown::Show;
use crate::tables::values::HexDigest;

/// Places where histories part that are looked into.
const MAX_PLACES: usize = 64;
/// Histories that take each other's place: an election leaves one, a day of them a dozen.
const MAX_ROUNDS: usize = 32;

/// The history that was decided for.
pub struct Settled {
    /// It.
    pub grown: Grown,
    /// Those that were not.
    pub left_out: Vec<LeftOut>,
    /// Whether two contradict each other, and nobody said which to take.
    pub refused: bool,
    /// What the files hold that is not in it.
    pub differences: Vec<Difference>,
}

/// What the operator said.
#[derive(Clone, Copy)]
pub struct Wish {
    /// The copy whose history is taken.
    pub prefer: Option<usize>,
    /// The service that must have signed last.
    pub service: Option<HexDigest>,
}

/// Which of two histories is taken.
pub enum Taken {
    /// The first; why not the second.
    First(String),
    /// The second; why not the first.
    Second(String),
    /// They contradict each other; how.
    Neither(String),
}

/// Decides between what was grown and everything that contradicts it.
///
/// # Errors
/// If a file can't be read.
pub fn settle(pool: &mut Pool, mut grown: Grown, wish: Wish, findings: &mut Findings) -> Result<Settled> {
    let mut left_out: Vec<LeftOut> = Vec::new();
    let mut differences = Vec::new();
    // Histories that contradict each other, and none of them is of the service that was asked for: another one may be.
    let mut passed: Vec<(Grown, Seqno, String)> = Vec::new();
    for round in 0..MAX_ROUNDS {
        if let Some(from) = begins_unopened(pool, &grown) {
            let why = "a recovery that did not open, which CCF discards".to_owned();
            left_out.push(describe(pool, &grown, from, why, findings));
            grown = without(pool, &grown, from, wish)?.0;
            continue;
        }
        differences = all(pool, &grown)?;
        let places: BTreeSet<Seqno> = differences
            .iter()
            .flat_map(|found| found.rivals.iter().copied())
            .collect();
        if places.len() > MAX_PLACES {
            let text =
                format!("signatures contradict the result at more than {MAX_PLACES} places; not all were looked into");
            findings.push(Finding::new(Code::SalvageBroken, text));
        }
        let mut replaced = false;
        // Several may part from it at one place.
        let places = places.iter().take(MAX_PLACES);
        let mut waiting: Vec<(Seqno, usize)> = places.rev().map(|&at| (at, 0)).collect();
        while let Some((at, before)) = waiting.pop() {
            let (other, killed) = without(pool, &grown, at, wish)?;
            // The same signature with other bytes, which nothing covers, is no other history.
            let is_other = |last: &TxId| last.seqno > at || (last.seqno == at && !grown.signed.contains(last));
            if !other.signed.last().is_some_and(is_other) {
                pool.revive(&killed);
                continue;
            }
            match choose(pool, &grown, &other, at, wish)? {
                Taken::First(why) => {
                    pool.revive(&killed);
                    left_out.push(describe(pool, &other, at, why, findings));
                    if let Some(leaf) = leaf_of(pool, &other, at)?.filter(|_| before < MAX_ROUNDS) {
                        pool.kill(at, &leaf)?;
                        waiting.push((at, before + 1));
                    }
                }
                Taken::Second(why) => {
                    left_out.push(describe(pool, &grown, at, why, findings));
                    grown = other;
                    replaced = true;
                    break;
                }
                Taken::Neither(why) if wish.service.is_some() && round + 1 < MAX_ROUNDS => {
                    passed.push((std::mem::replace(&mut grown, other), at, why));
                    replaced = true;
                    break;
                }
                Taken::Neither(why) => {
                    let text = format!("the copies hold two signed histories that differ from seqno {at} on: {why}");
                    findings.push(Finding::new(Code::SalvageFork, text).seqno(at));
                    return Ok(Settled {
                        grown,
                        left_out,
                        refused: true,
                        differences,
                    });
                }
            }
        }
        if !replaced {
            break;
        }
        if round + 1 == MAX_ROUNDS {
            let text = format!("there are more than {MAX_ROUNDS} signed histories; not all were looked into");
            findings.push(Finding::new(Code::SalvageBroken, text));
        }
    }
    let is_found = passed.is_empty() || grown.service() == wish.service;
    for (other, at, why) in passed {
        if !is_found {
            let text = format!("the copies hold two signed histories that differ from seqno {at} on: {why}");
            findings.push(Finding::new(Code::SalvageFork, text).seqno(at));
            return Ok(Settled {
                grown,
                left_out,
                refused: true,
                differences,
            });
        }
        let why = "it is not of the service that was asked for".to_owned();
        left_out.push(describe(pool, &other, at, why, findings));
    }
    Ok(Settled {
        grown,
        left_out,
        refused: false,
        differences,
    })
}

/// The history that there is without the entry that this one has at a seqno, and the places that must be revived if it is not
/// taken.
fn without(pool: &mut Pool, grown: &Grown, at: Seqno, wish: Wish) -> Result<(Grown, Vec<(usize, Seqno)>)> {
    let killed = match leaf_of(pool, grown, at)? {
        Some(leaf) => pool.kill(at, &leaf)?,
        None => Vec::new(),
    };
    Ok((grow(pool, grown.before(at), wish.prefer, &Silent)?, killed))
}

/// The sources of a history from a seqno on, each once.
fn sources_from(grown: &Grown, at: Seqno) -> impl Iterator<Item = usize> {
    let begin = grown.pieces.partition_point(|piece| piece.last < at);
    let mut seen = HashSet::new();
    let all = grown.pieces.iter().skip(begin).map(|piece| piece.source);
    all.filter(move |source| seen.insert(*source))
}

/// Whether what a history has from a seqno on is only in files of a recovery, and that service did not open.
fn is_unopened(pool: &Pool, grown: &Grown, at: Seqno) -> bool {
    let is_recovery = |source: usize| pool.same(source).all(Source::is_recovery);
    !grown.state.trust.is_open() && sources_from(grown, at).all(is_recovery)
}

/// Where the last service begins, if it is that of a recovery which did not open.
fn begins_unopened(pool: &Pool, grown: &Grown) -> Option<Seqno> {
    let last = grown.state.trust.services().last()?;
    let from = last.from_seqno;
    // A history that begins with a snapshot may begin later.
    let begins_before = grown.pieces.first().is_some_and(|piece| piece.first <= from);
    (from > 1 && begins_before && is_unopened(pool, grown, from)).then_some(from)
}

/// Which of two histories is taken, that differ in the entry of this seqno, which both have.
///
/// # Errors
/// If a file can't be read.
pub fn choose(pool: &Pool, one: &Grown, other: &Grown, at: Seqno, wish: Wish) -> Result<Taken> {
    let is_wanted = |grown: &Grown| wish.service.is_some() && grown.service() == wish.service;
    match (is_wanted(one), is_wanted(other)) {
        (true, false) => return Ok(Taken::First("it is not of the service that was asked for".to_owned())),
        (false, true) => return Ok(Taken::Second("it is not of the service that was asked for".to_owned())),
        _ => {}
    }
    match (is_unopened(pool, one, at), is_unopened(pool, other, at)) {
        (false, true) => {
            return Ok(Taken::First(
                "a recovery that did not open, which CCF discards".to_owned(),
            ));
        }
        (true, false) => {
            return Ok(Taken::Second(
                "a recovery that did not open, which CCF discards".to_owned(),
            ));
        }
        _ => {}
    }
    let (of_one, of_other) = (suffix(pool, one, at)?, suffix(pool, other, at)?);
    if of_one.signed.is_empty() {
        return Ok(Taken::Second("nothing in it is signed".to_owned()));
    }
    let (name_one, name_other) = (name(pool, one, at), name(pool, other, at));
    let contest = decide(at, (&name_one, &of_one), (&name_other, &of_other));
    let gave_way = |lower: &Suffix, higher: &Suffix| {
        format!(
            "the tail of view {}, which gave way to view {}",
            lower.last_view(),
            higher.last_view()
        )
    };
    Ok(match contest {
        Contest::Unsigned => Taken::First("nothing signed comes after what differs".to_owned()),
        Contest::Superseded if of_one.last_view() >= of_other.last_view() => Taken::First(gave_way(&of_other, &of_one)),
        Contest::Superseded => Taken::Second(gave_way(&of_one, &of_other)),
        Contest::Fork(why) => match (holds(pool, one, at, wish), holds(pool, other, at, wish)) {
            (true, false) => Taken::First("it is not that of the copy that was preferred".to_owned()),
            (false, true) => Taken::Second("it is not that of the copy that was preferred".to_owned()),
            _ => Taken::Neither(format!("{why} ({name_one}, {name_other})")),
        },
    })
}

/// Whether the preferred copy holds what a history has at a seqno.
fn holds(pool: &Pool, grown: &Grown, at: Seqno, wish: Wish) -> bool {
    let first = sources_from(grown, at).next();
    first.is_some_and(|source| wish.prefer.is_some_and(|copy| pool.holders(source).contains(&copy)))
}

fn name(pool: &Pool, grown: &Grown, at: Seqno) -> String {
    let source = sources_from(grown, at)
        .next()
        .and_then(|source| pool.sources.get(source));
    source.map_or(String::new(), |source| source.path.shown().to_string())
}

/// What a history has from a seqno on, as `compare` judges it.
fn suffix(pool: &Pool, grown: &Grown, at: Seqno) -> Result<Suffix> {
    let mut begins = None;
    if let Some((source, offset, _)) = grown.place_of(pool, at)? {
        let chunk = pool.open(source)?;
        begins = Found::at(chunk.map.bytes(), offset).map(|found| found.view);
    }
    let signed: Vec<_> = grown
        .signed
        .iter()
        .copied()
        .filter(|signed| signed.seqno >= at)
        .collect();
    let by = signed.last().map_or(0, |last| last.view);
    let services = grown.state.trust.services();
    let mut commits = Vec::new();
    for source in sources_from(grown, at) {
        let named = pool
            .same(source)
            .filter_map(|other| Some((other, other.name.as_ref()?.last?)));
        for (file, last) in named.filter(|(file, _)| file.is_committed() && !file.is_recovery()) {
            commits.push(Commit {
                seqno: last,
                by,
                proof: format!("the name of {} says so", file.path.shown()),
            });
        }
    }
    Ok(Suffix {
        begins,
        signed,
        commits,
        service: services
            .iter()
            .find(|service| service.from_seqno >= at)
            .map(|service| service.identity),
    })
}

fn describe(pool: &Pool, grown: &Grown, at: Seqno, why: String, findings: &mut Findings) -> LeftOut {
    let mut files: Vec<String> = Vec::new();
    for source in sources_from(grown, at) {
        let path = pool.sources.get(source).map(|source| source.path.shown().to_string());
        files.extend(path);
    }
    let last_signed = grown.signed.last().copied().filter(|signed| signed.seqno >= at);
    let signed = last_signed.map_or("nothing of it is signed".to_owned(), |txid| {
        format!("signed up to {txid}")
    });
    let text = format!(
        "what {} holds from seqno {at} on ({signed}) was left out: {why}",
        files.join(", ")
    );
    findings.push(Finding::new(Code::SalvageSuperseded, text).seqno(at));
    LeftOut {
        from_seqno: at,
        last_signed,
        files,
        why,
    }
}

/// Places of files that hold something else than the result, or nothing that can be read.
pub fn report_damage(pool: &Pool, differences: &[Difference], findings: &mut Findings) {
    for difference in differences.iter().filter(|difference| difference.rivals.is_empty()) {
        let source = pool
            .runs
            .get(difference.run)
            .and_then(|run| pool.sources.get(run.source));
        let Some(source) = source else { continue };
        for &(first, last, offset) in &difference.stretches {
            let text = match first == last {
                true => format!("entry {first} is not the one that was signed"),
                false => format!("entries {first} to {last} are not those that were signed"),
            };
            let finding = Finding::new(Code::SalvageDamaged, text);
            findings.push(finding.file(&source.path).offset(offset).seqno(first));
        }
    }
    let mut before: Option<(usize, u64)> = None;
    for run in &pool.runs {
        let from = match before {
            Some((source, end)) if source == run.source => end,
            _ => crate::format::chunk::FIRST_ENTRY,
        };
        let source = pool.sources.get(run.source);
        if let Some(source) = source.filter(|_| run.offset > from) {
            let text = format!("{} bytes hold no entry that can be read", run.offset - from);
            let finding = Finding::new(Code::SalvageDamaged, text);
            findings.push(finding.file(&source.path).offset(from).seqno(run.first));
        }
        before = Some((run.source, run.end.max(from)));
    }
}
