//! What has to be there before an update, and in which order its structs can be integrated.

use super::super::{Id, Limits, update as scan};
use super::refused_update;
use super::writing::*;

/// Two clients, the second of which knows nothing.
fn known(seven: u64) -> impl Fn(u64) -> u64 {
    move |client| if client == 7 { seven } else { 0 }
}

fn id(client: u64, clock: u64) -> Option<Id> {
    Some(Id { client, clock })
}

/// An update that leaves the library waiting would be stored and told to nobody, or one that is whole refused.
#[test]
fn what_is_missing_is_named() {
    let cases = [
        ("new", update(&[client(8, 0, &[first("a")])], &[]), 0, None),
        (
            "goes on",
            update(&[client(7, 3, &[after((7, 2), "a")])], &[]),
            3,
            None,
        ),
        (
            "again",
            update(&[client(7, 0, &[first("abc")])], &[]),
            3,
            None,
        ),
        (
            "begins late",
            update(&[client(7, 3, &[after((7, 0), "a")])], &[]),
            2,
            id(7, 2),
        ),
        (
            "another's",
            update(&[client(8, 0, &[after((7, 2), "a")])], &[]),
            2,
            id(7, 2),
        ),
        (
            "another's, there",
            update(&[client(8, 0, &[after((7, 2), "a")])], &[]),
            3,
            None,
        ),
        (
            "on the right",
            update(&[client(8, 0, &[between((7, 0), (7, 9), "a")])], &[]),
            9,
            id(7, 9),
        ),
        (
            "a stranger's",
            update(&[client(8, 0, &[after((9, 0), "a")])], &[]),
            9,
            id(9, 0),
        ),
        (
            "a gap",
            update(
                &[client(7, 0, &[first("a"), gap(2), after((7, 0), "b")])],
                &[],
            ),
            2,
            id(7, 2),
        ),
        (
            "a gap, there",
            update(
                &[client(7, 0, &[first("a"), gap(2), after((7, 0), "b")])],
                &[],
            ),
            3,
            None,
        ),
        (
            "in another's gap",
            update(
                &[
                    client(7, 0, &[first("a"), gap(2)]),
                    client(8, 0, &[after((7, 1), "b")]),
                ],
                &[],
            ),
            1,
            id(7, 1),
        ),
        (
            "after the other's last",
            update(
                &[
                    client(7, 0, &[first("a")]),
                    client(8, 0, &[after((7, 1), "b")]),
                ],
                &[],
            ),
            0,
            id(7, 1),
        ),
        ("deletes", update(&[], &[(7, &[(0, 3)])]), 3, None),
        ("deletes more", update(&[], &[(7, &[(0, 3)])]), 2, id(7, 2)),
        (
            "deletes more, later",
            update(&[], &[(7, &[(0, 1), (2, 3)])]),
            3,
            id(7, 3),
        ),
        (
            "deletes a stranger's",
            update(&[], &[(9, &[(0, 1)])]),
            2,
            id(9, 0),
        ),
        (
            "deletes a stranger's, with text of another",
            update(&[client(8, 0, &[first("abc")])], &[(9, &[(0, 1)])]),
            0,
            id(9, 0),
        ),
        (
            "deletes its own",
            update(&[client(7, 2, &[after((7, 1), "ab")])], &[(7, &[(1, 3)])]),
            2,
            None,
        ),
        (
            "deletes beyond it",
            update(&[client(7, 2, &[after((7, 1), "ab")])], &[(7, &[(1, 4)])]),
            2,
            id(7, 4),
        ),
        (
            "deletes old ones",
            update(&[client(7, 0, &[first("a")])], &[(7, &[(0, 4)])]),
            4,
            None,
        ),
    ];
    for (name, bytes, seven, expected) in cases {
        let update = scan(&bytes, &Limits::default()).expect(name);
        assert_eq!(
            update.outline.missing(known(seven)),
            expected,
            "{name}: {:?}",
            update.outline
        );
    }
}

/// Clients that wrote in turns: an order exists, whichever client comes first in the update.
#[test]
fn clients_may_have_answered_each_other() {
    let eight = client(8, 0, &[first("a"), after((7, 0), "c"), after((9, 1), "g")]);
    let seven = client(7, 0, &[after((8, 0), "b"), after((8, 1), "d")]);
    let nine = client(9, 0, &[between((7, 1), (8, 0), "ef")]);
    let orders = [
        [&eight, &seven, &nine],
        [&nine, &seven, &eight],
        [&seven, &nine, &eight],
        [&nine, &eight, &seven],
    ];
    for order in orders {
        let bytes = update(&order.map(Vec::clone), &[]);
        let outline = scan(&bytes, &Limits::default())
            .expect("an order exists")
            .outline;
        assert_eq!(
            (outline.missing(|_| 0), outline.needs.as_slice()),
            (None, [].as_slice())
        );
    }
}

/// Structs that wait for each other would stay pending in every copy of the document, for ever.
#[test]
fn origins_are_older() {
    let itself = update(&[client(7, 0, &[first("abc"), after((7, 3), "d")])], &[]);
    assert_eq!(
        refused_update(&itself),
        "the struct 3 of the client 7 has the origin 3: an origin is older (byte 16)"
    );
    let same = update(&[client(7, 1, &[between((7, 0), (7, 0), "a")])], &[]);
    assert_eq!(
        refused_update(&same),
        "a struct between an origin and itself: it stands between two (byte 5)"
    );
    let cases = [
        (
            "two",
            vec![
                client(7, 0, &[after((8, 0), "a")]),
                client(8, 0, &[after((7, 0), "b")]),
            ],
        ),
        (
            "later ones",
            vec![
                client(7, 0, &[first("a"), after((8, 2), "b"), after((7, 0), "c")]),
                client(8, 0, &[first("d"), before((7, 2), "e"), after((8, 0), "f")]),
            ],
        ),
        (
            "three",
            vec![
                client(9, 0, &[after((7, 0), "a")]),
                client(8, 0, &[after((9, 0), "b")]),
                client(7, 0, &[after((8, 0), "c")]),
            ],
        ),
        (
            "two, and one that waits for them",
            vec![
                client(1, 0, &[after((7, 0), "x")]),
                client(7, 0, &[after((8, 0), "a")]),
                client(8, 0, &[after((7, 0), "b")]),
            ],
        ),
    ];
    for (name, clients) in cases {
        let refusal = refused_update(&update(&clients, &[]));
        assert!(
            refusal.contains("wait for structs that wait for them"),
            "{name}: {refusal}"
        );
    }
}

/// Time that grows with the square of a frame: many clients, each of which waits for the one before.
#[test]
fn long_chains_are_followed_once() {
    let chain = 8_000;
    let mut clients: Vec<_> = (1..=chain)
        .map(|n| client(n, 0, &[after((n - 1, 0), "a")]))
        .collect();
    clients.insert(0, client(0, 0, &[first("a")]));
    clients.reverse();
    let outline = scan(&update(&clients, &[]), &Limits::default())
        .expect("a chain")
        .outline;
    assert_eq!(outline.missing(|_| 0), None);

    clients.pop();
    clients.push(client(0, 0, &[after((chain, 0), "a")]));
    let refusal = refused_update(&update(&clients, &[]));
    assert!(
        refusal.contains("wait for structs that wait for them"),
        "{refusal}"
    );
}
