//! Variables of the environment in the section `attestation`: the machine's agent says where it has put what a node needs.
//! Attestation specification, section 7.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

/// A path with `$NAME` and `${NAME}` replaced, or the name of a variable that is not set.
///
/// # Errors
/// That name.
pub fn expanded(path: &Path, variable: impl Fn(&str) -> Option<String>) -> Result<PathBuf, String> {
    let Some(text) = path.as_os_str().to_str() else {
        return Ok(path.to_owned());
    };
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        out.push_str(before);
        let (name, after) = match after.strip_prefix('{').and_then(|after| after.split_once('}')) {
            Some(braced) => braced,
            None => {
                let end = after.find(|c| !is_name(c)).unwrap_or(after.len());
                after.split_at_checked(end).unwrap_or((after, ""))
            }
        };
        match name.is_empty() {
            true => out.push('$'),
            false => out.push_str(&variable(name).ok_or_else(|| name.to_owned())?),
        }
        rest = after;
    }
    out.push_str(rest);
    Ok(PathBuf::from(OsStr::new(&out)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_in_paths_are_replaced_in_both_forms() {
        let variable = |name: &str| (name == "DIR_1").then(|| "/mnt".to_owned());
        for (text, expected) in [
            ("plain", Ok("plain")),
            ("$DIR_1/a", Ok("/mnt/a")),
            ("x${DIR_1}y", Ok("x/mnty")),
            ("a$/b", Ok("a$/b")),
            ("$OTHER/a", Err("OTHER")),
        ] {
            let found = expanded(Path::new(text), variable);
            assert_eq!(found, expected.map(PathBuf::from).map_err(str::to_owned), "{text}");
        }
    }
}
