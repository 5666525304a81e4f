//! What a wallet holds, before and after (Splice's `GET /api/validator/v0/wallet/balance`).
//!
//! The answer is `{"round","effective_unlocked_qty","effective_locked_qty","total_holding_fees"}`, with decimals of up to ten
//! places as texts. Effective quantities shrink by holding fees from round to round; quantities and fees together do not.

use serde::{Deserialize, Serialize};

use super::answers::Answer;
use super::report::{Line, State};
use crate::canton::{Code, Timestamp};

/// Where a wallet is asked.
pub const PATH: &str = "/api/validator/v0/wallet/balance";

/// Decimal places of Daml's `Decimal`.
const PLACES: usize = 10;
/// Digits before the point that one has at most.
const DIGITS: usize = 28;

/// A balance, as the wallet tells it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Balance {
    /// The round for which it holds.
    pub round: i64,
    /// What can be spent.
    pub effective_unlocked_qty: String,
    /// What is locked.
    pub effective_locked_qty: String,
    /// Holding fees that were taken off these.
    pub total_holding_fees: String,
}

/// A balance as it is saved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Saved {
    /// Of which wallet.
    pub wallet: String,
    /// When it was asked.
    pub at: Timestamp,
    /// What it said.
    pub balance: Balance,
}

impl Saved {
    /// Whether the same wallet held as much, holding fees aside.
    pub fn says_the_same(&self, other: &Saved) -> bool {
        self.wallet == other.wallet && self.balance.total() == other.balance.total()
    }
}

/// A decimal in units of its last place.
fn units(text: &str) -> Option<i128> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|c| c.is_ascii_digit());
    let fits = (1..=DIGITS).contains(&whole.len()) && fraction.len() <= PLACES && digits(whole) && digits(fraction);
    if !fits {
        return None;
    }
    format!("{whole}{fraction:0<PLACES$}").parse().ok()
}

fn decimal(units: i128) -> String {
    let one = 10_i128.pow(PLACES as u32);
    let text = format!("{}.{:010}", units / one, (units % one).abs());
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

impl Balance {
    /// Reads an answer's body.
    pub fn read(body: &[u8]) -> Option<Balance> {
        let balance: Balance = serde_json::from_slice(body).ok()?;
        balance.total().map(|_| balance)
    }

    /// Quantities and fees together, in units of the last decimal place.
    fn total(&self) -> Option<i128> {
        let parts = [
            &self.effective_unlocked_qty,
            &self.effective_locked_qty,
            &self.total_holding_fees,
        ];
        parts.iter().try_fold(0_i128, |sum, part| sum.checked_add(units(part)?))
    }

    fn words(&self) -> String {
        let shown = |text: &str| units(text).map_or_else(String::new, decimal);
        format!(
            "{} unlocked, {} locked in round {}",
            shown(&self.effective_unlocked_qty),
            shown(&self.effective_locked_qty),
            self.round
        )
    }
}

/// Reads what was saved.
pub fn read_saved(text: &[u8]) -> Option<Saved> {
    let saved: Saved = serde_json::from_slice(text).ok()?;
    saved.balance.total().map(|_| saved)
}

/// The balance that an answer holds, or the line that says why there is none.
///
/// # Errors
/// That line.
pub fn heard(at: &str, answer: Result<&Answer, &str>) -> Result<Balance, Box<Line>> {
    let wrong = |state, code, says: String| Err(Box::new(Line::wrong("balance", at, state, code, says)));
    match answer {
        Err(why) => wrong(State::NotYet, Code::NoAnswer, why.to_owned()),
        Ok(answer) if matches!(answer.status, 401 | 403) => wrong(
            State::Bad,
            Code::NotAuthorised,
            format!("the wallet refused with {}", answer.status),
        ),
        Ok(answer) if answer.status != 200 => wrong(
            State::NotYet,
            Code::NotReadyYet,
            format!("the wallet answered with {}", answer.status),
        ),
        Ok(answer) => match Balance::read(&answer.body) {
            Some(balance) if !answer.is_cut => Ok(balance),
            _ => wrong(
                State::Bad,
                Code::OddAnswer,
                "what came is no balance: a login page, or a wrong address".to_owned(),
            ),
        },
    }
}

/// Compares a balance with the one before.
pub fn compare(at: &str, now: &Balance, before: Option<&Saved>) -> Line {
    let Some(saved) = before else {
        return Line::good("balance", at, now.words());
    };
    let then = &saved.balance;
    let says = format!("{}; before, at {}: {}", now.words(), saved.at, then.words());
    match (now.total(), then.total()) {
        (Some(now), Some(then)) if now >= then => {
            let more = match now - then {
                0 => "the same but for holding fees".to_owned(),
                more => format!("{} more", decimal(more)),
            };
            Line::good("balance", at, format!("{says}: {more}"))
        }
        (Some(now), Some(then)) => {
            let says = format!("{} less: {says}", decimal(then - now));
            Line::wrong("balance", at, State::NotYet, Code::BalanceLower, says)
        }
        _ => Line::wrong("balance", at, State::Bad, Code::OddAnswer, "what came is no balance"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{AT, answer, tick};
    use super::*;

    fn balance(unlocked: &str, locked: &str, fees: &str) -> Balance {
        let body = serde_json::json!({
            "round": 18, "effective_unlocked_qty": unlocked, "effective_locked_qty": locked, "total_holding_fees": fees
        });
        Balance::read(body.to_string().as_bytes()).unwrap_or_else(|| panic!("{unlocked} {locked} {fees}"))
    }

    #[test]
    fn balances_are_compared_to_the_last_place_and_holding_fees_are_no_loss() {
        let saved = |balance: Balance| Saved {
            wallet: "w".to_owned(),
            at: tick(0),
            balance,
        };
        let before = saved(balance("778.9353119400", "0.0000000000", "0.0646880600"));
        let state = |now: &Balance| compare(AT, now, Some(&before)).state;
        assert_eq!(state(&balance("778.9353119400", "0.0", "0.0646880600")), State::Good);
        // Locked meanwhile, and a fee more.
        assert_eq!(state(&balance("700", "78.9000000000", "0.1")), State::Good);
        assert_eq!(state(&balance("778.9353119399", "0", "0.0646880600")), State::NotYet);
        assert_eq!(
            state(&balance("9999999999999999999999999999.9999999999", "0", "0")),
            State::Good
        );
        let line = compare(AT, &balance("778", "0", "0"), Some(&before));
        assert!(
            line.says.starts_with("1 less: 778 unlocked, 0 locked in round 18"),
            "{}",
            line.says
        );
        let read = read_saved(&serde_json::to_vec(&before).unwrap()).unwrap();
        assert_eq!(read, before);
        for wrong in [
            "",
            "-1",
            "1e9",
            "1.",
            ".5",
            "1.00000000001",
            "99999999999999999999999999999",
            "NaN",
            "1 ",
        ] {
            let body = serde_json::json!({
                "round": 1, "effective_unlocked_qty": wrong, "effective_locked_qty": "0", "total_holding_fees": "0"
            });
            let is_read = Balance::read(body.to_string().as_bytes()).is_some();
            // A point without digits behind it is Java's way to print none.
            assert_eq!(is_read, wrong == "1.", "{wrong:?}");
        }
        let refused = heard(AT, Ok(&answer(403, "{}"))).unwrap_err();
        assert_eq!(refused.finding.unwrap().code, Code::NotAuthorised);
        assert_eq!(
            heard(AT, Ok(&answer(200, "<html>"))).unwrap_err().finding.unwrap().code,
            Code::OddAnswer
        );
    }
}
