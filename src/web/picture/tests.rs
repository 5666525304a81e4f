use super::*;

fn picture(rows: Vec<Row>) -> Picture {
    Picture {
        caption: "a ledger".to_owned(),
        unit: "seqno",
        from: 1.0,
        to: 101.0,
        rows,
        legend: vec![
            (Sign::Range(Fill::Damaged), "damaged"),
            (Sign::Range(Fill::Sound), "proven"),
            (Sign::Mark(Shape::Cross), "an error"),
        ],
    }
}

#[test]
fn a_range_lies_where_its_seqnos_are() {
    let row = Row {
        ranges: vec![seqnos(1, 50, Fill::Sound, "half", "the first half")],
        ..Row::default()
    };
    let text = picture(vec![row]).render().into_string();
    assert!(
        text.contains("<svg class=\"range r-sound\" x=\"0%\" y=\"3\" width=\"50%\""),
        "{text}"
    );
    assert!(text.contains("<title>the first half</title>") && text.contains(">half</text>"));
}

#[test]
fn what_is_a_hair_wide_is_seen_and_what_lies_outside_is_not_drawn() {
    let mut drawn = picture(Vec::new());
    drawn.to = 1e8;
    let row = |range| Row {
        ranges: vec![range],
        ..Row::default()
    };
    drawn.rows = vec![row(seqnos(5, 5, Fill::Damaged, "x", "one entry"))];
    assert!(drawn.render().into_string().contains("width=\"3\""));
    drawn.rows = vec![row(seqnos(u64::MAX - 1, u64::MAX, Fill::Damaged, "x", "far away"))];
    assert!(!drawn.render().into_string().contains("far away"));
}

#[test]
fn the_legend_explains_what_occurs_and_nothing_else() {
    let row = Row {
        ranges: vec![seqnos(1, 50, Fill::Sound, "", "")],
        ..Row::default()
    };
    let text = picture(vec![row]).render().into_string();
    assert!(text.contains(" proven</li>") && !text.contains("damaged</li>") && !text.contains("an error</li>"));
}

#[test]
fn ticks_are_round_few_and_told_apart() {
    for (from, to) in [
        (1.0, 2.0),
        (1.0, 579.0),
        (1.0, 23_456.0),
        (99_999_000.0, 1e8),
        (1.0, 1e8),
        (0.0, 0.37),
        (0.0, 1.8e19),
        (578.0, 579.0),
    ] {
        let ticks = ticks(from, to);
        assert!((1..=7).contains(&ticks.len()), "{from} {to} {ticks:?}");
        let labels: std::collections::BTreeSet<_> = ticks.iter().map(|(_, label)| label).collect();
        assert_eq!(labels.len(), ticks.len(), "{ticks:?}");
        assert!(ticks.iter().all(|(at, _)| (from..=to).contains(at)), "{ticks:?}");
    }
}

#[test]
fn a_label_stands_where_it_covers_no_other_mark() {
    let mark = |at: f64| Mark {
        at,
        shape: Shape::Cross,
        label: "L0208".to_owned(),
        title: String::new(),
        link: None,
    };
    let sides = |places: &[f64]| picture(Vec::new()).sides(&places.iter().map(|at| mark(*at)).collect::<Vec<_>>());
    assert_eq!(sides(&[11.0]), [Some(Side::Right)]);
    assert_eq!(sides(&[96.0]), [Some(Side::Left)]);
    assert_eq!(sides(&[50.0, 55.0]), [Some(Side::Left), Some(Side::Right)]);
    assert_eq!(sides(&[50.0, 70.0, 75.0]), [Some(Side::Right), None, Some(Side::Right)]);
    assert_eq!(sides(&[1.0, 5.0, 8.0]), [None, None, Some(Side::Right)]);
}

#[test]
fn no_width_is_no_reason_to_fail() {
    for (from, to) in [(5.0, 5.0), (7.0, 3.0), (f64::NAN, 1.0), (0.0, f64::INFINITY)] {
        let drawn = Picture {
            from,
            to,
            rows: vec![Row {
                ranges: vec![seqnos(1, 2, Fill::Only, "a", "b")],
                heights: Some((1.0, 1.0, vec![0, 3])),
                ..Row::default()
            }],
            ..Picture::default()
        };
        assert!(!drawn.render().into_string().is_empty());
    }
}

#[test]
fn of_a_magnified_part_no_height_is_drawn_outside() {
    let mut drawn = picture(vec![Row {
        heights: Some((1.0, 10.0, vec![7; 20])),
        ..Row::default()
    }]);
    (drawn.from, drawn.to) = (96.0, 111.0);
    let text = drawn.render().into_string();
    // Half of the stretch from 91 on, and all of that from 101 on.
    assert!(
        text.contains("viewBox=\"0 0 1.5 100\"") && text.contains("<svg x=\"0%\" y=\"3\" width=\"100%\""),
        "{text}"
    );
    assert!(text.contains("d=\"M0 100V0h0.5V0h1V100z\""), "{text}");
}

#[test]
fn every_fill_and_every_shape_is_another_one() {
    let paths = Fill::PATTERNED.map(|fill| fill.pattern().map(|(name, _, path)| (name, path)));
    assert_eq!(
        paths.iter().collect::<std::collections::BTreeSet<_>>().len(),
        paths.len()
    );
    for fill in Fill::PATTERNED {
        let name = fill.pattern().unwrap().0;
        for rule in [format!(".lines.{}", fill.class()), format!("url(#{name})")] {
            assert!(STYLE.contains(&rule), "{rule}");
        }
    }
    let shapes = [
        Shape::Ring,
        Shape::Triangle,
        Shape::Cross,
        Shape::Diamond,
        Shape::Square,
        Shape::Bar,
    ];
    let paths: std::collections::BTreeSet<_> = shapes.iter().map(|shape| shape.path()).collect();
    assert_eq!(paths.len(), shapes.len());
}
