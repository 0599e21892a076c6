//! All settings as a `.env` file: what each is for, what is right, and its default, none of them set.

use std::fmt::Write;

use super::settings::SETTINGS;

/// Columns of a comment.
const WIDTH: usize = 118;

const HEAD: &str = "\
# Settings of collabd. Copy this file to .env beside where the node starts, and take the # from a line to change it.
# The environment and flags win over this file; `collabd check-config` prints what is in force, and names what is none.
# A value with spaces, $, # or quotes in it stands in 'single quotes'.
";

/// The file that `.env.example` holds.
pub fn env_example() -> String {
    let mut file = HEAD.to_owned();
    for setting in SETTINGS {
        file.push('\n');
        let help = setting.help.trim_end_matches('.');
        comment(&mut file, &format!("{help}. Right: {}.", setting.right));
        writeln!(file, "#{}={}", setting.name, setting.default).expect("a text takes any text");
    }
    file
}

fn comment(file: &mut String, text: &str) {
    let mut column = 0;
    for word in text.split_whitespace() {
        let length = word.chars().count();
        if column == 0 || column + 1 + length > WIDTH {
            file.push_str(if column == 0 { "#" } else { "\n#" });
            column = 1;
        }
        file.push(' ');
        file.push_str(word);
        column += 1 + length;
    }
    file.push('\n');
}
