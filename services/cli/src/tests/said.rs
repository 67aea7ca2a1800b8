//! What is said of commands is so: each has its help, and each that documentation, console and error texts name can be typed.

use std::path::{Path, PathBuf};

use clap::error::ErrorKind;
use clap::{Command, CommandFactory, Parser};

use crate::args::Arguments;

/// The repository's folder.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

#[test]
fn every_command_and_option_says_what_it_is_for() {
    fn look(command: &Command, path: &str, silent: &mut Vec<String>) {
        let name = format!("{path} {}", command.get_name());
        if command.get_about().is_none() {
            silent.push(name.clone());
        }
        for argument in command.get_arguments().filter(|a| !a.is_positional() && a.get_help().is_none()) {
            silent.push(format!("{name} --{}", argument.get_id()));
        }
        command.get_subcommands().filter(|c| c.get_name() != "help").for_each(|inner| look(inner, &name, silent));
    }
    let mut command = Arguments::command();
    command.build();
    let mut silent = Vec::new();
    look(&command, "", &mut silent);
    assert!(silent.is_empty(), "`--help` says nothing of these: {silent:#?}");
}

/// Files below `folder` with one of these endings.
fn files(folder: &Path, endings: &[&str], found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let path = entry.path();
        if path.is_dir() {
            files(&path, endings, found);
        } else if path.extension().is_some_and(|e| endings.iter().any(|ending| e == *ending)) {
            found.push(path);
        }
    }
}

/// What a document shows to be typed: lines of blocks, and `gantry ...` within a text.
fn shown(document: &str) -> Vec<String> {
    let (mut found, mut text, mut fenced) = (Vec::new(), String::new(), false);
    let joined = document.replace("\\\n", " ");
    for line in joined.lines() {
        let fence = line.trim_start().starts_with("```");
        fenced ^= fence;
        if fenced || line.starts_with("    ") {
            found.extend(line.trim().trim_start_matches("$ ").split(" && ").flat_map(|part| part.split("; ")).map(str::to_owned));
        } else if !fence {
            text += line;
            text.push(' ');
        }
    }
    found.extend(text.split('`').skip(1).step_by(2).map(str::to_owned));
    found.retain(|line| line.starts_with("gantry "));
    found
}

/// One line as the words of commands: without what a shell does besides, `[--all]` as `--all`, `show|set` as two commands.
fn typed(line: &str) -> Vec<Vec<String>> {
    let (mut words, mut quote, mut end, mut bracket) = (vec![String::new()], None, false, false);
    for c in line.chars() {
        match (quote, c) {
            (Some(q), c) if q == c => quote = None,
            (None, '\'' | '"') => quote = Some(c),
            (None, '[' | ']') => {}
            // A redirection, a comment, the next command: nothing of it is ours. `<id>` is a word to be put in.
            (None, '#') if words.last().is_some_and(String::is_empty) => end = true,
            (None, '>') if bracket => bracket = false,
            (None, '>') => end = true,
            (None, '<') => {
                bracket = true;
                words.last_mut().unwrap().push('1');
            }
            (None, '|') if words.last().is_some_and(String::is_empty) => end = true,
            (None, ' ') if !bracket => words.push(String::new()),
            (_, c) if !bracket => words.last_mut().unwrap().push(c),
            _ => {}
        }
        if end {
            break;
        }
    }
    words.retain(|w| !w.is_empty() && w != "...");
    let both = words.iter().take(4).position(|w| w.contains('|'));
    let Some(at) = both else { return vec![words] };
    let of = |one: &str| -> Vec<String> { words.iter().enumerate().map(|(i, w)| if i == at { one.to_owned() } else { w.clone() }).collect() };
    words[at].split('|').map(of).collect()
}

