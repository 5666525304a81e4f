//! Numbers for people.

/// Digits in groups of three.
pub fn count(number: u64) -> String {
    indicatif::HumanCount(number).to_string()
}

/// Bytes.
pub fn size(bytes: u64) -> String {
    indicatif::HumanBytes(bytes).to_string()
}

/// Seconds, as exactly as they are looked at: `0.042 s`, `12.3 s`, `4 min 10 s`, `3 h 5 min`.
pub fn seconds(seconds: f64) -> String {
    let whole = seconds.max(0.0) as u64;
    match seconds {
        ..10.0 => format!("{:.3} s", seconds.max(0.0)),
        ..60.0 => format!("{seconds:.1} s"),
        ..3600.0 => format!("{} min {} s", whole / 60, whole % 60),
        _ => format!("{} h {} min", whole / 3600, whole % 3600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_said_as_people_say_them() {
        let said = [0.0421, 12.34, 250.9, 11_100.0, -1.0].map(seconds);
        assert_eq!(said, ["0.042 s", "12.3 s", "4 min 10 s", "3 h 5 min", "0.000 s"]);
        assert!(!seconds(f64::NAN).is_empty() && !seconds(f64::INFINITY).is_empty());
    }
}
