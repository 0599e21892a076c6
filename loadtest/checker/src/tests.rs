//! Every fault is found, and nothing is where none is.

use super::*;

const ROOM: &str = "r";
const STRICT: Promise = Promise {
    history: 3,
    may_forget: false,
};
const LOOSE: Promise = Promise {
    may_forget: true,
    ..STRICT
};

fn at(epoch: u64, seq: u64) -> Position {
    Position { epoch, seq }
}

fn greet(checker: &mut Checker, viewer: u64, at: Position, history: &[Mark]) {
    let history = history.to_vec();
    checker.greeted(ROOM, viewer, Greeting { at, history });
}

/// Two viewers at 1-2, after which 10, 11 and 12 are acknowledged at 3, 4 and 5.
fn begun(promise: Promise) -> Checker {
    let mut checker = Checker::new(promise);
    for viewer in [1, 2] {
        greet(&mut checker, viewer, at(1, 2), &[]);
    }
    for (mark, seq) in [(10, 3), (11, 4), (12, 5)] {
        checker.acknowledged(ROOM, mark, at(1, seq));
    }
    checker
}

fn hear(checker: &mut Checker, viewer: u64, events: &[(u64, Mark)]) {
    for (seq, mark) in events {
        checker.heard(ROOM, viewer, *seq, *mark);
    }
}

const ALL: [(u64, Mark); 3] = [(3, 10), (4, 11), (5, 12)];

/// What is wrong when the second viewer hears this.
fn faults(second: &[(u64, Mark)]) -> [u64; 3] {
    let mut checker = begun(STRICT);
    hear(&mut checker, 1, &ALL);
    hear(&mut checker, 2, second);
    counts(&checker)
}

fn counts(checker: &Checker) -> [u64; 3] {
    let verdict = checker.verdict();
    [Fault::Lost, Fault::Doubled, Fault::Disordered].map(|fault| verdict.count(fault))
}

#[test]
fn what_everyone_heard_in_order_is_clean() {
    let mut checker = begun(STRICT);
    hear(&mut checker, 1, &ALL);
    hear(&mut checker, 2, &ALL);
    let verdict = checker.verdict();
    assert!(verdict.is_clean(), "{verdict}");
    assert_eq!((verdict.acknowledged, verdict.heard), (3, 6));
}

#[test]
fn each_fault_is_found() {
    assert_eq!(faults(&ALL), [0, 0, 0]);
    assert_eq!(faults(&[(3, 10), (5, 12)]), [1, 0, 0]);
    assert_eq!(faults(&[(3, 10), (4, 11)]), [1, 0, 0]);
    assert_eq!(faults(&[(3, 10), (3, 10), (4, 11), (5, 12)]), [0, 1, 0]);
    assert_eq!(faults(&[(4, 11), (3, 10), (5, 12)]), [0, 0, 1]);
    // Another event at a place that is taken.
    assert_eq!(faults(&[(3, 99), (4, 11), (5, 12)]), [1, 0, 1]);
    // The same event at another place.
    assert_eq!(faults(&[(3, 10), (4, 11), (5, 12), (6, 12)]), [0, 2, 0]);
}

#[test]
fn what_is_told_again_to_who_comes_back_counts_once() {
    let mut checker = begun(STRICT);
    hear(&mut checker, 1, &ALL);
    hear(&mut checker, 2, &[(3, 10), (4, 11)]);
    checker.returns(ROOM, 2, at(1, 3));
    hear(&mut checker, 2, &[(4, 11), (5, 12)]);
    checker.told(ROOM, 2, at(1, 5));
    assert_eq!(counts(&checker), [0, 0, 0]);
    assert_eq!(checker.verdict().resumes, 1);
    // Less than what was heard after that place is a loss.
    checker.returns(ROOM, 2, at(1, 3));
    checker.told(ROOM, 2, at(1, 5));
    assert_eq!(counts(&checker), [2, 0, 0]);
}

#[test]
fn a_greeting_must_hold_what_it_covers_unless_its_history_is_full() {
    let covered = |history: &[Mark]| {
        let mut checker = begun(STRICT);
        hear(&mut checker, 1, &ALL);
        greet(&mut checker, 2, at(1, 5), history);
        counts(&checker)
    };
    assert_eq!(covered(&[11, 12]), [1, 0, 0]);
    assert_eq!(covered(&[10, 11, 12]), [0, 0, 0]);
    assert_eq!(covered(&[12, 7, 8]), [0, 0, 0]);
}

