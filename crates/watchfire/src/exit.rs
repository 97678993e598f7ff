//! How the program ends: exit codes by blame, and errors that fit on one line.

use std::fmt;
use std::io::Write as _;
use std::process::ExitCode;

/// Whose fault a failure is; decides the exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Blame {
    /// The peer, or the data asked for, answered "no": refused, not found, invalid. Exit code 1.
    PeerRefused,
    /// The command line, the configuration, or this machine (a file that cannot be read or written). Exit code 2.
    Usage,
    /// The peer could not be reached in time. Exit code 3.
    Unreachable,
    /// The peer broke the protocol. Exit code 4.
    PeerMisbehaved,
}

impl Blame {
    /// The exit code, 1 to 4.
    pub fn code(self) -> u8 {
        match self {
            Self::PeerRefused => 1,
            Self::Usage => 2,
            Self::Unreachable => 3,
            Self::PeerMisbehaved => 4,
        }
    }
}

/// Why a command failed: what, where, and what to do about it.
///
/// Its `Display` is a single line whatever it was made from: control characters (a peer's reason phrase may hold
/// them) are replaced, so that a log or a terminal is never written to by somebody else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    blame: Blame,
    what: String,
    place: Option<String>,
    remedy: Option<String>,
}

impl Failure {
    /// A failure of the given blame; `what` says what failed, in lower case and without a full stop.
    pub fn new(blame: Blame, what: impl Into<String>) -> Self {
        Self { blame, what: what.into(), place: None, remedy: None }
    }

    /// Bad usage or configuration, or a local file in the way: exit code 2.
    pub fn usage(what: impl Into<String>) -> Self {
        Self::new(Blame::Usage, what)
    }

    /// The peer said no: exit code 1.
    pub fn refused(what: impl Into<String>) -> Self {
        Self::new(Blame::PeerRefused, what)
    }

    /// The peer could not be reached, or took too long: exit code 3.
    pub fn unreachable(what: impl Into<String>) -> Self {
        Self::new(Blame::Unreachable, what)
    }

    /// The peer broke the protocol: exit code 4.
    pub fn misbehaved(what: impl Into<String>) -> Self {
        Self::new(Blame::PeerMisbehaved, what)
    }

    /// Says where: a file with line, or a peer.
    #[must_use]
    pub fn at(mut self, place: impl fmt::Display) -> Self {
        self.place = Some(place.to_string());
        self
    }

    /// Says in which service it happened, before what is known of the place.
    #[must_use]
    pub fn within(mut self, service: &str) -> Self {
        self.place = Some(match self.place {
            Some(place) => format!("{service}: {place}"),
            None => service.to_owned(),
        });
        self
    }

    /// Says what to do.
    #[must_use]
    pub fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }

    /// Where it was, as far as that was said.
    pub(crate) fn place(&self) -> Option<&str> {
        self.place.as_deref()
    }

    /// Whose fault it is.
    pub fn blame(&self) -> Blame {
        self.blame
    }

    /// Writes the line to standard error and gives the exit code.
    pub fn report(&self) -> ExitCode {
        // Nobody is left to be told when standard error is gone.
        let _ = writeln!(std::io::stderr().lock(), "error: {self}");
        ExitCode::from(self.blame.code())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(place) = &self.place {
            write!(f, "{}: ", OneLine(place))?;
        }
        write!(f, "{}", OneLine(&self.what))?;
        if let Some(remedy) = &self.remedy {
            write!(f, "; {}", OneLine(remedy))?;
        }
        Ok(())
    }
}

impl std::error::Error for Failure {}

/// A local file operation failed.
pub fn file_failure(doing: &str, path: &std::path::Path, error: &std::io::Error) -> Failure {
    let failure = Failure::usage(format!("cannot {doing}: {error}")).at(path.display());
    match error.kind() {
        std::io::ErrorKind::NotFound => failure.remedy("check the path"),
        std::io::ErrorKind::PermissionDenied => failure.remedy("check the owner and mode of the file and its folders"),
        std::io::ErrorKind::AlreadyExists => failure.remedy("choose another name or remove it first"),
        std::io::ErrorKind::StorageFull => failure.remedy("make room on the disk"),
        _ => failure,
    }
}

/// Text with every control character replaced by a space.
struct OneLine<'a>(&'a str);

impl fmt::Display for OneLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use fmt::Write as _;
        self.0.trim_end().chars().try_for_each(|c| f.write_char(if c.is_control() { ' ' } else { c }))
    }
}

/// Turns clap's answer into the program's end: help and version go to standard output with code 0, mistakes become
/// one line and code 2.
pub fn clap_exit(error: &clap::Error) -> ExitCode {
    use clap::error::ErrorKind;
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            match error.print().and_then(|()| std::io::stdout().flush()).map_err(|error| crate::out::failed(&error)) {
                Err(Err(failure)) => failure.report(),
                _ => ExitCode::SUCCESS,
            }
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            let _ = error.print();
            ExitCode::from(Blame::Usage.code())
        }
        _ => clap_failure(error).report(),
    }
}

/// clap's several lines as one.
pub fn clap_failure(error: &clap::Error) -> Failure {
    let text = error.render().to_string();
    let mut what = String::new();
    let mut tip = None;
    let mut usage = None;
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        if let Some(rest) = line.strip_prefix("tip: ") {
            tip = Some(rest.to_owned());
        } else if let Some(rest) = line.strip_prefix("Usage: ") {
            usage = Some(rest.split(" <").next().unwrap_or(rest).split(" [").next().unwrap_or(rest).to_owned());
        } else if line.starts_with("For more information") {
            break;
        } else if usage.is_none() {
            if !what.is_empty() {
                what.push(' ');
            }
            what.push_str(line.strip_prefix("error: ").unwrap_or(line));
        }
    }
    let command = usage.as_deref().and_then(|usage| usage.split(" -").next()).unwrap_or("watchfire").to_owned();
    let help = format!("see `{command} --help`");
    Failure::usage(what).remedy(match tip {
        Some(tip) => format!("{tip}; {help}"),
        None => help,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_the_contract() {
        let codes = [Blame::PeerRefused, Blame::Usage, Blame::Unreachable, Blame::PeerMisbehaved].map(Blame::code);
        assert_eq!(codes, [1, 2, 3, 4]);
    }

    #[test]
    fn a_failure_is_one_line_whatever_the_peer_sends() {
        let failure = Failure::refused("peer said \u{1b}[2J403\r\nnope").at("192.0.2.1:1\n").remedy("ask\nthem");
        assert_eq!(failure.to_string(), "192.0.2.1:1: peer said  [2J403  nope; ask them");
    }

    #[test]
    fn missing_arguments_fit_on_a_line() {
        let error = clap::Command::new("prog")
            .subcommand(clap::Command::new("sub").arg(clap::Arg::new("cert").long("cert").required(true)))
            .try_get_matches_from(["prog", "sub"])
            .unwrap_err();
        let line = clap_failure(&error).to_string();
        assert!(!line.contains('\n') && line.contains("--cert") && line.contains("`prog sub --help`"), "{line}");
    }
}