/// What is wrong with a command; that it is only mentioned, without all it needs, is nothing.
fn wrong(words: &[String]) -> Option<String> {
    let fine = [ErrorKind::MissingRequiredArgument, ErrorKind::MissingSubcommand, ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand];
    let help = [ErrorKind::DisplayHelp, ErrorKind::DisplayVersion];
    let error = Arguments::try_parse_from(words).err()?;
    if fine.contains(&error.kind()) || help.contains(&error.kind()) {
        return None;
    }
    if words.last().is_some_and(|w| w.starts_with('-')) && error.kind() == ErrorKind::InvalidValue {
        // An option that is mentioned without its value.
        let whole: Vec<String> = words.iter().cloned().chain(["1".to_owned()]).collect();
        return wrong(&whole);
    }
    Some(format!("{}: {}", words.join(" "), error.to_string().lines().next().unwrap_or_default()))
}

#[test]
fn what_the_documentation_shows_can_be_typed() {
    let (mut documents, mut seen, mut faults) = (vec![root().join("README.md")], 0, Vec::new());
    files(&root().join("docs"), &["md"], &mut documents);
    for document in documents {
        for words in shown(&std::fs::read_to_string(&document).unwrap()).iter().flat_map(|line| typed(line)) {
            seen += 1;
            faults.extend(wrong(&words).map(|fault| format!("{}: {fault}", document.display())));
        }
    }
    assert!(seen > 250, "only {seen} commands were found");
    assert!(faults.is_empty(), "no such command: {faults:#?}");
}

/// The commands that running text names: as far as words can be parts of one.
fn named(text: &str) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    for after in text.split("gantry ").skip(1) {
        let words = after.split(' ').take(3);
        let words = words.take_while(|w| w.starts_with(|c: char| c.is_ascii_lowercase()) && w.chars().all(|c| c.is_ascii_lowercase() || c == '-'));
        found.push(words.map(str::to_owned).collect());
    }
    found.retain(|words: &Vec<String>| !words.is_empty());
    found
}

/// Whether words lead to a command: the rest of them may be anything.
fn leads(words: &[String]) -> bool {
    let mut command = Arguments::command();
    command.build();
    let mut at = &command;
    for word in words {
        if !at.has_subcommands() {
            return true;
        }
        match at.find_subcommand(word) {
            Some(inner) => at = inner,
            None => return false,
        }
    }
    true
}

#[test]
fn what_the_console_tells_people_to_type_can_be_typed() {
    let mut sources = Vec::new();
    files(&root().join("services/gateway/console/src"), &["ts", "tsx"], &mut sources);
    let mut faults = Vec::new();
    for source in sources {
        let text = std::fs::read_to_string(&source).unwrap();
        faults.extend(named(&text).into_iter().filter(|words| !leads(words)).map(|words| format!("{}: gantry {}", source.display(), words.join(" "))));
    }
    assert!(faults.is_empty(), "no such command: {faults:#?}");
}

#[test]
fn lines_of_documents_are_read_as_a_shell_would() {
    let words = |line: &str| typed(line).into_iter().map(|w| w.join(" ")).collect::<Vec<_>>();
    assert_eq!(words("gantry app export shop [--secrets] > out.yaml"), ["gantry app export shop --secrets"]);
    assert_eq!(words("gantry security-policy show|set --platform"), ["gantry security-policy show --platform", "gantry security-policy set --platform"]);
    assert_eq!(words("gantry client remove-secret grafana <secret id>"), ["gantry client remove-secret grafana 1"]);
    assert_eq!(words("gantry cluster manifest | kubectl apply -f -"), ["gantry cluster manifest"]);
    assert_eq!(typed("gantry app exec web -- sh -c 'ls | wc'  # lines")[0].last().unwrap(), "ls | wc");
    let document = "Text `gantry a`.\n\n    gantry org create acme && gantry use acme\n\n```sh\n$ gantry b \\\n  --c; gantry d\n```\n";
    let found: Vec<String> = shown(document).iter().map(|l| l.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    assert_eq!(found, ["gantry org create acme", "gantry use acme", "gantry b --c", "gantry d", "gantry a"]);
    assert_eq!(named("(`gantry token create laptop` makes one)"), [["token", "create"]]);
    assert!(leads(&["token".to_owned(), "create".to_owned()]) && !leads(&["auth".to_owned(), "token".to_owned()]));
}
