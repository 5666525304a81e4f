//! PEM text to DER and back, tolerant of what people and tools do to such text.
//!
//! Text before the first block, spaces, line endings of any kind and NUL bytes are ignored. The label is
//! kept, so that callers can say what a wrong file holds instead of only that it is wrong.

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use zeroize::Zeroizing;

use super::error::Error;

/// Base64 that minds neither missing padding nor unused bits.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// The first block of a PEM text.
pub(super) struct Block<'a> {
    /// What stands between `-----BEGIN ` and `-----`.
    pub(super) label: &'a str,
    /// The decoded bytes, wiped on drop: they may be a private key.
    pub(super) der: Zeroizing<Vec<u8>>,
}

/// Reads the first block of `text`.
pub(super) fn first_block(text: &str) -> Result<Block<'_>, Error> {
    let malformed = |problem| Error::MalformedPem { problem };
    let (_, rest) = text
        .split_once("-----BEGIN ")
        .ok_or(malformed("there is no -----BEGIN line"))?;
    let (label, rest) = rest
        .split_once("-----")
        .ok_or(malformed("the -----BEGIN line is cut short"))?;
    let (body, end) = rest
        .split_once("-----END ")
        .ok_or(malformed("there is no -----END line"))?;
    if !end.starts_with(label) {
        return Err(malformed("the -----END line does not match the -----BEGIN line"));
    }
    if body.contains("ENCRYPTED") {
        return Err(malformed("the key is encrypted with a passphrase; decrypt it first"));
    }
    let mut digits = Zeroizing::new(Vec::with_capacity(body.len()));
    digits.extend(body.bytes().filter(|byte| !byte.is_ascii_whitespace() && *byte != 0));
    // Decoding 4 digits gives 3 bytes, so this never has to grow and leave a copy behind.
    let mut der = Zeroizing::new(Vec::with_capacity(digits.len()));
    BASE64
        .decode_vec(digits.as_slice(), &mut der)
        .map_err(|_| malformed("its base64 is damaged"))?;
    Ok(Block { label, der })
}

/// `der` as a PEM text with lines of 64 digits and a final newline.
pub(super) fn encode(label: &str, der: &[u8]) -> String {
    let digits = BASE64.encode(der);
    let mut text = format!("-----BEGIN {label}-----\n");
    let mut rest = digits.as_str();
    while !rest.is_empty() {
        let (line, next) = rest.split_at_checked(64).unwrap_or((rest, ""));
        text.push_str(line);
        text.push('\n');
        rest = next;
    }
    text.push_str("-----END ");
    text.push_str(label);
    text.push_str("-----\n");
    text
}

/// An error that says what a PEM block holds instead of what was `expected`.
pub(super) fn wrong_kind(expected: &'static str, label: &str) -> Error {
    let found = match label {
        "CERTIFICATE" => "a certificate".to_owned(),
        "CERTIFICATE REQUEST" => "a certificate request".to_owned(),
        "PUBLIC KEY" => "a public key".to_owned(),
        "PRIVATE KEY" => "a private key of another kind".to_owned(),
        "RSA PRIVATE KEY" => "an RSA private key".to_owned(),
        "EC PRIVATE KEY" | "EC PARAMETERS" => "an elliptic-curve private key".to_owned(),
        "ENCRYPTED PRIVATE KEY" => {
            "a private key encrypted with a passphrase; decrypt it first (openssl pkcs8)".to_owned()
        }
        // The label is the operator's own text, but may be anything: keep it short and printable.
        other => other
            .chars()
            .take(40)
            .map(|c| if c.is_ascii_graphic() { c } else { ' ' })
            .collect(),
    };
    Error::WrongPemKind { expected, found }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_encoded_decodes_to_the_same_bytes() {
        for length in [0, 1, 47, 48, 49, 200] {
            let der: Vec<u8> = (0..length).collect();
            let text = encode("THING", &der);
            let block = first_block(&text).unwrap();
            assert_eq!((block.label, &*block.der), ("THING", &der));
        }
    }

    #[test]
    fn surroundings_and_line_endings_do_not_matter() {
        let text = format!("# note\r\n{}\0\n \n", encode("THING", &[1; 100]).replace('\n', "\r\n"));
        assert_eq!(*first_block(&text).unwrap().der, vec![1; 100]);
    }

    #[test]
    fn damaged_text_is_refused_with_the_reason() {
        for text in [
            "",
            "-----BEGIN ",
            "-----BEGIN X-----",
            "-----BEGIN X-----\n!\n-----END X-----",
        ] {
            assert!(matches!(first_block(text), Err(Error::MalformedPem { .. })), "{text}");
        }
        let mismatch = "-----BEGIN X-----\nAAAA\n-----END Y-----";
        assert!(matches!(first_block(mismatch), Err(Error::MalformedPem { .. })));
    }
}
