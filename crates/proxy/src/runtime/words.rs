//! Lines of the runtime socket: commands between semicolons, words between blanks, backslashes before what is meant
//! literally.

/// Octets of one line, with all its commands. HAProxy's is the size of its buffer.
pub(super) const LINE_MAX: usize = 16 * 1024;
/// Words of one command; HAProxy takes as many.
const WORDS_MAX: usize = 64;

/// The commands of a line, each as its words. A line without any word is one command without words.
pub(super) fn commands(line: &str) -> Vec<Vec<String>> {
    let mut commands = vec![Vec::new()];
    let mut word: Option<String> = None;
    let mut characters = line.chars();
    let finish = |word: &mut Option<String>, commands: &mut Vec<Vec<String>>| {
        let (Some(word), Some(command)) = (word.take(), commands.last_mut()) else {
            return;
        };
        if command.len() < WORDS_MAX {
            command.push(word);
        }
    };
    while let Some(character) = characters.next() {
        match character {
            '\\' => {
                if let Some(literal) = characters.next() {
                    word.get_or_insert_default().push(literal);
                }
            }
            ';' => {
                finish(&mut word, &mut commands);
                commands.push(Vec::new());
            }
            ' ' | '\t' | '\r' | '\n' => finish(&mut word, &mut commands),
            _ => word.get_or_insert_default().push(character),
        }
    }
    finish(&mut word, &mut commands);
    if commands.len() > 1 && commands.last().is_some_and(Vec::is_empty) {
        commands.pop();
    }
    commands
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_separated_by_blanks_and_commands_by_semicolons() {
        let words = |line| {
            commands(line)
                .iter()
                .map(|words| words.join("|"))
                .collect::<Vec<_>>()
        };
        assert_eq!(words("show  info;show\tstat ;\r"), ["show|info", "show|stat"]);
        assert_eq!(words(""), [""]);
        assert_eq!(words("a;;b"), ["a", "", "b"]);
    }

    #[test]
    fn a_backslash_takes_the_next_character_literally() {
        assert_eq!(commands(r"show env a\;b\ c\\d"), [["show", "env", r"a;b c\d"]]);
        assert_eq!(commands("end\\"), [["end"]]);
    }

    #[test]
    fn more_words_than_any_command_has_are_dropped() {
        assert_eq!(commands(&"a ".repeat(1000))[0].len(), WORDS_MAX);
    }
}
