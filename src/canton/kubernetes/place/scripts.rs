//! What runs in the container: POSIX shell and the tools of any image that has a shell at all, `head`, `mv`, `rm`, `wc`.

use crate::canton::shell::quoted;

/// The names that the file has on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names {
    /// At last.
    pub target: String,
    /// The target's directory.
    pub directory: String,
    /// While it is being written. Every try has its own: a writer of an earlier one may still be there.
    pub part: String,
}

impl Names {
    /// For a target, a file with this hash, and this try.
    pub fn new(target: &str, hash: &str, try_of: [u8; 4]) -> Names {
        let directory = target.rsplit_once('/').map_or("/", |(directory, _)| directory);
        let hash = hash.get(..16).unwrap_or(hash);
        Names {
            target: target.to_owned(),
            directory: if directory.is_empty() { "/" } else { directory }.to_owned(),
            part: format!("{target}.part-{hash}-{}", hex::encode(try_of)),
        }
    }

    /// What becomes of a target that is replaced.
    pub fn old(&self, hash: &str) -> String {
        format!("{}.old-{}", self.target, hash.get(..16).unwrap_or(hash))
    }
}

/// Removes what earlier tries left, and prints what there is: see [`Look`].
pub fn look(names: &Names) -> String {
    let (target, directory) = (quoted(&names.target), quoted(&names.directory));
    format!(
        "t={target}; d={directory}
[ -d \"$d\" ] || {{ echo no-directory; exit 0; }}
for p in \"$t\".part-????????????????-????????; do
  if [ -f \"$p\" ]; then rm -f \"$p\" && echo removed; fi
done
if [ -L \"$t\" ]; then echo other; elif [ -d \"$t\" ]; then echo other
elif [ -f \"$t\" ]; then echo file; elif [ -e \"$t\" ]; then echo other; else echo absent; fi
[ -w \"$d\" ] && echo writable
command -v sha256sum >/dev/null 2>&1 && echo sha256sum
for c in head wc mv rm; do command -v \"$c\" >/dev/null 2>&1 || echo \"lacks $c\"; done
df -Pk \"$d\" 2>/dev/null | tail -n 1
echo end"
    )
}

/// What [`look`] prints.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Look {
    /// Whether the target's directory is there.
    pub has_directory: bool,
    /// Whether it can be written to.
    pub is_writable: bool,
    /// Whether the target is a file already.
    pub is_file: bool,
    /// Whether the target is something else: a directory, a link.
    pub is_other: bool,
    /// Whether `sha256sum` is there.
    pub has_sha256sum: bool,
    /// Tools that are missing.
    pub lacks: Vec<String>,
    /// What earlier tries left, and was removed.
    pub removed: u64,
    /// Free bytes of the volume, where `df` is there to say it.
    pub free_bytes: Option<u64>,
}

impl Look {
    /// Reads what [`look`] printed; nothing where it did not come to its end.
    pub fn read(printed: &str) -> Option<Look> {
        let mut look = Look {
            has_directory: true,
            ..Look::default()
        };
        let mut is_whole = false;
        for line in printed.lines() {
            match line.trim_end() {
                "no-directory" => return Some(Look::default()),
                "removed" => look.removed += 1,
                "file" => look.is_file = true,
                "other" => look.is_other = true,
                "absent" => {}
                "writable" => look.is_writable = true,
                "sha256sum" => look.has_sha256sum = true,
                "end" => is_whole = true,
                line => match line.strip_prefix("lacks ") {
                    Some(tool) => look.lacks.push(tool.to_owned()),
                    None => look.free_bytes = look.free_bytes.or_else(|| available(line)),
                },
            }
        }
        is_whole.then_some(look)
    }
}

/// The free bytes in a line of `df -Pk`: the number before the one that ends with `%`, as names before may have spaces.
fn available(line: &str) -> Option<u64> {
    let words: Vec<&str> = line.split_ascii_whitespace().collect();
    let at = words.iter().position(|word| word.ends_with('%'))?;
    words.get(at.checked_sub(1)?)?.parse::<u64>().ok()?.checked_mul(1024)
}

/// Takes exactly `size` bytes from stdin into the part, and has them on the disk; with anything else nothing remains. It
/// counts, so that it does not need to see the end of its input.
pub fn receive(names: &Names, size: u64) -> String {
    let part = quoted(&names.part);
    format!(
        "umask 077; p={part}
if head -c {size} > \"$p\" && [ \"$(wc -c < \"$p\")\" -eq {size} ]; then {{ sync \"$p\" || sync; }} 2>/dev/null; exit 0; fi
rm -f \"$p\"; exit 3"
    )
}

/// Exit code of [`rename`] where something has the target's name already.
pub const IN_THE_WAY: i32 = 17;

/// Gives the part the target's name. What has the name now goes to [`Names::old`] of this hash, where one is given; without
/// one nothing must have it.
pub fn rename(names: &Names, replaced: Option<&str>) -> String {
    let (part, target, directory) = (quoted(&names.part), quoted(&names.target), quoted(&names.directory));
    let begin = format!("p={part}; t={target}; d={directory}\n[ -f \"$p\" ] || exit 16\n");
    let middle = match replaced {
        // A second name for the old file first: so the target is never without one.
        Some(hash) => format!(
            "o={}\nif [ -e \"$t\" ]; then ln \"$t\" \"$o\" 2>/dev/null || [ -f \"$o\" ] || mv -f \"$t\" \"$o\" || exit 18; fi\n\
             mv -f \"$p\" \"$t\" || exit 18\n",
            quoted(&names.old(hash))
        ),
        // A link fails where the name is taken, at once and for certain; volumes without links get a look before.
        None => format!(
            "if ln \"$p\" \"$t\" 2>/dev/null; then rm -f \"$p\"\n\
             elif [ -e \"$t\" ] || [ -L \"$t\" ]; then exit {IN_THE_WAY}\n\
             else mv -f \"$p\" \"$t\" || exit 18; fi\n"
        ),
    };
    format!("{begin}{middle}{{ sync \"$d\" || sync; }} 2>/dev/null\nexit 0")
}

/// Removes the part.
pub fn remove(names: &Names) -> String {
    format!("rm -f {}", quoted(&names.part))
}

/// Prints the hash of a file.
pub fn hash(path: &str) -> String {
    format!("sha256sum < {}", quoted(path))
}

/// Prints a file.
pub fn print(path: &str) -> String {
    format!("cat < {}", quoted(path))
}
