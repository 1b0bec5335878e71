//! README.md and README.ja.md: they have the same tables, and the settings there are those of the program.

use crate::server::{Launch, VARIABLES};

const ENGLISH: &str = include_str!("../../README.md");
const JAPANESE: &str = include_str!("../../README.ja.md");

/// A flag as `--help` has it.
#[derive(Debug, Default, PartialEq)]
struct Flag {
    name: String,
    variable: Option<String>,
    default: Option<String>,
}

/// All flags in their order, but for those that every program has.
fn flags() -> Vec<Flag> {
    let help = Launch::chat().arguments(&["--help"]).run().stdout;
    let mut flags: Vec<Flag> = vec![];
    for line in help.lines().map(str::trim) {
        let within = |begin: &str| Some(line.strip_prefix(begin)?.strip_suffix(']')?.to_owned());
        if line.starts_with("--") {
            let name = line.split(' ').next().unwrap().to_owned();
            flags.push(Flag { name, ..Flag::default() });
        } else if let Some(variable) = within("[env: ") {
            let name = variable.split('=').next().unwrap().to_owned();
            flags.last_mut().unwrap().variable = Some(name);
        } else if let Some(default) = within("[default: ") {
            flags.last_mut().unwrap().default = Some(default);
        }
    }
    flags
}

/// What is written as code in a text.
fn code(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

/// Lines of tables.
fn rows(text: &str) -> Vec<&str> {
    text.lines().filter(|line| line.starts_with('|')).collect()
}

#[test]
fn both_languages_have_the_settings_of_the_program_in_its_order_with_their_variables_and_defaults() {
    let flags = flags();
    assert!(flags.len() > 20, "{flags:?}");
    for readme in [ENGLISH, JAPANESE] {
        let settings = rows(readme).into_iter().filter(|row| row.starts_with("| `--"));
        let settings: Vec<Vec<&str>> = settings.map(|row| row.split(" | ").collect()).collect();
        let names: Vec<&str> = settings.iter().map(|cells| code(cells[0])[0]).collect();
        assert_eq!(names, flags.iter().map(|flag| &*flag.name).collect::<Vec<_>>());
        for (cells, Flag { name, variable, default }) in settings.iter().zip(&flags) {
            assert_eq!(code(cells[1]).first().copied(), variable.as_deref(), "{name}");
            if let Some(default) = default {
                assert_eq!(code(cells[3]).first(), Some(&&**default), "{name}");
            }
        }
    }
}

#[test]
fn both_languages_have_the_same_tables_row_by_row_in_all_that_is_code() {
    let (english, japanese) = (rows(ENGLISH), rows(JAPANESE));
    assert_eq!(english.len(), japanese.len());
    for (english, japanese) in english.into_iter().zip(japanese) {
        let [mut one, mut other] = [english, japanese].map(code);
        one.sort_unstable();
        other.sort_unstable();
        assert_eq!(one, other, "{english}\n{japanese}");
    }
}

#[test]
fn no_setting_of_whoever_runs_the_tests_reaches_a_server_of_theirs() {
    for Flag { name, variable, .. } in flags() {
        assert!(variable.is_none_or(|variable| VARIABLES.contains(&&*variable)), "{name}");
    }
}
