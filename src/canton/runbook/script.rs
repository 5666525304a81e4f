//! A plan as a POSIX shell script: asks before what can't be undone, and stops at a check that fails.
//!
//! It has no journal. A step whose check afterwards holds already is passed over ([`Step::can_be_found`]); for the rest it
//! asks, so that a script that is run again does nothing destructive by itself. What the operator's own check says still goes
//! on (`GOES_ON`) is waited for, and never begun a second time.

use super::plan::Plan;
use super::step::{Check, Doing, GOES_ON, Invocation, Overruling, Step, Test, Word};
use super::variable;
use crate::canton::shell::quoted;

const FUNCTIONS: &str = r#"set -eu
umask 077
rekindle=${REKINDLE:-rekindle}

say() {
  printf '%s\n' "$*" >&2
}

stop() {
  say "stopped at $step: $1"
  exit 1
}

agree() {
  printf '%s [yes/no] ' "$1" >&2
  read -r answer || answer=no
  [ "$answer" = yes ] || stop 'not agreed to'
}

# The operator's own check, once nothing goes on any more.
holds() {
  while :; do
    code=0
    sh -c "$1" </dev/null || code=$?
    [ "$code" = @GOES_ON@ ] || break
    went_on=yes
    say "  $step still goes on"
    sleep "${REKINDLE_LOOK_AGAIN_S:-60}"
  done
  [ "$code" = 0 ]
}

need() {
  printf '%s: ' "$1" >&2
  read -r answer || answer=
  [ -n "$answer" ] || stop "no value for $1"
}
"#;

/// The whole script.
pub fn render(plan: &Plan) -> String {
    let at = &plan.installation;
    let mut out = format!(
        "#!/bin/sh\n# {}.\n# Splice {}, serial or migration {}, plan {}. Set REKINDLE to the program where it is not on the PATH.\n",
        plan.kind.title(),
        at.splice,
        at.serial,
        plan.digest()
    );
    out.push_str(&FUNCTIONS.replace("@GOES_ON@", &GOES_ON.to_string()));
    let mut asked = Vec::new();
    for (number, step) in plan.steps.iter().enumerate() {
        let place = format!("{}/{}", number + 1, plan.steps.len());
        out.push_str(&render_step(&place, step, &mut asked));
        if plan.waits_for(step.id) {
            // A step that was passed over began earlier; a later time only asks for more.
            let stamp = format!("{}=$(date -u +%Y-%m-%dT%H:%M:%SZ)\n", began(step.id));
            let at = out.rfind("\nstep=").unwrap_or_default() + 1;
            out.insert_str(at, &stamp);
        }
    }
    out.push_str("\nsay 'finished'\n");
    out
}

fn render_step(place: &str, step: &Step, asked: &mut Vec<&'static str>) -> String {
    let mut out = format!("\n# {place} {}\nstep={}\n", step.title, quoted(step.id));
    out.push_str(&format!("say {}\n", quoted(&format!("[{place}] {}", step.title))));
    out.push_str(&format!("say {}\n", quoted(&step.what)));
    for option in step.open() {
        if !asked.contains(&option) {
            asked.push(option);
            let name = variable(option);
            let wanted = quoted(&format!("--{option}"));
            out.push_str(&format!(
                "if [ -z \"${{{name}:-}}\" ]; then\n  need {wanted}\n  {name}=$answer\nfi\n"
            ));
        }
    }
    let (found, found_going_on) = (step.can_be_found(false), step.can_be_found(true));
    // The operator's own checks first: what goes on must not be begun again, whatever the others say.
    let mut looks: Vec<&Test> = step.after.iter().map(|check| &check.test).collect();
    looks.retain(|_| found_going_on);
    looks.sort_by_key(|test| !matches!(test, Test::Shell(_)));
    let mut done: Vec<String> = looks.into_iter().map(|look| test(look, true)).collect();
    if found_going_on && !found {
        // That it is complete says nothing of when it was begun, unless it was seen to go on.
        out.push_str("went_on=no\n");
        done.push("[ $went_on = yes ]".to_owned());
    }
    let body = body(step);
    match done.is_empty() {
        true => out.push_str(&body),
        false => {
            out.push_str(&format!(
                "if {}; then\n  say '  done already'\nelse\n",
                done.join(" && ")
            ));
            for line in body.lines() {
                // Inside a quoted word nothing may move: there are no line breaks in any, they were refused.
                out.push_str(&format!("  {line}\n"));
            }
            out.push_str("fi\n");
        }
    }
    out
}

