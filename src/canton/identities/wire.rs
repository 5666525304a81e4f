//! Protobuf's wire format, as far as key pairs and topology snapshots need it: fields one by one, in place, nothing allocated.

/// What a field holds.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Held<'a> {
    /// A number: an enum, a flag, a version.
    Number(u64),
    /// Bytes: a text, a message, a key.
    Bytes(&'a [u8]),
    /// Four or eight bytes of fixed length, which nothing here looks at.
    Fixed,
}

/// The bytes are no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

/// Reads the fields of a message; after the first that is malformed it ends.
pub struct Fields<'a> {
    rest: &'a [u8],
    is_broken: bool,
}

/// The fields of a message.
pub fn fields(message: &[u8]) -> Fields<'_> {
    Fields {
        rest: message,
        is_broken: false,
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u64, Held<'a>), Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() || self.is_broken {
            return None;
        }
        let field = self.field();
        self.is_broken = field.is_none();
        Some(field.ok_or(Malformed))
    }
}

impl<'a> Fields<'a> {
    fn number(&mut self) -> Option<u64> {
        let mut value = 0u64;
        for (i, byte) in self.rest.iter().take(10).enumerate() {
            let bits = u64::from(byte & 0x7f);
            // The tenth byte has room for one bit.
            if i == 9 && bits > 1 {
                return None;
            }
            value |= bits << (7 * i);
            if byte & 0x80 == 0 {
                self.rest = self.rest.get(i + 1..)?;
                return Some(value);
            }
        }
        None
    }

    fn take(&mut self, length: u64) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(usize::try_from(length).ok()?)?;
        self.rest = rest;
        Some(taken)
    }

    fn field(&mut self) -> Option<(u64, Held<'a>)> {
        let key = self.number()?;
        let held = match key & 7 {
            0 => Held::Number(self.number()?),
            1 => self.take(8).map(|_| Held::Fixed)?,
            2 => {
                let length = self.number()?;
                Held::Bytes(self.take(length)?)
            }
            5 => self.take(4).map(|_| Held::Fixed)?,
            _ => return None,
        };
        (1..1 << 29).contains(&(key >> 3)).then_some((key >> 3, held))
    }
}

/// What is inside an envelope `{1: bytes, 2: version}`, and the version.
///
/// # Errors
/// [`Malformed`] for anything else, also for fields of other numbers or given twice.
pub fn envelope(bytes: &[u8]) -> Result<(&[u8], u64), Malformed> {
    let (mut inside, mut version) = (None, None);
    for field in fields(bytes) {
        match field? {
            (1, Held::Bytes(bytes)) if inside.is_none() => inside = Some(bytes),
            (2, Held::Number(number)) if version.is_none() => version = Some(number),
            _ => return Err(Malformed),
        }
    }
    inside.zip(version).ok_or(Malformed)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn fields_are_read_and_what_is_cut_off_is_malformed() {
        let bytes = [0x0a, 2, b'h', b'i', 0x10, 0xac, 0x02];
        let read: Option<Vec<_>> = fields(&bytes).map(Result::ok).collect();
        assert!(read == Some(vec![(1, Held::Bytes(b"hi")), (2, Held::Number(300))]));
        assert!(envelope(&bytes) == Ok((b"hi".as_slice(), 300)));
        for end in 1..bytes.len() {
            let cut = bytes.get(..end).unwrap();
            assert!(end == 4 || fields(cut).any(|field| field.is_err()), "{end}");
            assert!(envelope(cut).is_err());
        }
        assert!(fields(&[0xff; 20]).next() == Some(Err(Malformed)));
        assert!(fields(&[0x0b]).next() == Some(Err(Malformed)), "groups");
        assert!(fields(&[0x02, 0]).next() == Some(Err(Malformed)), "field 0");
    }

    proptest! {
        #[test]
        fn ends_on_any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            prop_assert!(fields(&bytes).count() <= bytes.len());
        }
    }
}
