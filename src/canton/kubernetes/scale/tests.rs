use super::super::testing::InMemory;
use super::*;

const PARTS: [&str; 9] = [
    "sv-app",
    "scan-app",
    "validator-app",
    "participant-0",
    "global-domain-0-sequencer",
    "global-domain-0-mediator",
    "global-domain-0-cometbft",
    "sv-web-ui",
    "info",
];

fn request(direction: Direction) -> Request {
    Request {
        direction,
        serial: None,
        only: Vec::new(),
        except: Vec::new(),
        replicas: 1,
    }
}

fn planned(cluster: &InMemory, request: &Request) -> Plan {
    plan("sv", cluster.deployments("sv").unwrap(), None, request).unwrap()
}

fn run(cluster: &InMemory, plan: &Plan) -> Outcome {
    carry_out(cluster, plan, &Patience::of(Duration::from_secs(180)), &mut |_| {})
}

fn names(plan: &Plan) -> Vec<&str> {
    plan.steps.iter().map(|step| step.deployment.as_str()).collect()
}

#[test]
fn down_stops_the_seven_in_order_and_waits_until_their_pods_are_gone() {
    let cluster = InMemory::of(&PARTS);
    let outcome = run(&cluster, &planned(&cluster, &request(Direction::Down)));
    assert_eq!(outcome.ending, Ending::Clean);
    let scaled: Vec<String> = cluster.scaled.borrow().iter().map(|(name, _)| name.clone()).collect();
    assert_eq!(
        scaled,
        [
            "global-domain-0-cometbft",
            "global-domain-0-mediator",
            "global-domain-0-sequencer",
            "participant-0",
            "scan-app",
            "sv-app",
            "validator-app"
        ]
    );
    for step in &planned(&cluster, &request(Direction::Down)).steps {
        assert!(
            cluster.pods("sv", &step.selector).unwrap().is_empty(),
            "{}",
            step.deployment
        );
    }
    let again = planned(&cluster, &request(Direction::Down));
    assert!(again.steps.iter().all(|step| step.from == step.to));
    assert_eq!(run(&cluster, &again).ending, Ending::Clean);
    assert_eq!(cluster.scaled.borrow().len(), 7, "what is down is not scaled again");

    let up = planned(&cluster, &request(Direction::Up));
    assert_eq!(run(&cluster, &up).done.len(), 7);
    assert!(cluster.deployments("sv").unwrap().iter().all(|one| one.ready == 1));
}

#[test]
fn roles_and_names_choose_and_what_is_not_there_is_said() {
    let cluster = InMemory::of(&PARTS);
    let mut only = request(Direction::Down);
    only.only = vec!["cometbft".to_owned(), "sv-app".to_owned()];
    assert_eq!(names(&planned(&cluster, &only)), ["global-domain-0-cometbft", "sv-app"]);
    let mut except = request(Direction::Down);
    except.except = vec![
        "sequencer".to_owned(),
        "global-domain-0-mediator".to_owned(),
        "dabft".to_owned(),
    ];
    let plan = planned(&cluster, &except);
    assert_eq!(plan.steps.len(), 5);
    assert!(plan.findings.has(Code::NoSuchPart));
    assert!(plan.untouched.contains(&"global-domain-0-mediator".to_owned()));
    let mut foreign = request(Direction::Down);
    foreign.only = vec!["sv-web-ui".to_owned()];
    let plan = planned(&cluster, &foreign);
    assert!(
        plan.steps.is_empty() && plan.findings.has(Code::NoPart),
        "what is not recognised is never scaled"
    );
}

#[test]
fn an_excepted_name_makes_nothing_ambiguous() {
    let cluster = InMemory::of(&["participant", "participant-0", "global-domain-0-sequencer"]);
    let deployments = || cluster.deployments("sv").unwrap();
    let mut asked = request(Direction::Down);
    assert!(plan("sv", deployments(), None, &asked).is_err());
    asked.except = vec!["participant-0".to_owned()];
    assert_eq!(
        names(&planned(&cluster, &asked)),
        ["global-domain-0-sequencer", "participant"]
    );
    asked.except.clear();
    asked.only = vec!["sequencer".to_owned()];
    assert_eq!(names(&planned(&cluster, &asked)), ["global-domain-0-sequencer"]);
}

#[test]
fn passing_failures_are_tried_again_five_times_and_others_not_at_all() {
    let refused = |status: u16| Failure::Refused {
        status,
        reason: String::new(),
        message: "no".to_owned(),
    };
    let cluster = InMemory::of(&["sv-app"]);
    *cluster.failing.borrow_mut() = vec![
        refused(409),
        refused(503),
        Failure::Unreachable("reset".to_owned()),
        refused(429),
    ];
    let plan = planned(&cluster, &request(Direction::Down));
    assert_eq!(run(&cluster, &plan).ending, Ending::Clean);
    let cluster = InMemory::of(&["sv-app"]);
    *cluster.failing.borrow_mut() = (0..5).map(|_| refused(409)).collect();
    let outcome = run(&cluster, &plan);
    assert_eq!((outcome.ending, cluster.scaled.borrow().len()), (Ending::Refused, 0));
    let cluster = InMemory::of(&["sv-app"]);
    *cluster.failing.borrow_mut() = vec![refused(403)];
    let outcome = run(&cluster, &plan);
    assert_eq!((outcome.ending, cluster.scaled.borrow().len()), (Ending::Refused, 0));
    assert!(outcome.findings.has(Code::ClusterRefused));
}

