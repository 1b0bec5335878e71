//! The command line of a program, and its description in a README.

use clap::Command;

/// Gives settings of the shared groups the defaults of one program, by their ids, such as `("port", "4100")`.
#[must_use]
pub fn with_defaults(command: Command, defaults: &[(&'static str, &'static str)]) -> Command {
    defaults
        .iter()
        .fold(command, |command, &(id, default)| command.mut_arg(id, |arg| arg.default_value(default)))
}

/// For a test: the rows of a README that begin with a flag are the settings, in the order of `--help`, with their variable
/// in the second cell and their default in the last.
///
/// # Panics
/// If they are not.
pub fn assert_readme_has(mut command: Command, readme: &str) {
    let code = |cell: &str| cell.split('`').nth(1).unwrap_or_default().to_owned();
    let rows = readme.lines().filter(|row| row.starts_with("| `--"));
    let cells = |row: &str| row.trim_matches('|').split('|').map(code).collect::<Vec<_>>();
    let rows: Vec<_> = rows.map(cells).collect();
    let help = command.render_long_help().to_string();
    let names = help.lines().filter_map(|line| line.trim().strip_prefix("--")?.split([' ', '[']).next());
    let flags: Vec<_> = names
        .filter_map(|name| Some((name, command.get_arguments().find(|arg| arg.get_long() == Some(name))?)))
        .collect();
    let flag = |row: &Vec<String>| row.first().cloned().unwrap_or_default();
    assert_eq!(
        rows.iter().map(flag).collect::<Vec<_>>(),
        flags.iter().map(|(name, _)| format!("--{name}")).collect::<Vec<_>>()
    );
    for (row, (name, arg)) in rows.iter().zip(flags) {
        let cell = |at: Option<&String>| at.cloned().unwrap_or_default();
        assert_eq!(cell(row.get(1)), arg.get_env().unwrap_or_default().to_string_lossy(), "{name}");
        let default = arg.get_default_values().first().map(|value| value.to_string_lossy());
        if let Some(default) = default.filter(|text| !text.is_empty() && *text != "false") {
            assert_eq!(cell(row.last()), default, "{name}");
        }
    }
}
