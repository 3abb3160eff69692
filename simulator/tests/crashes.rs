//! One planned switch in a calm world, with one crash: at every point of the operator's, the old
//! primary's and the target's effects, before and after each.

use simulator::{Report, Victim, strike};

fn every_point(victim: Victim) -> Vec<Report> {
    let reports: Vec<Report> = (0..).map_while(|point| strike(victim, point, false)).collect();
    for report in &reports {
        let (point, violations) = (report.seed, &report.violations);
        assert!(violations.is_empty(), "{victim:?} at point {point}: {violations:?}");
    }
    reports
}

/// Finished or rolled back after the operator's return, with no member lost and no election.
#[test]
fn the_operator_may_die_at_every_step() {
    let reports = every_point(Victim::Operator);
    assert!(reports.len() > 30, "only {} points were found", reports.len());
    for report in reports {
        assert_eq!(report.elections, 0, "point {}", report.seed);
        assert_eq!(report.last.as_deref(), Some("planned"), "point {}", report.seed);
    }
}

#[test]
fn the_old_primary_may_die_at_every_step() {
    assert!(every_point(Victim::Member(0)).len() > 10);
}

#[test]
fn the_target_may_die_at_every_step() {
    assert!(every_point(Victim::Member(1)).len() > 5);
}