fn body(step: &Step) -> String {
    let mut out = String::new();
    for check in &step.before {
        out.push_str(&must(check, "before"));
    }
    for block in &step.blocks {
        out.push_str(&format!("say {}\n", quoted(&format!("{}:", block.title))));
        out.push_str(&show(&block.text));
    }
    if let Some(what) = step.destroys {
        out.push_str(&format!("agree {}\n", quoted(&format!("{what}. Go on?"))));
    }
    match &step.doing {
        Doing::Command(command) => {
            let command = invocation(command);
            out.push_str(&match &step.overruled {
                None => format!("{command} || stop 'the command failed'\n"),
                // Only 1 is a finding; the others say that nothing could be found out.
                Some(Overruling { question, only_if }) => {
                    let only_if = only_if.as_ref().map(invocation);
                    let only_if = only_if.map_or(String::new(), |test| format!("{test} || stop 'what was found is certain'; "));
                    let asks = format!("{only_if}agree {}", quoted(question));
                    format!(
                        "code=0\n{command} || code=$?\ncase $code in\n0) ;;\n1) {asks} ;;\n*) stop 'the command failed' ;;\nesac\n"
                    )
                }
            });
        }
        Doing::Operator {
            command: Some(command), ..
        } => {
            out.push_str(&format!(
                "sh -c {} </dev/null || stop 'the command failed'\n",
                quoted(command)
            ));
        }
        Doing::Operator { command: None, .. } | Doing::People => out.push_str("agree 'Is it done?'\n"),
    }
    for check in &step.after {
        out.push_str(&must(check, "after"));
    }
    out
}

/// Texts line by line: what is known quoted, what is asked for as its variable.
fn show(text: &[Word]) -> String {
    let mut words = Vec::new();
    for piece in text {
        match piece {
            Word::Open(_) | Word::Began(_) => words.push(word(piece)),
            Word::Known(text) => {
                for (i, line) in text.split('\n').enumerate() {
                    if i > 0 {
                        words.push("\n".to_owned());
                    }
                    if !line.is_empty() {
                        words.push(quoted(line));
                    }
                }
            }
        }
    }
    let joined = words.concat();
    let lines = joined.lines().map(|line| match line.is_empty() {
        true => "say ''\n".to_owned(),
        false => format!("say {line}\n"),
    });
    lines.collect()
}

fn must(check: &Check, when: &str) -> String {
    let failed = quoted(&format!("{when}: it is not so that {}", check.says));
    format!("{} || stop {failed}\n", test(&check.test, false))
}

fn test(test: &Test, is_quiet: bool) -> String {
    let quiet = if is_quiet { " >/dev/null 2>&1" } else { "" };
    match test {
        Test::Command(command) if is_quiet => format!("{}{quiet}", invocation(&command.at_once())),
        Test::Command(command) => invocation(command),
        // What it says while it waits is shown all the same.
        Test::Shell(command) if is_quiet => format!("holds {} >/dev/null", quoted(command)),
        Test::Shell(command) => format!("holds {}", quoted(command)),
        Test::File(path) => format!("[ -s {} ]", word(path)),
    }
}

fn word(word: &Word) -> String {
    match word {
        Word::Known(text) => quoted(text),
        Word::Open(option) => format!("\"${}\"", variable(option)),
        Word::Began(step) => format!("\"${}\"", began(step)),
    }
}

/// The variable for the time at which a step began.
fn began(step: &str) -> String {
    format!("BEGAN_{}", variable(step))
}

fn invocation(command: &Invocation) -> String {
    let words: Vec<String> = command.0.iter().map(word).collect();
    format!("\"$rekindle\" {}", words.join(" "))
}
