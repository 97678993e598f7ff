//! What documents say is so: commands and flags exist, files are there, blocks of code can be read by what reads them.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use clap::CommandFactory as _;
use clap::Parser as _;
use watchfire::cli::Cli;

use crate::shell;
use crate::{files, root};

/// Flags of programs that are not ours, and of cargo.
const FOREIGN_FLAGS: &[&str] = &[
    "--all-features",
    "--all-targets",
    "--example",
    "--features",
    "--lib",
    "--locked",
    "--no-default-features",
    "--release",
    "--workspace",
];

/// The documents that people read. Tables of requirements have tests of their own.
fn documents() -> Vec<(PathBuf, String)> {
    let root = root();
    let mut found = Vec::new();
    for folder in ["docs", "contrib", "crates", "benches", "fuzz", "tests"] {
        files(&root.join(folder), ".md", &mut found);
    }
    for name in ["README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md"] {
        found.push(root.join(name));
    }
    found.retain(|path| {
        let relative = path.strip_prefix(&root).unwrap().to_string_lossy().into_owned();
        // A link to what is looked at already; vectors and seeds say where they come from, outside of here.
        !relative.ends_with("SPEC.md") && !relative.starts_with("tests/vectors") && !relative.contains("/target/")
    });
    found.sort();
    assert!(found.len() > 25, "{found:?}");
    found.into_iter().map(|path| (path.clone(), std::fs::read_to_string(&path).unwrap())).collect()
}

/// What is wrong, all of it at once.
#[derive(Default)]
struct Wrong(Vec<String>);

impl Wrong {
    fn say(&mut self, what: String) {
        self.0.push(what);
    }

    fn unless(&mut self, holds: bool, what: impl FnOnce() -> String) {
        if !holds {
            self.say(what());
        }
    }

    fn end(self) {
        assert!(self.0.is_empty(), "\n{}", self.0.join("\n"));
    }
}

/// A fenced block: its language and its text, and the line of the document where it begins.
struct Block {
    language: String,
    text: String,
    line: usize,
}

/// The blocks of a document, and what is left without them.
fn split(text: &str) -> (Vec<Block>, String) {
    let (mut blocks, mut prose) = (Vec::new(), String::new());
    let mut open: Option<Block> = None;
    for (number, line) in text.lines().enumerate() {
        match (&mut open, line.strip_prefix("```")) {
            (None, Some(language)) => {
                open = Some(Block { language: language.to_owned(), text: String::new(), line: number + 1 });
            }
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (Some(block), None) => {
                block.text.push_str(line);
                block.text.push('\n');
            }
            (None, None) => {
                prose.push_str(line);
                prose.push('\n');
            }
        }
    }
    assert!(open.is_none(), "a block is not closed");
    (blocks, prose)
}

/// What stands between single backticks; a span may go over the end of a line.
fn spans(prose: &str) -> Vec<String> {
    prose
        .split("\n\n")
        .flat_map(|paragraph| paragraph.split('`').skip(1).step_by(2).map(|span| span.replace('\n', " ")))
        .collect()
}

fn place(path: &Path) -> String {
    path.strip_prefix(root()).unwrap().display().to_string()
}

/// Every flag of every command.
fn all_flags(command: &clap::Command, found: &mut BTreeSet<String>) {
    found.extend(command.get_arguments().filter_map(|argument| argument.get_long()).map(|long| format!("--{long}")));
    command.get_subcommands().for_each(|sub| all_flags(sub, found));
}

fn program() -> clap::Command {
    let mut command = Cli::command();
    command.build();
    command
}

fn known_flags() -> BTreeSet<String> {
    let mut flags: BTreeSet<String> = ["--help".to_owned(), "--version".to_owned()].into();
    all_flags(&program(), &mut flags);
    assert!(flags.len() > 150, "{}", flags.len());
    flags
}