#[test]
fn a_refusal_after_the_first_change_is_a_part_that_was_done() {
    let cluster = InMemory::of(&["sv-app", "scan-app"]);
    let mut plan = planned(&cluster, &request(Direction::Down));
    plan.steps.last_mut().unwrap().deployment = "gone".to_owned();
    assert_eq!(run(&cluster, &plan).ending, Ending::Partial);
}

#[test]
fn pods_that_stay_and_deployments_that_are_set_back_are_reported() {
    let mut cluster = InMemory::of(&["sv-app"]);
    cluster.pod_time = Duration::from_secs(1000);
    let outcome = run(&cluster, &planned(&cluster, &request(Direction::Down)));
    let found = outcome.findings.finish();
    assert_eq!((outcome.ending, found[0].code), (Ending::Partial, Code::PodsRemain));
    assert!(found[0].message.contains("Terminating"), "{}", found[0].message);
    let up = planned(&cluster, &request(Direction::Up));
    let found = run(&cluster, &up).findings.finish();
    assert_eq!(found[0].code, Code::PodNotReady);
    assert!(found[0].message.contains("ContainerCreating"), "{}", found[0].message);

    let cluster = InMemory::of(&["sv-app"]);
    let mut plan = planned(&cluster, &request(Direction::Down));
    plan.steps[0].from = 0;
    let found = run(&cluster, &plan).findings.finish();
    assert_eq!(found[0].code, Code::ScaledBack);
    assert!(found[0].message.contains("was set to 0, and it is 1 now"));
}

#[test]
fn evicted_pods_are_not_waited_for() {
    let cluster = InMemory::of(&["sv-app"]);
    cluster.add("scan-app", 0);
    let plan = planned(&cluster, &request(Direction::Down));
    cluster.with_pods("sv-app", |pods| pods[0].phase = "Failed".to_owned());
    assert_eq!(run(&cluster, &plan).ending, Ending::Clean);
}

#[test]
fn commands_are_the_documents_and_quoted() {
    let cluster = InMemory::of(&PARTS);
    let plan = planned(&cluster, &request(Direction::Down));
    let kubectl = Kubectl {
        kubeconfig: None,
        context: Some("it's mine".to_owned()),
    };
    let lines = commands(&plan, &kubectl, Duration::from_secs(180));
    assert_eq!(
        lines[0],
        r"kubectl --context 'it'\''s mine' scale deployment --replicas=0 -n sv global-domain-0-cometbft global-domain-0-mediator global-domain-0-sequencer participant-0 scan-app sv-app validator-app"
    );
    assert_eq!(lines.len(), 8);
    assert!(lines[1].ends_with("wait pods -n sv -l app=global-domain-0-cometbft --for=delete --timeout=180s"));
    assert!(
        commands(
            &planned(&cluster, &request(Direction::Up)),
            &kubectl,
            Duration::from_secs(9)
        )[0]
        .contains("rollout status")
    );
}

#[test]
fn several_replicas_and_autoscalers_are_said() {
    let cluster = InMemory::of(&[]);
    cluster.add("scan-app", 3);
    let deployments = cluster.deployments("sv").unwrap();
    let managed = ["scan-app".to_owned()];
    let plan = plan("sv", deployments, Some(&managed), &request(Direction::Down)).unwrap();
    assert!(plan.findings.has(Code::SeveralReplicas) && plan.findings.has(Code::Autoscaled));
    let up = planned(&cluster, &request(Direction::Up));
    assert_eq!((up.steps[0].from, up.steps[0].to), (3, 3), "what is up stays");
}

#[test]
fn a_misspelt_exception_stops_nothing() {
    let cluster = InMemory::of(&PARTS);
    let mut misspelt = request(Direction::Down);
    misspelt.except = vec!["participnt".to_owned()];
    let plan = planned(&cluster, &misspelt).findings;
    assert!(plan.has(Code::NoSuchPart) && plan.any_at_least(Severity::Error));
    // A part that is not installed is no reason to stop nothing.
    let cluster = InMemory::of(&["sv-app", "participant"]);
    misspelt.except = vec!["cometbft".to_owned()];
    let plan = planned(&cluster, &misspelt).findings;
    assert!(plan.has(Code::NoSuchPart) && !plan.any_at_least(Severity::Error));
}
