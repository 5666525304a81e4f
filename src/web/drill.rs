//! A rehearsal as a document: whether it worked, and how long everything took.

use maud::{Markup, html};

use super::look::{Kind, badge, facts, section};
use super::number::seconds;
use super::parts::{Made, first_rows, report, verdict};
use super::picture::{Fill, Mark, Picture, Range, Row, Shape, Sign};
use crate::shown::line;

/// What was rehearsed, in seconds and words.
pub struct Rehearsed {
    /// Whether everything worked.
    pub ok: bool,
    /// The answer in a sentence.
    pub answer: String,
    /// What was rehearsed, and what else there is to say.
    pub facts: Vec<(&'static str, String)>,
    /// Bars beside each other that compare durations: what they show, each with its name and its stretches of seconds.
    pub bars: Vec<Bars>,
    /// The parts, each on a clock of its own.
    pub parts: Vec<Part>,
    /// The command that was run, as it can be shown.
    pub command: String,
    /// When, in seconds since 1970.
    pub unix_s: u64,
}

/// Durations side by side.
pub struct Bars {
    /// What they show.
    pub caption: String,
    /// Each bar: its name, and what it is made of: words and seconds.
    pub bars: Vec<(String, Vec<(String, f64)>)>,
}

/// One part of a rehearsal.
pub struct Part {
    /// What it is called.
    pub name: String,
    /// Whether it ended as it should.
    pub ok: bool,
    /// What happened, in order.
    pub steps: Vec<Step>,
}

/// One thing that happened.
pub struct Step {
    /// When it had, in seconds on the part's clock.
    pub at_s: f64,
    /// What.
    pub what: String,
    /// What of that time was the machine's, where that is known.
    pub took_s: Option<f64>,
}

const DURATIONS: [(Sign, &str); 3] = [
    (Sign::Range(Fill::Time), "the public part"),
    (Sign::Range(Fill::Band(false)), "the private part"),
    (Sign::Range(Fill::Sound), "a duration"),
];
const STEPS: [(Sign, &str); 2] = [
    (Sign::Range(Fill::Time), "the machine's time"),
    (Sign::Mark(Shape::Bar), "it happened here"),
];

/// The document.
pub fn document(rehearsed: &Rehearsed) -> String {
    let known: Vec<(&str, Markup)> = rehearsed
        .facts
        .iter()
        .map(|(name, value)| (*name, html! { (line(value)) }))
        .collect();
    let answer = match rehearsed.ok {
        true => verdict(Kind::Good, "It worked", &rehearsed.answer),
        false => verdict(Kind::Bad, "It did not work", &rehearsed.answer),
    };
    let rest = html! {
        @if !rehearsed.bars.is_empty() {
            (section("durations", "How long it took", &html! { @for bars in &rehearsed.bars { (durations(bars)) } }))
        }
        (section("rehearsed", "What was rehearsed", &facts(&known)))
        @for (part, number) in rehearsed.parts.iter().zip(1..) {
            (section(&format!("part-{number}"), &part.name, &of_part(part)))
        }
    };
    let made = Made {
        command: &rehearsed.command,
        unix_s: rehearsed.unix_s,
    };
    report("A rehearsed recovery", &answer, &rest, &made)
}

fn durations(bars: &Bars) -> Picture {
    let total = |parts: &[(String, f64)]| parts.iter().map(|(_, took)| took.max(0.0)).sum::<f64>();
    let longest = bars.bars.iter().map(|(_, parts)| total(parts)).fold(0.001, f64::max);
    let row = |(name, parts): &(String, Vec<(String, f64)>)| {
        let mut from = 0.0;
        let ranges = parts.iter().map(|(words, took)| {
            let range = Range {
                from,
                to: from + took.max(0.0),
                fill: match words.as_str() {
                    "public" => Fill::Time,
                    "private" => Fill::Band(false),
                    _ => Fill::Sound,
                },
                label: format!("{words} {}", seconds(*took)),
                title: format!("{name}: {words} {}", seconds(*took)),
            };
            from = range.to;
            range
        });
        let said: Vec<String> = parts
            .iter()
            .map(|(words, took)| format!("{words} {}", seconds(*took)))
            .collect();
        Row {
            name: name.clone(),
            ranges: ranges.collect(),
            note: said.join(", "),
            ..Row::default()
        }
    };
    Picture {
        caption: bars.caption.clone(),
        unit: "seconds",
        from: 0.0,
        to: longest,
        rows: bars.bars.iter().map(row).collect(),
        legend: DURATIONS.to_vec(),
    }
}

fn of_part(part: &Part) -> Markup {
    let until = part.steps.iter().map(|step| step.at_s).fold(0.001, f64::max);
    let row = |step: &Step| Row {
        name: step.what.clone(),
        note: match step.took_s {
            Some(took) => format!("{}, at {}", seconds(took), seconds(step.at_s)),
            None => format!("at {}", seconds(step.at_s)),
        },
        ranges: step
            .took_s
            .map(|took| Range {
                from: (step.at_s - took).max(0.0),
                to: step.at_s,
                fill: Fill::Time,
                label: seconds(took),
                title: format!("{}: {}", step.what, seconds(took)),
            })
            .into_iter()
            .collect(),
        heights: None,
        marks: match step.took_s {
            Some(_) => Vec::new(),
            None => vec![Mark {
                at: step.at_s,
                shape: Shape::Bar,
                label: String::new(),
                title: format!("{} at {}", step.what, seconds(step.at_s)),
                link: None,
            }],
        },
    };
    let picture = Picture {
        caption: "What happened when, from the start of the first node".to_owned(),
        unit: "seconds",
        from: 0.0,
        to: until,
        rows: part.steps.iter().take(super::parts::TABLE_ROWS).map(row).collect(),
        legend: STEPS.to_vec(),
    };
    html! {
        p { @match part.ok {
            true => (badge(Kind::Good, "as it should be")),
            false => (badge(Kind::Bad, "not as it should be")),
        } }
        (picture)
        (first_rows("The same as a table", &["At", "What", "Took"], &part.steps, |step| vec![
            html! { (seconds(step.at_s)) },
            html! { (line(&step.what)) },
            html! { (step.took_s.map_or(String::new(), seconds)) },
        ]))
    }
}