#[test]
fn a_store_may_forget_only_if_that_is_said() {
    let forgotten = |promise| {
        let mut checker = begun(promise);
        hear(&mut checker, 1, &ALL);
        hear(&mut checker, 2, &ALL[..1]);
        for viewer in [1, 2] {
            greet(&mut checker, viewer, at(2, 3), &[10]);
        }
        let verdict = checker.verdict();
        (verdict.count(Fault::Lost), verdict.forgotten)
    };
    assert_eq!(forgotten(STRICT), (2, 0));
    assert_eq!(forgotten(LOOSE), (0, 2));
}

#[test]
fn what_is_known_to_be_forgotten_is_no_loss() {
    let mut checker = begun(LOOSE);
    hear(&mut checker, 1, &ALL);
    hear(&mut checker, 2, &ALL[..2]);
    assert_eq!(counts(&checker), [1, 0, 0]);
    checker.forgot(ROOM, 12, at(1, 4));
    assert_eq!(counts(&checker), [1, 0, 0]);
    checker.forgot(ROOM, 12, at(1, 5));
    assert_eq!(counts(&checker), [0, 0, 0]);
}

#[test]
fn what_was_forgotten_may_be_said_again_and_its_place_given_again_if_all_go_on_elsewhere() {
    let again = |promise, all: bool| {
        let mut checker = begun(promise);
        hear(&mut checker, 1, &ALL);
        // The second heard what took the place of what was forgotten.
        hear(&mut checker, 2, &[(3, 10), (4, 13), (5, 11), (6, 12)]);
        greet(&mut checker, 1, at(2, 7), &[10, 11, 12, 13]);
        if all {
            greet(&mut checker, 2, at(2, 7), &[10, 11, 12, 13]);
        }
        counts(&checker)
    };
    assert_eq!(again(LOOSE, true), [0, 0, 0]);
    assert_ne!(again(LOOSE, false), [0, 0, 0]);
    assert_ne!(again(STRICT, true), [0, 0, 0]);
}

#[test]
fn an_order_may_end_although_nothing_that_was_acknowledged_may_be_missing() {
    let ended = |history: &[Mark]| {
        let mut checker = begun(STRICT);
        checker.orders_may_end();
        hear(&mut checker, 1, &ALL);
        // Heard, never acknowledged, and gone with the order.
        hear(&mut checker, 1, &[(6, 99)]);
        hear(&mut checker, 2, &ALL[..1]);
        for viewer in [1, 2] {
            greet(&mut checker, viewer, at(2, 6), history);
            hear(&mut checker, viewer, &[(7, 99)]);
        }
        counts(&checker)
    };
    assert_eq!(ended(&[10, 11, 12]), [0, 0, 0]);
    assert_eq!(ended(&[10, 11]), [1, 0, 0]);
}

#[test]
fn who_is_gone_is_owed_only_what_it_was_told_of() {
    let mut checker = begun(STRICT);
    hear(&mut checker, 1, &ALL);
    hear(&mut checker, 2, &ALL[..1]);
    checker.gone(ROOM, 2);
    assert_eq!(counts(&checker), [0, 0, 0]);
    checker.told(ROOM, 2, at(1, 4));
    assert_eq!(counts(&checker), [1, 0, 0]);
}

#[test]
fn all_end_with_the_same() {
    let apart = |second: (Position, u64)| {
        let mut checker = Checker::new(STRICT);
        for (viewer, (at, text)) in [(1, (at(1, 5), 7)), (2, second)] {
            greet(&mut checker, viewer, at, &[]);
            checker.settled(ROOM, viewer, at, Some((1, text)));
        }
        checker.verdict().count(Fault::Apart)
    };
    assert_eq!(apart((at(1, 5), 7)), 0);
    assert_eq!(apart((at(1, 4), 7)), 1);
    assert_eq!(apart((at(2, 5), 7)), 1);
    assert_eq!(apart((at(1, 5), 8)), 1);
}

#[test]
fn the_shown_are_those_who_are_there() {
    let mut checker = Checker::new(STRICT);
    let names = |names: &[&str]| {
        names
            .iter()
            .map(|name| (*name).to_owned())
            .collect::<Vec<_>>()
    };
    checker.presence(ROOM, &names(&["ann", "bob"]), &names(&["ann", "bob"]));
    assert!(checker.verdict().is_clean());
    checker.presence(ROOM, &names(&["ann", "ghost"]), &names(&["ann", "bob"]));
    let verdict = checker.verdict();
    assert_eq!(verdict.count(Fault::Ghost), 1);
    assert_eq!(verdict.count(Fault::Absent), 1);
    assert!(verdict.to_string().contains("r: ghost"));
}
