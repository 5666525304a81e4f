//! Pictures along one line: what lies where between a first and a last place, in rows above an axis, as SVG made of text.
//!
//! Every place is a share of the picture's width, so one picture fits a phone, a screen and paper, and its text keeps its size. What
//! a range or a mark means is said by its pattern or shape, by its label, and in words to whoever hears it; colour only helps.

use maud::{Markup, Render, html};

use super::number;
use crate::shown::{excerpt, line};

/// What pictures need beside [`super::look::STYLE`].
pub const STYLE: &str = include_str!("picture.css");

/// Narrowest range that is given its label, in percent of the width.
const LABELLED_PERCENT: f64 = 5.0;
/// Room that a letter of a label needs where it is shown, in percent of the narrowest width that is no phone's; beside them, what
/// stands on both sides.
const LETTER_PERCENT: f64 = 1.3;
const SIDES_PERCENT: f64 = 3.0;
/// The same on a phone.
const PHONE_PERCENT: f64 = 15.0;
const PHONE_LETTER_PERCENT: f64 = 2.8;
/// Room that a mark's label needs, in percent of the width.
const LABEL_PERCENT: f64 = 15.0;
/// Height of a row in pixels.
const ROW: u32 = 30;
/// Height of the axis in pixels.
const AXIS: u32 = 26;

/// What a range is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fill {
    /// Proven, or the same: plain.
    Sound,
    /// One of several that follow each other: every second one is lighter.
    Band(bool),
    /// After the last signature: a few slanted lines.
    Unsigned,
    /// Damaged or not proven: crossed lines.
    Damaged,
    /// Not there: an empty frame with dashes.
    Missing,
    /// Nobody else has it: dark.
    Only,
    /// Taken back by a later view: dots.
    Superseded,
    /// Contradicts another: upright lines.
    Fork,
    /// Of something else: level lines.
    Other,
    /// A time that was taken: plain, in the colour of what goes on.
    Time,
}

impl Fill {
    /// Its class in the style sheet.
    fn class(self) -> &'static str {
        match self {
            Fill::Sound => "r-sound",
            Fill::Band(false) => "r-band",
            Fill::Band(true) => "r-band-2",
            Fill::Unsigned => "r-unsigned",
            Fill::Damaged => "r-damaged",
            Fill::Missing => "r-missing",
            Fill::Only => "r-only",
            Fill::Superseded => "r-superseded",
            Fill::Fork => "r-fork",
            Fill::Other => "r-other",
            Fill::Time => "r-time",
        }
    }

    /// The pattern that lies over its ground, if it has one: its name, its size, its lines.
    fn pattern(self) -> Option<(&'static str, u32, &'static str)> {
        Some(match self {
            Fill::Unsigned => ("p-unsigned", 10, "M-2 12 12 -2M-2 2 2 -2M8 12 12 8"),
            Fill::Damaged => ("p-damaged", 6, "M0 0 6 6M6 0 0 6"),
            Fill::Superseded => ("p-superseded", 7, "M2 3.5h3"),
            Fill::Fork => ("p-fork", 5, "M2.5 0v5"),
            Fill::Other => ("p-other", 6, "M0 3h6"),
            _ => return None,
        })
    }

    /// Every fill that has a pattern.
    const PATTERNED: [Fill; 5] = [Fill::Unsigned, Fill::Damaged, Fill::Superseded, Fill::Fork, Fill::Other];
}

/// What a mark is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Shape {
    /// Worth knowing: a ring.
    Ring,
    /// Not as it should be: a triangle.
    Triangle,
    /// Wrong: a cross.
    Cross,
    /// A secret that was replaced, a step: a diamond.
    Diamond,
    /// Something kept: a square.
    Square,
    /// Something began: an upright bar.
    Bar,
}

