//! Base64 (RFC 4648) that is checked and counted, and kept nowhere.

/// What is known of a text so far.
#[derive(Clone, Copy, Debug, Default)]
pub struct Base64 {
    characters: u64,
    padding: u64,
    is_wrong: bool,
}

fn is_body(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() | (byte == b'+') | (byte == b'/')
}

impl Base64 {
    /// Takes a piece.
    pub fn take(&mut self, piece: &[u8]) {
        self.characters += piece.len() as u64;
        // Every byte is looked at, good or not: so it is done for many at once.
        if self.padding == 0 && piece.iter().fold(true, |good, byte| good & is_body(*byte)) {
            return;
        }
        for byte in piece {
            match (byte, self.padding) {
                (b'=', _) => self.padding += 1,
                (byte, 0) if is_body(*byte) => {}
                _ => self.is_wrong = true,
            }
        }
    }

    /// Bytes that the whole text stands for; `None` where it is no base64 with its padding.
    pub fn finish(self) -> Option<u64> {
        let is_whole = !self.is_wrong && self.padding <= 2 && self.characters.is_multiple_of(4);
        is_whole.then(|| self.characters / 4 * 3 - self.padding)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn length(pieces: &[&str]) -> Option<u64> {
        let mut checked = Base64::default();
        pieces.iter().for_each(|piece| checked.take(piece.as_bytes()));
        checked.finish()
    }

    #[test]
    fn whole_base64_has_a_length_and_nothing_else_has() {
        assert_eq!(length(&[]), Some(0));
        assert_eq!(length(&["QUJD"]), Some(3));
        assert_eq!(length(&["QU", "I="]), Some(2));
        assert_eq!(length(&["QQ=", "="]), Some(1));
        for wrong in [
            "Q", "QQ", "QUI", "QQ=A", "Q===", "====", "QU-D", "QU_D", "QU D", "QUJD\n", "=QUJ", "QUJD==", "Qä=",
        ] {
            assert_eq!(length(&[wrong]), None, "{wrong}");
        }
        assert_eq!(length(&["QQ=", "A"]), None);
        assert_eq!(length(&["QQ==", "QUJD"]), None);
    }
}
