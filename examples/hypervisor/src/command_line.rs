//! What to do: words of the command line, separated by spaces. Words that are not known are passed over: a loader may
//! put the image's path in front.

/// What the command line asks for.
#[derive(Clone, Copy, Debug)]
pub struct Request {
    /// What to do.
    pub action: Action,
    /// `cpus=N`: how many CPUs there are.
    pub cpus: usize,
}

/// What to do.
#[derive(Clone, Copy, Debug)]
pub enum Action {
    /// `scenario=NAME,NAME…`: these; `scenario=all`, or nothing: all.
    Run(&'static str),
    /// `list`, or `scenario=list`: print the names of the scenarios.
    List,
    /// `bench`, or `scenario=bench`: measure.
    Bench,
}

/// Reads a command line.
pub fn parse(line: &'static str) -> Request {
    let mut request = Request { action: Action::Run("all"), cpus: 1 };
    for word in line.split_ascii_whitespace() {
        match word.split_once('=') {
            None if word == "list" => request.action = Action::List,
            None if word == "bench" => request.action = Action::Bench,
            None if word == "all" => request.action = Action::Run("all"),
            Some(("scenario", "list")) => request.action = Action::List,
            Some(("scenario", "bench")) => request.action = Action::Bench,
            Some(("scenario", names)) => request.action = Action::Run(names),
            Some(("cpus", count)) => request.cpus = count.parse().unwrap_or(1),
            _ => {}
        }
    }
    request
}