impl Shape {
    fn class(self) -> &'static str {
        match self {
            Shape::Ring => "m-ring",
            Shape::Triangle => "m-triangle",
            Shape::Cross => "m-cross",
            Shape::Diamond => "m-diamond",
            Shape::Square => "m-square",
            Shape::Bar => "m-bar",
        }
    }

    /// Around the middle of a row.
    fn path(self) -> &'static str {
        match self {
            Shape::Ring => "M-5 15a5 5 0 1 0 10 0a5 5 0 1 0 -10 0z",
            Shape::Triangle => "M0 8 8 22H-8z",
            Shape::Cross => "M-6 9 6 21M6 9-6 21",
            Shape::Diamond => "M0 7 7 15 0 23-7 15z",
            Shape::Square => "M-5 10H5V20H-5z",
            Shape::Bar => "M0 3V27",
        }
    }
}

/// From one place up to another, which is not in it.
#[derive(Clone, Debug, PartialEq)]
pub struct Range {
    /// Where it begins.
    pub from: f64,
    /// Where it has ended.
    pub to: f64,
    /// What it is.
    pub fill: Fill,
    /// A word or two that stand in it where there is room.
    pub label: String,
    /// All of it in words.
    pub title: String,
}

/// One place.
#[derive(Clone, Debug, PartialEq)]
pub struct Mark {
    /// Where.
    pub at: f64,
    /// What.
    pub shape: Shape,
    /// A word that stands beside it where there is room.
    pub label: String,
    /// In words.
    pub title: String,
    /// The `id` in this document that says more.
    pub link: Option<String>,
}

/// One row of a picture.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Row {
    /// What it shows.
    pub name: String,
    /// What that comes to.
    pub note: String,
    /// Lowest.
    pub ranges: Vec<Range>,
    /// How much there is of something in each of equal stretches, the first of which begins at the first number; the second is
    /// their width.
    pub heights: Option<(f64, f64, Vec<u64>)>,
    /// On top.
    pub marks: Vec<Mark>,
}

/// A picture.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Picture {
    /// What it shows.
    pub caption: String,
    /// What the axis counts: "seqno", "seconds".
    pub unit: &'static str,
    /// The first place.
    pub from: f64,
    /// The place after the last.
    pub to: f64,
    /// From top to bottom.
    pub rows: Vec<Row>,
    /// What the patterns and shapes mean, of those that occur.
    pub legend: Vec<(Sign, &'static str)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Left,
    Right,
}

/// What a legend explains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sign {
    /// A range.
    Range(Fill),
    /// A mark.
    Mark(Shape),
}

/// A range of seqnos, both of which are in it.
pub fn seqnos(from: u64, to: u64, fill: Fill, label: impl Into<String>, title: impl Into<String>) -> Range {
    Range {
        from: from as f64,
        to: to as f64 + 1.0,
        fill,
        label: label.into(),
        title: title.into(),
    }
}

/// The patterns, once in each document that has pictures.
pub fn patterns() -> Markup {
    html! {
        svg class="patterns" width="0" height="0" aria-hidden="true" focusable="false" {
            defs {
                @for fill in Fill::PATTERNED {
                    @if let Some((name, size, path)) = fill.pattern() {
                        pattern id=(name) width=(size) height=(size) patternUnits="userSpaceOnUse" {
                            rect width=(size) height=(size) class={ "ground " (fill.class()) } {}
                            path d=(path) class={ "lines " (fill.class()) } {}
                        }
                    }
                }
            }
        }
    }
}

impl Picture {
    /// A share of the width, in percent.
    fn percent(&self, at: f64) -> f64 {
        let width = (self.to - self.from).max(f64::MIN_POSITIVE);
        ((at - self.from) / width * 100.0).clamp(-100.0, 200.0)
    }

    fn has(&self, sign: Sign) -> bool {
        self.rows.iter().any(|row| match sign {
            Sign::Range(fill) => row.ranges.iter().any(|range| range.fill == fill),
            Sign::Mark(shape) => row.marks.iter().any(|mark| mark.shape == shape),
        })
    }

    fn row(&self, row: &Row) -> Markup {
        let has_links = row.marks.iter().any(|mark| mark.link.is_some());
        let words = format!("{}: {}", row.name, row.note);
        html! {
            div class="row" {
                p class="row-name" { strong { (line(&row.name)) } " " span class="quiet" { (line(&row.note)) } }
                svg width="100%" height=(ROW) role=(if has_links { "group" } else { "img" }) aria-label=(line(&words)) {
                    rect class="track" x="0" y="3" width="100%" height=(ROW - 6) {}
                    @for range in &row.ranges { (self.range(range)) }
                    @if let Some((from, width, counts)) = &row.heights { (self.heights(*from, *width, counts)) }
                    @for (mark, side) in row.marks.iter().zip(self.sides(&row.marks)) { (self.mark(mark, side)) }
                }
            }
        }
    }

