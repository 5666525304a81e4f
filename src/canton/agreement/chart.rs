//! The picture in the terminal: one line for each SV, at most 80 columns, without colour.

use super::Decision;
use super::lanes::{Cell, Lanes};
use crate::canton::Timestamp;
use crate::shown::line;

/// Columns of the whole chart.
const WIDTH: usize = 80;
/// Columns of the longest name that is drawn.
const NAME: usize = 18;
/// Columns of a label: `04-21 23:25`.
const LABEL: usize = 11;

/// The chart; `None` where nothing is known.
pub fn chart(decision: &Decision) -> Option<String> {
    let names: Vec<String> = decision.svs.iter().map(|sv| shortened(&sv.name, NAME)).collect();
    let name = names.iter().map(|name| name.chars().count()).max().unwrap_or(0).max(3);
    let columns = WIDTH - name - 2;
    let lanes = Lanes::new(decision, columns)?;
    let indent = " ".repeat(name + 1);
    let mut out = String::new();
    let mut labels = vec![' '; columns];
    let mut marks = vec!['-'; columns];
    let mut free = 0;
    for at in lanes.labels(columns / (LABEL + 2)) {
        let column = lanes.column(at);
        let text = label(at);
        if column >= free && column + text.len() <= columns {
            put(&mut labels, column, &text);
            put(&mut marks, column, "|");
            free = column + text.len() + 1;
        }
    }
    if let Some(incident) = decision.incident.filter(|at| *at <= lanes.to) {
        put(&mut marks, lanes.column(incident), "!");
    }
    if let Some((tick, timestamp)) = decision.at {
        put(&mut marks, lanes.column(tick), "T");
        put(&mut marks, lanes.column(timestamp), "R");
    }
    for row in [labels, marks] {
        let row: String = row.into_iter().collect();
        out.push_str(&format!("{indent}{}\n", row.trim_end()));
    }
    for (lane, name_shown) in lanes.lanes.iter().zip(&names) {
        let cells: String = lane
            .cells
            .iter()
            .map(|cell| match cell {
                Cell::Blank => ' ',
                Cell::Reached => '.',
                Cell::Agreed => '#',
                Cell::Differed => 'X',
            })
            .collect();
        let cells = match lane.reached {
            None => "nothing is known".to_owned(),
            Some(reached) if reached < lanes.from => format!("< {reached}"),
            Some(_) => cells,
        };
        let pad = name - name_shown.chars().count();
        out.push_str(&format!("{name_shown}{} {}\n", " ".repeat(pad), cells.trim_end()));
    }
    out.push_str("# agrees with the support  X differs from it  . had come so far\n");
    out.push_str("R recovery timestamp  T agreed tick");
    out.push_str(match decision.incident {
        Some(_) => "  ! incident (times in UTC)\n",
        None => " (times in UTC)\n",
    });
    Some(out)
}

/// Month, day, hour and minute.
pub(super) fn label(at: Timestamp) -> String {
    let text = at.to_string();
    text.get(5..16).unwrap_or_default().replace('T', " ")
}

/// A name that can be shown, and no longer than this.
pub(super) fn shortened(name: &str, most: usize) -> String {
    let shown = line(name);
    match shown.chars().count() > most {
        true => shown.chars().take(most - 1).chain(['~']).collect(),
        false => shown.into_owned(),
    }
}

fn put(row: &mut [char], column: usize, text: &str) {
    for (place, c) in row.iter_mut().skip(column).zip(text.chars()) {
        *place = c;
    }
}
