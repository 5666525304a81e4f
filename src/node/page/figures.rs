//! Figures as people read them.

use std::time::{SystemTime, UNIX_EPOCH};

use maud::{Markup, html};

use crate::shown::date;

/// Seconds that are left, or that something took.
pub(super) fn duration(seconds: f64) -> String {
    if !seconds.is_finite() || seconds >= 360_000.0 {
        return "more than 100 h".to_owned();
    }
    if seconds < 9.95 {
        return format!("{:.1} s", seconds.max(0.0));
    }
    let whole = seconds.ceil() as u64;
    match (whole / 3600, whole / 60 % 60, whole % 60) {
        (0, 0, s) => format!("{s} s"),
        (0, min, s) => format!("{min} min {s} s"),
        (h, min, _) => format!("{h} h {min} min"),
    }
}

/// Bytes in units of a thousand.
pub(super) fn bytes(bytes: u64) -> String {
    let units = ["B", "kB", "MB", "GB", "TB"];
    let mut value = bytes as f64;
    let mut unit = "B";
    for next in units {
        unit = next;
        if value < 999.5 {
            break;
        }
        if next != "TB" {
            value /= 1000.0;
        }
    }
    match unit {
        "B" => format!("{bytes} B"),
        _ => format!("{value:.1} {unit}"),
    }
}

/// A number with its thousands apart.
pub(super) fn number(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + 8);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            out.push('\u{a0}');
        }
        out.push(digit);
    }
    out
}

/// The beginning of an id: enough to tell a few nodes or members apart.
pub(super) fn short(id: &str) -> &str {
    let end = id.char_indices().nth(12).map_or(id.len(), |(at, _)| at);
    id.get(..end).unwrap_or_default()
}

/// A moment.
pub(super) fn moment(at: SystemTime) -> Markup {
    let text = date(at.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()));
    html! { time datetime=(text) { (text.replace('T', " ").replace('Z', " UTC")) } }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_cut_between_characters() {
        assert_eq!(short("0123456789abcdef"), "0123456789ab");
        assert_eq!(short(&"é".repeat(1000)), "é".repeat(12));
        assert_eq!(short(""), "");
    }

    #[test]
    fn figures_are_short() {
        assert_eq!(
            [0.04, 9.9, 10.2, 59.5, 61.0, 3661.0, -1.0, f64::NAN, f64::INFINITY].map(duration),
            [
                "0.0 s",
                "9.9 s",
                "11 s",
                "1 min 0 s",
                "1 min 1 s",
                "1 h 1 min",
                "0.0 s",
                "more than 100 h",
                "more than 100 h"
            ]
        );
        assert_eq!(
            [0, 999, 1000, 812_300_000, 5_000_000_000, u64::MAX].map(bytes),
            ["0 B", "999 B", "1.0 kB", "812.3 MB", "5.0 GB", "18446744.1 TB"]
        );
        assert_eq!(
            [0, 999, 1000, 1_234_567].map(number),
            ["0", "999", "1\u{a0}000", "1\u{a0}234\u{a0}567"]
        );
    }
}
