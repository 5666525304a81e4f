//! A recovery that dies again and again, with an operator who starts it again: at each state of each step of its journal,
//! a seeded while after the journal says so, or when all is done but the line that says so; now this program alone, now with
//! all that it started.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::process::CommandExt;

use super::*;

/// What the operator agrees to, and how often: only when asked, and for one run only.
pub(super) type Agreed = BTreeMap<String, usize>;

/// How it went.
#[derive(Debug)]
pub(super) struct Died {
    /// The states, as `step state`, at which it was killed.
    pub at: BTreeSet<String>,
    /// How often the operator agreed to each step.
    pub agreed: Agreed,
}

/// A small generator: the same seed dies at the same moments after a state was seen.
struct Seeded(u64);

impl Seeded {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

/// Runs it to its end, dying on the way. What is read must be as it was, whatever dies.
pub(super) fn to_the_end(site: &Site, seed: u64, arguments: &[&str], inputs: &[&str]) -> Died {
    let read = |name: &&str| (name.to_string(), std::fs::read(site.path(name)).unwrap());
    let before: Vec<(String, Vec<u8>)> = inputs.iter().map(read).collect();
    let mut random = Seeded(seed);
    let (mut died, mut agreed) = (BTreeSet::new(), Agreed::new());
    let mut granted: Option<String> = None;
    let deadline = Instant::now() + Duration::from_secs(120);
    loop {
        assert!(Instant::now() < deadline, "{died:?} {:?}", site.journal());
        let mut command = site.command(arguments);
        command.args(["--execute", "--journal", "journal", "--json"]);
        if let Some(step) = granted.take() {
            command.args(["--yes", &step]);
        }
        let (out, errors) = (site.path("out"), site.path("errors"));
        let file = |path: &Path| std::fs::File::create(path).unwrap();
        let known = site.journal().len();
        let mut child = command
            .process_group(0)
            .stdout(file(&out))
            .stderr(file(&errors))
            .spawn()
            .unwrap();
        let status = loop {
            let told = |line: &Value| {
                ["step", "state"]
                    .map(|name| line[name].as_str().unwrap_or("plan").to_owned())
                    .join(" ")
            };
            let new = || site.journal().into_iter().skip(known);
            if let Some(status) = child.try_wait().unwrap() {
                // It was quicker than what looks at its journal.
                let done = new().find(|line| line["state"] == "done" && died.insert(told(line)));
                done.iter().for_each(|line| site.forget(line));
                break done.is_none().then_some(status.code());
            }
            let found = new().find(|line| died.insert(told(line)));
            if let Some(line) = found {
                if line["state"] != "done" {
                    std::thread::sleep(Duration::from_millis(random.below(80)));
                }
                if random.below(2) == 0 {
                    let group = format!("-{}", child.id());
                    let _ = Command::new("kill").args(["-9", "--", &group]).status();
                }
                let _ = child.kill();
                child.wait().unwrap();
                let done = new().find(|one| one["state"] == "done" && (*one == line || died.insert(told(one))));
                done.iter().for_each(|line| site.forget(line));
                break None;
            }
            std::thread::sleep(Duration::from_millis(2));
        };
        for (name, bytes) in &before {
            assert!(std::fs::read(site.path(name)).unwrap() == *bytes, "{name} has changed");
        }
        let said = || std::fs::read_to_string(&out).unwrap() + &std::fs::read_to_string(&errors).unwrap();
        match status {
            None => {}
            Some(Some(0)) => return Died { at: died, agreed },
            // A command that the killed run started still has the journal.
            Some(Some(2)) => {
                assert!(said().contains("is in use"), "{}", said());
                std::thread::sleep(Duration::from_millis(20));
            }
            Some(Some(5)) => {
                let document: Value = serde_json::from_slice(&std::fs::read(&out).unwrap()).unwrap();
                let finding = document["findings"].as_array().unwrap().last().unwrap();
                assert_eq!(finding["code"], "C0812", "{}", said());
                let step = finding["of"].as_str().unwrap().to_owned();
                *agreed.entry(step.clone()).or_default() += 1;
                granted = Some(step);
            }
            other => panic!("{other:?} {}", said()),
        }
    }
}

impl Site {
    /// Takes the journal's last lines away, from this one on: what was done, and died before it was written down.
    fn forget(&self, line: &Value) {
        let path = self.path("journal");
        let text = std::fs::read_to_string(&path).unwrap();
        let is_other = |one: &&str| serde_json::from_str::<Value>(one).is_ok_and(|one| one != *line);
        let kept: String = text.split_inclusive('\n').take_while(is_other).collect();
        std::fs::write(&path, kept).unwrap();
    }
}

impl Died {
    /// Holds that nothing that can't be undone was done oftener than it was agreed to. `lines` are what the operator's
    /// commands wrote when they began.
    pub(super) fn was_asked_each_time(&self, lines: &str, step: &str, line: &str) {
        let count = lines.lines().filter(|one| *one == line).count();
        let agreed = self.agreed.get(step).copied().unwrap_or_default();
        assert!(
            (1..=agreed).contains(&count),
            "{step}: {count} times, agreed to {agreed} times"
        );
    }
}

impl Died {
    /// The steps that were done, in their order; each died at both of its ends, but for those that were found to be so.
    pub(super) fn steps(&self, site: &Site) -> Vec<String> {
        let journal = site.journal();
        let done = journal.iter().filter(|line| line["state"] == "done");
        let steps: Vec<String> = done.map(|line| line["step"].as_str().unwrap().to_owned()).collect();
        for step in &steps {
            let died = |state: &str| self.at.contains(&format!("{step} {state}"));
            let began = journal
                .iter()
                .any(|line| line["step"] == step.as_str() && line["state"] == "began");
            assert!(died("done") && (died("began") || !began), "{step} {:?}", self.at);
        }
        steps
    }
}
