//! A plan for people, as Markdown.

use super::plan::Plan;
use super::quoting::{block, code};
use super::step::{Block, By, Check, Doing, Invocation, Overruling, Step, Test, Word};
use super::variable;
use crate::canton::Finding;
use crate::canton::shell::quoted;

/// The whole plan.
pub fn render(plan: &Plan) -> String {
    let at = &plan.installation;
    let mut out = format!("# {}\n\n", plan.kind.title());
    out.push_str(&format!(
        "Splice {}, namespace {}, serial or migration {}. Plan `{}`.\n\n",
        at.splice,
        code(&at.namespace),
        at.serial,
        plan.digest()
    ));
    out.push_str("Deployments: ");
    let names: Vec<String> = at.names.all().iter().map(|name| code(name)).collect();
    out.push_str(&names.join(", "));
    out.push_str(".\n\n");
    let open = plan.open();
    if !open.is_empty() {
        out.push_str("Still to be given, or agreed on while the plan is carried out:\n\n");
        for option in open {
            out.push_str(&format!("- `--{option}`, below `<{}>`\n", variable(option)));
        }
        out.push('\n');
    }
    for note in &plan.notes {
        out.push_str(&note_line(note));
    }
    for (number, step) in plan.steps.iter().enumerate() {
        out.push_str(&render_step(number + 1, step));
    }
    out
}

fn note_line(note: &Finding) -> String {
    let code_of = note.code.as_str();
    format!(
        "> **{code_of}** {} {}. Next: {}\n\n",
        code(&note.message),
        note.meaning.trim_end_matches('.'),
        code(&note.next)
    )
}

fn render_step(number: usize, step: &Step) -> String {
    let by = match step.by {
        By::Rekindle => "rekindle",
        By::Operator => "the operator",
        By::Everybody => "all SVs' operators together",
    };
    let mut out = format!(
        "## {number}. {}\n\nStep `{}`, done by {by}.\n\n{}\n\n",
        step.title, step.id, step.what
    );
    if let Some(what) = step.destroys {
        out.push_str(&format!("**Can't be undone:** {what}.\n\n"));
    }
    out.push_str(&checks("Before", &step.before));
    match &step.doing {
        Doing::Command(command) => out.push_str(&format!("{}\n", block("sh", &invocation(command)))),
        Doing::Operator {
            command: Some(command), ..
        } => out.push_str(&format!("{}\n", block("sh", command))),
        Doing::Operator { option, command: None } => {
            out.push_str(&format!("By hand, or by the command that `--{option}` gives.\n\n"));
        }
        Doing::People => {}
    }
    match &step.overruled {
        Some(Overruling {
            question,
            only_if: Some(command),
        }) => out.push_str(&format!(
            "Where it ends with 1, and this with 0, decide: {question}\n\n{}\n",
            block("sh", &invocation(command))
        )),
        Some(Overruling { question, .. }) => out.push_str(&format!("Where it ends with 1, decide: {question}\n\n")),
        None => {}
    }
    for Block { title, language, text } in &step.blocks {
        out.push_str(&format!("{title}:\n\n{}\n", block(language, &pieces(text))));
    }
    out.push_str(&checks("After", &step.after));
    out
}

fn pieces(text: &[Word]) -> String {
    let piece = |word: &Word| match word {
        Word::Known(text) => text.clone(),
        Word::Open(option) => format!("<{}>", variable(option)),
        Word::Began(step) => format!("<time at which step {step} began>"),
    };
    text.iter().map(piece).collect()
}

/// A command on one line, or with an option a line where it is long.
fn invocation(command: &Invocation) -> String {
    let words: Vec<String> = command.0.iter().map(word).collect();
    let one = format!("rekindle {}", words.join(" "));
    if one.len() <= 110 {
        return one;
    }
    let mut out = String::from("rekindle");
    for word in words {
        out.push_str(if word.starts_with("--") { " \\\n  " } else { " " });
        out.push_str(&word);
    }
    out
}

fn checks(when: &str, checks: &[Check]) -> String {
    let mut out = String::new();
    for check in checks {
        let how = match &check.test {
            Test::Command(command) => block("sh", &invocation(command)),
            Test::Shell(command) => block("sh", command),
            Test::File(path) => block("sh", &format!("test -s {}", word(path))),
        };
        out.push_str(&format!("{when}: {}.\n\n{how}\n", check.says));
    }
    out
}

/// A word of a command: what is not known yet stands in quotes, where no shell takes it for anything else.
fn word(word: &Word) -> String {
    match word {
        Word::Known(text) => quoted(text),
        Word::Open(option) => format!("\"<{}>\"", variable(option)),
        Word::Began(step) => format!("\"<time at which step {step} began>\""),
    }
}
