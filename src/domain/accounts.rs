//! What an account may be called and guarded by.

use super::Reject;

/// Longest username, in characters.
const MAX_USERNAME: usize = 64;
/// Longest address by RFC 5321, in bytes.
const MAX_EMAIL: usize = 254;
/// Shortest and longest password, in characters.
const MIN_PASSWORD: usize = 8;
const MAX_PASSWORD: usize = 256;

/// No `@`: whoever logs in says one or the other.
pub fn username(text: &str) -> Result<(), Reject> {
    let length = text.chars().count();
    let right = "right is 1 to 64 characters without spaces, control characters and @";
    if !(1..=MAX_USERNAME).contains(&length) {
        let sentence = format!("username has {length} characters; {right}");
        return Err(Reject::field("username", sentence));
    }
    let bad = |c: &char| c.is_whitespace() || c.is_control() || *c == '@';
    match text.chars().find(bad) {
        Some(bad) => {
            let sentence = format!("username has the character {bad:?}; {right}");
            Err(Reject::field("username", sentence))
        }
        None => Ok(()),
    }
}

/// Of the form somebody@somewhere; nobody writes there.
pub fn email(text: &str) -> Result<(), Reject> {
    let is_plain = !text.chars().any(|c| c.is_whitespace() || c.is_control());
    let halves = text.split_once('@');
    let is_address =
        halves.is_some_and(|(who, at)| !who.is_empty() && !at.is_empty() && !at.contains('@'));
    if is_plain && is_address && text.len() <= MAX_EMAIL {
        return Ok(());
    }
    let sentence = "email is no address; right is somebody@somewhere in at most 254 bytes";
    Err(Reject::field("email", sentence))
}

/// What may be somebody's password.
pub fn plain(field: &'static str, text: &str) -> Result<(), Reject> {
    if text.contains('\0') || text.chars().count() > MAX_PASSWORD {
        let right = format!("right is at most {MAX_PASSWORD}, none of them NUL");
        let sentence = format!("{field} is too long or has a NUL character; {right}");
        return Err(Reject::field(field, sentence));
    }
    Ok(())
}

pub fn password(field: &'static str, text: &str) -> Result<(), Reject> {
    let length = text.chars().count();
    if (MIN_PASSWORD..=MAX_PASSWORD).contains(&length) && !text.contains('\0') {
        return Ok(());
    }
    let sentence = format!(
        "{field} has {length} characters; right is {MIN_PASSWORD} to {MAX_PASSWORD}, none of them NUL"
    );
    Err(Reject::field(field, sentence))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_addresses_and_passwords() {
        for (text, right) in [
            ("ann", true),
            ("Ånn-Marie.O'Neill", true),
            (&"x".repeat(64), true),
            (&"x".repeat(65), false),
            ("", false),
            ("an n", false),
            ("a@b", false),
            ("a\0b", false),
        ] {
            assert_eq!(username(text).is_ok(), right, "{text:?}");
        }
        for (text, right) in [
            ("a@b", true),
            ("a+tag@b.example", true),
            ("a", false),
            ("@b", false),
            ("a@", false),
            ("a@b@c", false),
            ("a @b", false),
            (&format!("{}@b", "a".repeat(253)), false),
        ] {
            assert_eq!(email(text).is_ok(), right, "{text:?}");
        }
        for (text, right) in [("1234567", false), ("12345678", true), ("1234567\0", false)] {
            assert_eq!(password("password", text).is_ok(), right, "{text:?}");
        }
    }
}
