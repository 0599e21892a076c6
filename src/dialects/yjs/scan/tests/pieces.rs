//! Updates in pieces: nothing is lost, and each piece is whole after those before it.

use super::super::{Limits, Outline, pieces, update as scan};
use super::writing::{self, between, client, deleted, first, gap, update};

/// What a document has after some pieces.
fn after(taken: &[Outline], client: u64) -> u64 {
    let runs = taken.iter().flat_map(|outline| &outline.adds);
    let ends = runs.filter(|run| run.client == client).map(|run| run.to);
    ends.max().unwrap_or(0)
}

fn outlines(bytes: &[u8], most: usize) -> Vec<Outline> {
    let pieces = pieces(bytes, most, &Limits::default()).expect("the whole is taken");
    let mut taken: Vec<Outline> = Vec::new();
    for piece in &pieces {
        let update = scan(
            piece,
            &Limits {
                structs: most,
                ..Limits::default()
            },
        );
        let outline = update
            .expect("a piece is an update of so many structs")
            .outline;
        assert_eq!(
            outline.missing(|client| after(&taken, client)),
            None,
            "{outline:?} after {taken:?}"
        );
        taken.push(outline);
    }
    taken
}

/// A piece that waits for a later one, text that is in none, or in two.
#[test]
fn pieces_are_the_whole() {
    let answered = update(
        &[
            client(
                8,
                0,
                &[
                    first("a"),
                    writing::after((7, 0), "c"),
                    writing::after((9, 1), "g"),
                ],
            ),
            client(
                7,
                0,
                &[writing::after((8, 0), "b"), writing::after((8, 1), "d")],
            ),
            client(
                9,
                0,
                &[between((7, 1), (8, 0), "ef"), writing::after((9, 1), "h")],
            ),
        ],
        &[(7, &[(0, 1)]), (9, &[(1, 1)])],
    );
    let alone = update(
        &[client(
            7,
            0,
            &[
                first("abc"),
                writing::after((7, 2), "def"),
                deleted((7, 0), 3),
            ],
        )],
        &[],
    );
    for whole in [&answered, &alone] {
        let expected = scan(whole, &Limits::default()).expect("an update").outline;
        for most in 1..=8 {
            let taken = outlines(whole, most);
            let sum = |of: fn(&Outline) -> u64| taken.iter().map(of).sum::<u64>();
            assert_eq!(sum(|outline| outline.text_units), expected.text_units);
            let length = |outline: &Outline| outline.adds.iter().map(|run| run.to - run.from).sum();
            assert_eq!(sum(length), length(&expected));
            for run in &expected.adds {
                assert_eq!(after(&taken, run.client), run.to);
            }
            assert_eq!(taken.last().expect("a piece").deletes, expected.deletes);
        }
    }
    assert_eq!(outlines(&alone, 2).len(), 2);
    assert_eq!(outlines(&answered, 7).len(), 2);
    assert_eq!(pieces(&[0, 0], 4, &Limits::default()), Ok(Vec::new()));
}

/// An update that is small enough is changed on the way.
#[test]
fn what_fits_is_one_piece() {
    let whole = update(
        &[client(
            7,
            3,
            &[
                writing::after((7, 2), "a"),
                gap(2),
                writing::after((7, 3), "b"),
            ],
        )],
        &[],
    );
    assert_eq!(pieces(&whole, 3, &Limits::default()), Ok(vec![whole]));
}

/// Pieces of something that was not looked at.
#[test]
fn what_is_malformed_has_no_pieces() {
    let twice = update(
        &[client(7, 0, &[first("a")]), client(7, 1, &[first("b")])],
        &[],
    );
    assert!(pieces(&twice, 1, &Limits::default()).is_err());
    assert!(pieces(&[0, 0, 0], 1, &Limits::default()).is_err());
}
