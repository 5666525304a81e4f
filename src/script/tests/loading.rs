//! What becomes of a script before it is asked anything: constitutions that are proposed, modules of applications.

use super::*;

#[test]
fn a_proposed_constitution_is_checked_without_being_let_loose() {
    let check = |text: &str| {
        let text = serde_json::to_string(text).unwrap();
        ballot(&format!("return ccf.gov.validateConstitution({text})"))
    };
    assert_eq!(check(CONSTITUTION), Ok(true));
    let reason = |text: &str| check(text).unwrap_err().reason;
    assert!(reason("").contains("empty"));
    let named = "TypeError: proposed constitution does not export a function named";
    assert_eq!(
        reason("export function apply(a, b) {} export function resolve(a, b, c) {}"),
        format!("{named} validate: Failed to find export 'validate' in module 'proposed constitution'")
    );
    assert_eq!(
        reason("export const apply = 7"),
        format!("{named} apply: Export 'apply' of module 'proposed constitution' is not a function")
    );
    let compile = format!("{named} apply: Failed to compile proposed constitution: SyntaxError: ");
    assert!(
        reason("syntax error").starts_with(&compile),
        "{}",
        reason("syntax error")
    );
    let swapped = CONSTITUTION.replace("apply(text, proposalId)", "apply(text)");
    assert_eq!(
        reason(&swapped),
        "TypeError: proposed constitution exports function apply with 1 arg, expected 2 args (proposal, proposerId)"
    );
    let short = CONSTITUTION.replace("resolve(text, proposerId, votes, proposalId)", "resolve(text)");
    assert_eq!(
        reason(&short),
        "TypeError: proposed constitution exports function resolve with 1 arg, expected between 3 and 4 args \
         (proposal, proposerId, votes[, proposalId])"
    );
    assert!(reason("ccf.kv['x']").contains("Failed to find export 'apply'"));
    let three = CONSTITUTION.replace(
        "resolve(text, proposerId, votes, proposalId)",
        "resolve(text, proposerId, votes)",
    );
    assert_eq!(check(&three), Ok(true));
    // Time that the check takes is the caller's.
    assert_eq!(reason("while (true) {}"), TOOK_TOO_LONG);
}

#[test]
fn what_a_module_does_at_its_top_level_does_not_keep_its_functions_from_being_found() {
    for first in [
        "console.info('loaded');",
        "console.log(1, console.error('x'), console.debug(), console.warn(), console.trace());",
        "const name = ccf.strToBuf('name');",
        "throw new Error('at once');",
        "no_such_thing();",
        "ccf.kv['public:ccf.gov.x'].set(ccf.strToBuf('a'), ccf.strToBuf('b'));",
        "ccf.node.triggerLedgerRekey();",
        "await new Promise(() => {});",
    ] {
        let text = serde_json::to_string(&format!("{first}\n{CONSTITUTION}")).unwrap();
        let checked = ballot(&format!("return ccf.gov.validateConstitution({text})"));
        assert_eq!(checked, Ok(true), "{first}");
        // Nothing of it reaches the node, even where the caller may write.
        let (writes, asked) = applied(&Store::new(), &format!("ccf.gov.validateConstitution({text})")).unwrap();
        assert!(writes.is_empty() && asked.is_empty(), "{first}: {writes:?} {asked:?}");
        // The same holds for a constitution in force, and for ballots.
        let empty = Store::new();
        let vote = format!("{first} export function vote() {{ return true }}");
        if !first.contains("ccf.kv") {
            assert_eq!(
                super::vote(&empty.transaction(), &vote, "ballot".to_owned(), "", ""),
                Ok(true),
                "{first}"
            );
        }
    }
    // A variable is there only if its line was reached.
    let late = "throw new Error('before'); export const vote = () => true;";
    let failure = vote(&Store::new().transaction(), late, "ballot".to_owned(), "", "").unwrap_err();
    assert_eq!(
        (failure.reason.as_str(), failure.unusable),
        ("Failed to execute ballot: Error: before", true)
    );
}

#[test]
fn a_module_that_takes_all_the_time_to_load_is_not_asked_any_more() {
    let script = "while (true) {} export function vote() { return true }";
    let failure = vote(&Store::new().transaction(), script, "ballot".to_owned(), "", "").unwrap_err();
    assert_eq!(failure.reason, TOOK_TOO_LONG);
}

#[test]
fn an_application_whose_modules_do_not_compile_is_refused() {
    let refreshed = |modules: &[(&str, &str)]| {
        let modules: Vec<_> = modules
            .iter()
            .map(|(name, text)| (names::MODULES, *name, *text))
            .collect();
        applied(&store(&modules), "ccf.refreshAppBytecodeCache()").map_err(|failure| failure.reason)
    };
    let library = ("/lib/a.js", "export const a = 1;");
    let application = (
        "/app.js",
        "import { a } from './lib/a.js'; import '/lib/a.js'; import 'lib/a.js'; export const b = a;",
    );
    assert!(refreshed(&[library, application]).is_ok());
    assert!(refreshed(&[]).is_ok());
    // They may import each other, and throw when they are run: they are not.
    let circle = [("/a.js", "import './b.js'; throw 1"), ("/b.js", "import './a.js'")];
    assert!(refreshed(&circle).is_ok());
    for (name, text) in [
        ("/x.js", "syntax error"),
        ("/x.js", "import './missing.js'"),
        ("/x.js", "import 'std'"),
    ] {
        assert_eq!(
            refreshed(&[library, (name, text)]).unwrap_err(),
            "InternalError: Failed to refresh bytecode: Unable to serialize bytecode for JS module '/x.js'",
            "{text}"
        );
    }
}