/// The flags in a text: two dashes, then small letters, figures and dashes.
fn flags_in(text: &str) -> Vec<String> {
    let is_part = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let mut found = Vec::new();
    for (at, _) in text.match_indices("--") {
        let before = text[..at].chars().next_back();
        let rest = &text[at + 2..];
        if before.is_none_or(|c| !is_part(c) && !c.is_alphanumeric())
            && rest.starts_with(|c: char| c.is_ascii_lowercase())
        {
            let end = rest.find(|c| !is_part(c)).unwrap_or(rest.len());
            found.push(format!("--{}", rest[..end].trim_end_matches('-')));
        }
    }
    found
}

#[test]
fn every_command_in_a_block_is_one_that_exists() {
    let mut ours = 0;
    let mut wrong = Wrong::default();
    for (path, text) in documents() {
        for block in split(&text).0.into_iter().filter(|block| block.language == "sh") {
            let place = format!("{}:{}", place(&path), block.line);
            let commands = shell::commands(&block.text).unwrap_or_else(|error| {
                wrong.say(format!("{place}: {error}"));
                Vec::new()
            });
            for words in commands {
                let words: Vec<&str> = words.iter().map(String::as_str).collect();
                match words.as_slice() {
                    ["watchfire", ..] => {
                        ours += 1;
                        if let Err(error) = Cli::try_parse_from(&words) {
                            wrong.say(format!("{place}: {}\n{error}", words.join(" ")));
                        }
                    }
                    ["cargo", "run", flags @ ..] if !flags.contains(&"--example") => {
                        ours += 1;
                        let at = flags.iter().position(|word| *word == "--").expect("arguments of the program");
                        let arguments = ["watchfire"].iter().chain(&flags[at + 1..]);
                        if let Err(error) = Cli::try_parse_from(arguments) {
                            wrong.say(format!("{place}: {}\n{error}", words.join(" ")));
                        }
                    }
                    ["cargo", rest @ ..] => cargo_knows(rest, &place, &mut wrong),
                    [first, rest @ ..] => {
                        // Scripts of ours are called by their path.
                        for word in [first].into_iter().chain(rest) {
                            let ours = ["benches/", "contrib/", ".ci/", "fuzz/", "tests/"];
                            let inside = ours.iter().any(|folder| word.starts_with(folder));
                            wrong.unless(!inside || root().join(word).exists(), || {
                                format!("{place}: {word} is not there")
                            });
                        }
                    }
                    [] => {}
                }
            }
        }
    }
    wrong.end();
    assert!(ours >= 60, "only {ours} commands of the program found");
}

/// Packages, examples, benches and tests that cargo is asked for.
fn cargo_knows(words: &[&str], place: &str, wrong: &mut Wrong) {
    let words: Vec<&str> = words.split(|word| *word == "--").next().unwrap_or_default().to_vec();
    let after = |flags: &[&str]| {
        words.iter().zip(words.iter().skip(1)).find(|(word, _)| flags.contains(word)).map(|(_, value)| *value)
    };
    let manifests = ["tests", "benches", "fuzz"].map(|folder| root().join(folder));
    let crates = std::fs::read_dir(root().join("crates")).unwrap().map(|folder| folder.unwrap().path());
    let folders: Vec<PathBuf> = crates.chain(manifests).collect();
    let manifest = |folder: &PathBuf| std::fs::read_to_string(folder.join("Cargo.toml")).unwrap();
    let mut folder = None;
    if let Some(package) = after(&["-p", "--package"]) {
        let wanted = format!("name = \"{package}\"");
        folder = folders.iter().find(|folder| manifest(folder).lines().any(|line| line == wanted)).cloned();
        wrong.unless(folder.is_some(), || format!("{place}: there is no package {package}"));
    }
    let searched: Vec<&PathBuf> = folder.iter().chain(folders.iter().filter(|_| folder.is_none())).collect();
    for (flag, subfolder) in [("--example", "examples"), ("--test", "tests"), ("--bench", "benches")] {
        let Some(name) = after(&[flag]) else { continue };
        let found = searched.iter().any(|folder| {
            folder.join(subfolder).join(format!("{name}.rs")).exists()
                || folder.join(subfolder).join(name).join("main.rs").exists()
                || manifest(folder).contains(&format!("name = \"{name}\""))
        });
        wrong.unless(found, || format!("{place}: there is no {subfolder} {name}"));
    }
    for feature in after(&["--features"]).into_iter().flat_map(|features| features.split(',')) {
        let found = searched.iter().any(|folder| manifest(folder).contains(&format!("\n{feature} = [")));
        wrong.unless(found, || format!("{place}: there is no feature {feature}"));
    }
}

