//! Who had reached what when, as rows of cells: what the chart in the terminal and the picture are drawn from. However long
//! the history is, a row has the number of cells that was asked for.

use super::clique::{bit, members};
use super::history::Span;
use super::{Decision, Standing};
use crate::canton::Timestamp;

/// What is known about an SV in a stretch of time. Of several the later one here is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cell {
    /// Nothing.
    Blank,
    /// It had come so far.
    Reached,
    /// It agreed with the support.
    Agreed,
    /// It differed from one of the support.
    Differed,
}

/// One SV's row.
#[derive(Clone, Debug)]
pub struct Lane {
    /// Its name.
    pub name: String,
    /// How it stands.
    pub verdict: Standing,
    /// The latest tick that it reached.
    pub reached: Option<Timestamp>,
    /// Earliest first.
    pub cells: Vec<Cell>,
}

/// All of them over the same time.
#[derive(Clone, Debug)]
pub struct Lanes {
    /// Where they begin.
    pub from: Timestamp,
    /// Where they end.
    pub to: Timestamp,
    /// One row for each SV.
    pub lanes: Vec<Lane>,
    columns: usize,
}

const MINUTE: i64 = 60_000_000;
/// Microseconds of the longest time that is drawn.
const LONGEST: i64 = 7 * 24 * 60 * MINUTE;
/// Microseconds after everything else that one SV alone may stretch it.
const AHEAD: i64 = 24 * 60 * MINUTE;

impl Lanes {
    /// So many columns of the time around a decision; `None` where nothing is known at all.
    pub fn new(decision: &Decision, columns: usize) -> Option<Lanes> {
        let columns = columns.clamp(1, 1000);
        let reached = |sv: usize| decision.history.reached.get(sv).copied().flatten();
        let chosen = decision.at.iter().flat_map(|(tick, timestamp)| [*tick, *timestamp]);
        let base = chosen
            .clone()
            .chain(decision.incident)
            .chain(members(decision.set).filter_map(reached))
            .max()
            .or_else(|| (0..decision.of).filter_map(reached).min())?;
        let all = (0..decision.of).filter_map(reached);
        let end = all.clone().filter(|at| at.since(base) <= AHEAD).chain([base]).max()?;
        let first = all.chain(chosen).filter(|at| *at <= end).min()?;
        // A third of what is drawn lies before the first thing that happened, so that agreement is seen to be lost.
        let span = end.since(first).max(20 * MINUTE);
        let from = first.plus_micros(-(span / 2)).max(end.plus_micros(-LONGEST));
        let to = end.plus_micros((end.since(from) / 50).max(MINUTE));
        let mut lanes = Lanes {
            from,
            to,
            lanes: Vec::new(),
            columns,
        };
        lanes.lanes = decision
            .svs
            .iter()
            .enumerate()
            .map(|(at, sv)| Lane {
                name: sv.name.clone(),
                verdict: sv.verdict,
                reached: sv.reached,
                cells: lanes.cells(decision, at),
            })
            .collect();
        Some(lanes)
    }

    fn cells(&self, decision: &Decision, sv: usize) -> Vec<Cell> {
        let mut cells = vec![Cell::Blank; self.columns];
        let mut mark = |span: Span, cell: Cell| {
            if span.1 <= self.from || span.0 >= self.to {
                return;
            }
            let (first, last) = (self.column(span.0.plus_micros(1)), self.column(span.1));
            for one in cells.iter_mut().take(last + 1).skip(first) {
                *one = cell.max(*one);
            }
        };
        if let Some(reached) = decision.history.reached.get(sv).copied().flatten() {
            mark((Timestamp::MIN, reached), Cell::Reached);
        }
        for other in members(decision.set & !bit(sv)) {
            let Some(pair) = decision.history.pair(sv, other) else {
                continue;
            };
            pair.spans.iter().for_each(|span| mark(*span, Cell::Agreed));
            pair.differed
                .iter()
                .for_each(|at| mark((at.plus_micros(-1), *at), Cell::Differed));
        }
        cells
    }

    /// The column in which an instant lies; the first or the last one where it lies outside.
    pub fn column(&self, at: Timestamp) -> usize {
        let whole = i128::from(self.to.since(self.from).max(1));
        let part = i128::from(at.since(self.from)) * self.columns as i128 / whole;
        usize::try_from(part.max(0)).unwrap_or(0).min(self.columns - 1)
    }

    /// Where an instant lies, as a fraction of the whole.
    pub fn fraction(&self, at: Timestamp) -> f64 {
        (at.since(self.from) as f64 / self.to.since(self.from).max(1) as f64).clamp(0.0, 1.0)
    }

    /// Instants to label, at most so many: whole minutes, hours or days that divide the time evenly.
    pub fn labels(&self, most: usize) -> Vec<Timestamp> {
        const STEPS: [i64; 13] = [1, 2, 5, 10, 15, 30, 60, 120, 240, 480, 720, 1440, 2880];
        let span = self.to.since(self.from);
        let fits = |step: &&i64| span / (**step * MINUTE) < most as i64;
        let step = STEPS.iter().find(fits).copied().unwrap_or(2880) * MINUTE;
        let first = self.from.micros().div_euclid(step) + 1;
        (first..first + most as i64)
            .filter_map(|at| Timestamp::from_micros(at.checked_mul(step)?))
            .take_while(|at| *at <= self.to)
            .collect()
    }
}