    fn range(&self, range: &Range) -> Markup {
        let from = self.percent(range.from).max(0.0);
        let width = self.percent(range.to).min(100.0) - from;
        if width < 0.0 || from > 100.0 {
            return html! {};
        }
        let title = excerpt(&range.title);
        let class = range.fill.class();
        html! {
            // What is too narrow to be seen is three pixels wide, to the side where there is room.
            @if width < 0.5 {
                @let x = if from > 50.0 { "-3" } else { "0" };
                svg class={ "range " (class) } x=(Percent(from)) y="3" overflow="visible" {
                    title { (title) }
                    rect x=(x) width="3" height=(ROW - 6) {}
                }
            } @else {
                svg class={ "range " (class) } x=(Percent(from)) y="3" width=(Percent(width)) height=(ROW - 6) {
                    title { (title) }
                    rect width="100%" height=(ROW - 6) {}
                    @let letters = range.label.chars().take(100).count() as f64;
                    @if width >= LABELLED_PERCENT.max(SIDES_PERCENT + letters * LETTER_PERCENT) && letters > 0.0 {
                        @let class = (width < PHONE_PERCENT.max(letters * PHONE_LETTER_PERCENT)).then_some("narrow");
                        text class=[class] x="10" y="16" { (excerpt(&range.label)) }
                    }
                }
            }
        }
    }

    fn heights(&self, from: f64, width: f64, counts: &[u64]) -> Markup {
        let most = counts.iter().copied().max().unwrap_or(0).max(1) as f64;
        let (left, right) = (from.max(self.from), (from + width * counts.len() as f64).min(self.to));
        let mut path = String::from("M0 100");
        let mut begin = from;
        for count in counts {
            // Of a magnified part, what is in it.
            let seen = ((begin + width).min(right) - begin.max(left)) / width;
            begin += width;
            if seen.is_nan() || seen <= 0.0 {
                continue;
            }
            // What is there at all is seen.
            let high = match count {
                0 => 0.0,
                count => 8.0 + *count as f64 / most * 92.0,
            };
            path.push_str(&format!("V{:.0}h{}", 100.0 - high, (seen * 1000.0).round() / 1000.0));
        }
        path.push_str("V100z");
        if right <= left {
            return html! {};
        }
        let (from, to) = (self.percent(left), self.percent(right));
        html! {
            svg x=(Percent(from)) y="3" width=(Percent(to - from)) height=(ROW - 6)
                viewBox={ "0 0 " ((right - left) / width) " 100" } preserveAspectRatio="none" {
                path class="heights" d=(path) {}
            }
        }
    }

    /// On which side of each mark its label has room, if on any.
    fn sides(&self, marks: &[Mark]) -> Vec<Option<Side>> {
        let mut free_from = 0.0;
        let places: Vec<f64> = marks.iter().map(|mark| self.percent(mark.at)).collect();
        let nexts = places.iter().skip(1).copied().chain([100.0]);
        let sides = marks.iter().zip(&places).zip(nexts).map(|((mark, at), next)| {
            let side = match () {
                () if mark.label.is_empty() => None,
                () if next - at > LABEL_PERCENT => Some(Side::Right),
                () if at - free_from > LABEL_PERCENT => Some(Side::Left),
                () => None,
            };
            free_from = at + if side == Some(Side::Right) { LABEL_PERCENT } else { 2.0 };
            side
        });
        sides.collect()
    }