#[test]
fn every_command_and_flag_in_prose_exists() {
    let program = program();
    let flags = known_flags();
    let (mut commands, mut mentioned) = (0, 0);
    let mut wrong = Wrong::default();
    for (path, text) in documents() {
        let place = place(&path);
        for span in spans(&split(&text).1) {
            let foreign = span.starts_with("cargo ") && !span.contains(" -- ");
            let known = |flag: &String| flags.contains(flag) || FOREIGN_FLAGS.contains(&flag.as_str());
            let others: Vec<String> = if foreign { Vec::new() } else { flags_in(&span) };
            // Flags of other programs stand in their own commands: `systemd-analyze --man`.
            let elsewhere = span.split(' ').next().is_some_and(|word| OTHER_PROGRAMS.contains(&word));
            for flag in others {
                mentioned += 1;
                wrong.unless(elsewhere || known(&flag), || format!("{place}: no command has {flag} (in `{span}`)"));
            }
            let Some(rest) = span.strip_prefix("watchfire ") else { continue };
            commands += 1;
            let mut at = &program;
            for word in rest.split(' ') {
                // `watchfire iap sensor`, also `obp refresh|unbind`; what begins otherwise is an argument.
                if !word.starts_with(|c: char| c.is_ascii_lowercase()) || at.get_subcommands().next().is_none() {
                    break;
                }
                let word = word.trim_matches(|c: char| !c.is_ascii_alphanumeric());
                let Some(found) = at.find_subcommand(word) else {
                    wrong.say(format!("{place}: `{span}`: there is no {word}"));
                    break;
                };
                at = found;
            }
            for flag in flags_in(rest) {
                let name = flag.trim_start_matches('-');
                let has = at.get_arguments().any(|argument| argument.get_long() == Some(name));
                wrong.unless(has || name == "help", || format!("{place}: `{span}`: {} has no {flag}", at.get_name()));
            }
        }
    }
    wrong.end();
    assert!(commands > 80 && mentioned > 200, "{commands} commands and {mentioned} flags found");
}

/// Programs whose flags stand in documents.
const OTHER_PROGRAMS: &[&str] =
    &["certbot", "nft", "systemctl", "systemd-analyze", "docker", "podman", "lego", "git", "unshare"];

#[test]
fn every_file_that_is_named_is_there() {
    let mut named = 0;
    let mut wrong = Wrong::default();
    for (path, text) in documents() {
        let folder = path.parent().unwrap();
        let (_, prose) = split(&text);
        let links = prose.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        for link in links {
            let file = link.split('#').next().unwrap_or_default();
            // Links of rustdoc are checked by rustdoc.
            if file.is_empty() || file.contains("://") || file.contains("::") || !file.contains(['/', '.']) {
                continue;
            }
            named += 1;
            wrong
                .unless(folder.join(file).exists(), || format!("{} links to {file}, which is not there", place(&path)));
        }
        for span in spans(&prose) {
            let span = span.split("::").next().unwrap_or_default();
            let of_ours = ["docs/", "crates/", "benches/", "contrib/", ".ci/", "tests/", "fuzz/", "examples/"];
            if !of_ours.iter().any(|start| span.starts_with(start)) || span.contains(['*', ' ', '<', '{', '…']) {
                continue;
            }
            named += 1;
            let there = root().join(span).exists() || folder.join(span).exists();
            wrong.unless(there, || format!("{} names {span}, which is not there", place(&path)));
        }
    }
    wrong.end();
    assert!(named > 60, "only {named} files found");
}

