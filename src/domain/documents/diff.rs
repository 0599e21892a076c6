//! From two whole texts to the least that turns one into the other, so that who edits elsewhere meanwhile loses
//! nothing.

use std::borrow::Cow;
use std::time::{Duration, Instant};

use similar::{Algorithm, DiffOp, capture_diff_slices_deadline};

/// How long it is looked for the least; then what was found so far is taken.
const PATIENCE: Duration = Duration::from_millis(20);
/// Edits of one change; of more, all between the first and the last is replaced.
const MOST: usize = 1_000;

/// One place where texts differ, in UTF-16 units of the old one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edit {
    pub at: u32,
    pub removed: u32,
    pub inserted: String,
}

/// Lines end in LF alone.
pub fn plain(text: &str) -> Cow<'_, str> {
    if text.contains("\r\n") {
        Cow::Owned(text.replace("\r\n", "\n"))
    } else {
        Cow::Borrowed(text)
    }
}

/// What turns `old` into `new`, in the order of the text. Characters are never split.
pub fn edits(old: &str, new: &str) -> Vec<Edit> {
    let begin = common_prefix(old, new);
    let (old_rest, new_rest) = (&old[begin..], &new[begin..]);
    let end = common_suffix(old_rest, new_rest);
    let old_rest = &old_rest[..old_rest.len() - end];
    let new_rest = &new_rest[..new_rest.len() - end];
    let at = units(&old[..begin]);
    if old_rest.is_empty() && new_rest.is_empty() {
        return Vec::new();
    }
    let whole = |at| Edit {
        at,
        removed: units(old_rest),
        inserted: new_rest.to_owned(),
    };
    if old_rest.is_empty() || new_rest.is_empty() {
        return vec![whole(at)];
    }
    let (old, new): (Vec<char>, Vec<char>) =
        (old_rest.chars().collect(), new_rest.chars().collect());
    let deadline = Instant::now() + PATIENCE;
    let ops = capture_diff_slices_deadline(Algorithm::Myers, &old, &new, Some(deadline));
    if ops.len() > 2 * MOST {
        return vec![whole(at)];
    }
    let (mut edits, mut at) = (Vec::new(), at);
    for op in ops {
        let (old, new) = (&old[op.old_range()], &new[op.new_range()]);
        let length: usize = old.iter().map(|one| one.len_utf16()).sum();
        if !matches!(op, DiffOp::Equal { .. }) {
            edits.push(Edit {
                at,
                removed: length as u32,
                inserted: new.iter().collect(),
            });
        }
        at += length as u32;
    }
    edits
}

/// Length in UTF-16 units.
pub fn units(text: &str) -> u32 {
    text.chars().map(|one| one.len_utf16() as u32).sum()
}

fn common_prefix(a: &str, b: &str) -> usize {
    let same = a.bytes().zip(b.bytes()).take_while(|(a, b)| a == b);
    let mut length = same.count();
    // Both are equal up to here, so a boundary in one is a boundary in the other.
    while !a.is_char_boundary(length) || !b.is_char_boundary(length) {
        length -= 1;
    }
    length
}

fn common_suffix(a: &str, b: &str) -> usize {
    let same = a.bytes().rev().zip(b.bytes().rev());
    let mut length = same.take_while(|(a, b)| a == b).count();
    while !a.is_char_boundary(a.len() - length) || !b.is_char_boundary(b.len() - length) {
        length -= 1;
    }
    length
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn applied(old: &str, edits: &[Edit]) -> String {
        let old: Vec<u16> = old.encode_utf16().collect();
        let (mut new, mut from) = (Vec::new(), 0);
        for edit in edits {
            let at = edit.at as usize;
            new.extend_from_slice(&old[from..at]);
            new.extend(edit.inserted.encode_utf16());
            from = at + edit.removed as usize;
        }
        new.extend_from_slice(&old[from..]);
        String::from_utf16(&new).expect("no pair is split")
    }

    #[test]
    fn what_differs_is_small() {
        let edit = |at, removed, inserted: &str| Edit {
            at,
            removed,
            inserted: inserted.to_owned(),
        };
        for (old, new, wanted) in [
            ("abc", "abc", vec![]),
            ("", "a", vec![edit(0, 0, "a")]),
            ("abc", "", vec![edit(0, 3, "")]),
            ("ac", "abc", vec![edit(1, 0, "b")]),
            ("aaa", "aaaa", vec![edit(3, 0, "a")]),
            ("x = 1\n", "x = 12\n", vec![edit(5, 0, "2")]),
            ("a🙂b", "a🙃b", vec![edit(1, 2, "🙃")]),
            ("🙂 one two", "🙂 ONE two", vec![edit(3, 3, "ONE")]),
            (
                "one two",
                "1 two three",
                vec![edit(0, 3, "1"), edit(7, 0, " three")],
            ),
        ] {
            assert_eq!(edits(old, new), wanted, "{old:?} {new:?}");
        }
    }

    /// Guards the worst that somebody may send: it costs no more than it is given.
    #[test]
    fn patience_has_an_end() {
        let old: String = (0..60_000_u32)
            .map(|n| char::from(b'a' + (n * 7 % 23) as u8))
            .collect();
        let new: String = (0..60_000_u32)
            .map(|n| char::from(b'a' + (n * n % 26) as u8))
            .collect();
        let found = edits(&old, &new);
        assert!(found.len() <= MOST + 1);
        assert_eq!(applied(&old, &found), new);
    }

    #[test]
    fn lines_end_in_one_way() {
        assert_eq!(plain("a\r\nb\rc\n"), "a\nb\rc\n");
        assert!(matches!(plain("a\nb"), Cow::Borrowed(_)));
    }

    proptest! {
        #[test]
        fn any_text_becomes_any_other(old in "[ab🙂é\n]{0,40}", new in "[ab🙃é\n]{0,40}") {
            prop_assert_eq!(applied(&old, &edits(&old, &new)), new);
        }
    }
}