    fn mark(&self, mark: &Mark, side: Option<Side>) -> Markup {
        let at = Percent(self.percent(mark.at).clamp(0.0, 100.0));
        let drawn = html! {
            svg x=(at) overflow="visible" class={ "mark " (mark.shape.class()) } {
                title { (excerpt(&mark.title)) }
                rect class="touch" x="-9" y="0" width="18" height=(ROW) {}
                path d=(mark.shape.path()) {}
                @match side {
                    Some(Side::Right) => text class="code" x="13" y="19" { (excerpt(&mark.label)) },
                    Some(Side::Left) => text class="code" x="-13" y="19" text-anchor="end" { (excerpt(&mark.label)) },
                    None => {},
                }
            }
        };
        match &mark.link {
            None => drawn,
            Some(id) => html! { a href={ "#" (id) } aria-label=(excerpt(&mark.title)) { (drawn) } },
        }
    }

    fn axis(&self) -> Markup {
        let ticks = ticks(self.from, self.to);
        html! {
            svg class="axis" width="100%" height=(AXIS) aria-hidden="true" focusable="false" {
                line x1="0" y1="1" x2="100%" y2="1" {}
                @for (at, label) in &ticks {
                    @let place = self.percent(*at);
                    @let anchor = match place { ..8.0 => "start", 92.0.. => "end", _ => "middle" };
                    line x1=(Percent(place)) y1="1" x2=(Percent(place)) y2="7" {}
                    text x=(Percent(place)) y="20" text-anchor=(anchor) { (label) }
                }
            }
        }
    }
}

impl Render for Picture {
    fn render(&self) -> Markup {
        html! {
            figure class="picture" {
                figcaption { (line(&self.caption)) }
                @for row in &self.rows { (self.row(row)) }
                (self.axis())
                p class="unit quiet" { (self.unit) }
                @let signs: Vec<_> = self.legend.iter().filter(|(sign, _)| self.has(*sign)).collect();
                @if !signs.is_empty() {
                    ul class="legend" {
                        @for (sign, words) in signs {
                            li { (swatch(*sign)) " " (words) }
                        }
                    }
                }
            }
        }
    }
}

fn swatch(sign: Sign) -> Markup {
    html! {
        svg width="26" height="18" aria-hidden="true" focusable="false" {
            @match sign {
                Sign::Range(fill) => svg class={ "range " (fill.class()) } {
                    rect x="1" y="1" width="24" height="16" {}
                },
                Sign::Mark(shape) => svg x="13" y="-6" overflow="visible" class={ "mark " (shape.class()) } {
                    path d=(shape.path()) {}
                },
            }
        }
    }
}

/// A share of the width.
struct Percent(f64);

impl Render for Percent {
    fn render_to(&self, out: &mut String) {
        let text = format!("{:.3}", self.0);
        out.push_str(text.trim_end_matches('0').trim_end_matches('.'));
        out.push('%');
    }
}

/// Round places on an axis, with their labels: at most seven.
fn ticks(from: f64, to: f64) -> Vec<(f64, String)> {
    let width = to - from;
    if !width.is_finite() || width <= 0.0 {
        return vec![(from, short(from))];
    }
    let power = 10f64.powf((width / 5.0).log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0].map(|step| step * power);
    let step = steps.into_iter().find(|step| width / step <= 5.0).unwrap_or(width);
    let first = (from / step).ceil();
    let places = (0..7).map(|number| (first + f64::from(number)) * step);
    let ticks = places.take_while(|place| *place <= to);
    ticks.map(|place| (place, short_in_steps(place, step, to))).collect()
}

/// A number on an axis whose neighbours are `step` away and whose last is `most`: as short as tells them apart.
fn short_in_steps(number: f64, step: f64, most: f64) -> String {
    let unit = |size: f64, letter: &str| {
        let digits = (size / step).log10().ceil().clamp(0.0, 12.0) as usize;
        (digits <= 2).then(|| format!("{:.digits$}{letter}", number / size))
    };
    let of_size = match most {
        1e9.. => unit(1e9, " G"),
        1e6.. => unit(1e6, " M"),
        1e4.. => unit(1e3, " k"),
        _ => None,
    };
    of_size.unwrap_or_else(|| match step {
        ..1.0 => format!("{number:.3}")
            .trim_end_matches('0')
            .trim_end_matches('.')
            .to_owned(),
        _ => number::count(number as u64),
    })
}

fn short(number: f64) -> String {
    short_in_steps(number, number.max(1.0), number)
}

#[cfg(test)]
mod tests;