#[test]
fn every_page_is_in_the_index() {
    let index = std::fs::read_to_string(root().join("docs/README.md")).unwrap();
    for entry in std::fs::read_dir(root().join("docs")).unwrap() {
        let name = entry.unwrap().file_name().to_str().unwrap().to_owned();
        let listed = name == "README.md" || index.contains(&format!("]({name})"));
        assert!(listed || !name.ends_with(".md"), "docs/README.md does not list {name}");
    }
}

#[test]
fn help_names_flags_and_files_that_exist() {
    let flags = known_flags();
    let mut texts = Vec::new();
    help(&program(), "watchfire", &mut texts);
    assert!(texts.len() > 300, "{}", texts.len());
    let mut wrong = Wrong::default();
    for (place, text) in texts {
        for flag in flags_in(&text) {
            wrong.unless(flags.contains(&flag), || format!("{place}: no command has {flag}: {text}"));
        }
        for word in text.split([' ', '`', '(', ')', '\n']) {
            let word = word.trim_end_matches(['.', ',', ';', ':']);
            if ["docs/", "crates/", "contrib/"].iter().any(|start| word.starts_with(start)) {
                wrong.unless(root().join(word).exists(), || format!("{place} names {word}, which is not there"));
            }
        }
    }
    wrong.end();
}

fn help(command: &clap::Command, path: &str, texts: &mut Vec<(String, String)>) {
    let own = [command.get_about(), command.get_long_about(), command.get_after_help(), command.get_after_long_help()];
    texts.extend(own.into_iter().flatten().map(|text| (path.to_owned(), text.to_string())));
    for argument in command.get_arguments() {
        for text in [argument.get_help(), argument.get_long_help()].into_iter().flatten() {
            texts.push((format!("{path} {}", argument.get_id()), text.to_string()));
        }
    }
    for sub in command.get_subcommands().filter(|sub| sub.get_name() != "help") {
        help(sub, &format!("{path} {}", sub.get_name()), texts);
    }
}

/// Rust in documents is compiled and run: that of a crate's README by the crate, that of docs/ by this package.
#[test]
fn every_block_of_rust_is_a_doctest_and_every_block_has_a_language() {
    let own = std::fs::read_to_string(root().join("tests/src/lib.rs")).unwrap();
    let mut compiled = 0;
    let mut wrong = Wrong::default();
    for (path, text) in documents() {
        let place = place(&path);
        let readme = place.starts_with("crates/") && place.ends_with("/README.md");
        for block in split(&text).0 {
            let language = block.language.split(',').next().unwrap_or_default();
            let rust = language == "rust" || language == "no_run" || (language.is_empty() && readme);
            let at = || format!("{place}:{}", block.line);
            wrong.unless(!language.is_empty() || readme, || format!("{}: a block without language", at()));
            wrong.unless(!block.language.contains("ignore"), || format!("{}: a block that is not compiled", at()));
            let included = !rust || readme || own.contains(&format!("../../{place}\")"));
            wrong.unless(included, || format!("{} has Rust that nobody compiles", at()));
            compiled += usize::from(rust);
        }
    }
    wrong.end();
    assert!(compiled >= 15, "only {compiled} blocks of Rust found");
}

#[test]
fn every_block_of_json_is_json() {
    for (path, text) in documents() {
        for block in split(&text).0.into_iter().filter(|block| block.language == "json") {
            let place = format!("{}:{}", place(&path), block.line);
            let whole = serde_json::from_str::<serde_json::Value>(&block.text).is_ok();
            let lines = block.text.lines().all(|line| serde_json::from_str::<serde_json::Value>(line).is_ok());
            assert!(whole || lines, "{place} is neither a document nor a line each");
        }
    }
}
