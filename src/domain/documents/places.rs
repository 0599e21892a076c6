//! Where a cursor is: lines and columns for people, UTF-16 indexes for the document.

use crate::domain::Cursor;

/// The index of a line and column; of one beyond the text or its line, the end of it.
pub fn index_of(text: &str, cursor: Cursor) -> u32 {
    let mut index = 0;
    let mut lines = text.split('\n');
    for _ in 1..cursor.line {
        match lines.next() {
            Some(line) => index += super::diff::units(line) + 1,
            None => break,
        }
    }
    let Some(line) = lines.next() else {
        // Behind the last line there is no line end.
        return index - 1;
    };
    index + (cursor.column - 1).min(super::diff::units(line))
}

/// The line and column of an index; of one beyond the text, its end.
pub fn cursor_at(text: &str, index: u32) -> Cursor {
    let (mut left, mut line, mut column) = (index, 1, 1);
    for one in text.chars() {
        let units = one.len_utf16() as u32;
        if left < units {
            break;
        }
        left -= units;
        if one == '\n' {
            (line, column) = (line + 1, 1);
        } else {
            column += units;
        }
    }
    Cursor { line, column }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_go_both_ways() {
        let text = "ab\n🙂c\n\nd";
        for (index, line, column) in [
            (0, 1, 1),
            (2, 1, 3),
            (3, 2, 1),
            (5, 2, 3),
            (6, 2, 4),
            (7, 3, 1),
            (8, 4, 1),
            (9, 4, 2),
        ] {
            let cursor = Cursor { line, column };
            assert_eq!(cursor_at(text, index), cursor);
            assert_eq!(index_of(text, cursor), index);
        }
    }

    #[test]
    fn what_is_beyond_is_the_end() {
        let at = |line, column| index_of("ab\ncd", Cursor { line, column });
        assert_eq!((at(1, 99), at(2, 99), at(9, 1)), (2, 5, 5));
        assert_eq!(index_of("", Cursor { line: 7, column: 7 }), 0);
        assert_eq!(cursor_at("ab", 99), Cursor { line: 1, column: 3 });
    }
}
