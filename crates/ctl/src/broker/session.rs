//! A verb at work: what was said, the broker it is said to, and where output goes.

use std::io::Write;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use warren_api::broker::{Cell, Listing, Refused, Reply, Request, Status};
use warren_kit::control::{Address, Client};

use super::Surroundings;
use super::command_line::CommandLine;
use super::failure::{DATA, Failure, SOFTWARE, USAGE};
use super::output::{self, Format, Table};
use super::overview::Broker;
use super::verbs::Verb;
use crate::Error;

/// RabbitMQ's, for listings.
const TIMEOUT: Duration = Duration::from_secs(60);

pub(super) struct Session<'a, 'b> {
    pub(super) line: CommandLine,
    pub(super) verb: &'static Verb,
    pub(super) around: &'a mut Surroundings<'b>,
    address: Address,
    /// Once it has been asked.
    status: Option<Status>,
    /// Something was answered.
    answered: bool,
}

impl<'a, 'b> Session<'a, 'b> {
    pub(super) fn new(
        line: CommandLine,
        verb: &'static Verb,
        runtime_dir: &Path,
        around: &'a mut Surroundings<'b>,
    ) -> Self {
        Self {
            line,
            verb,
            around,
            address: Broker::address(runtime_dir),
            status: None,
            answered: false,
        }
    }

    /// Who reads JSON is told that it is done, unless he was told something.
    pub(super) fn conclude(&mut self) -> Result<(), Failure> {
        let needless = self.answered || self.verb.alone || self.format()? != Format::Json;
        // A broker that was told to stop says nothing any more.
        match needless || self.node().is_err() {
            true => Ok(()),
            false => self.answer(json!({}), ""),
        }
    }

    /// A sentence; for who reads JSON an object, with what every such answer has.
    pub(super) fn answer(&mut self, object: Value, sentence: impl std::fmt::Display) -> Result<(), Failure> {
        if self.format()? != Format::Json {
            return self.say(sentence);
        }
        let mut all = json!({"node": self.node()?, "result": "ok"});
        if let (Some(all), Value::Object(object)) = (all.as_object_mut(), object) {
            all.extend(object);
        }
        self.say(all)
    }

    /// `-n` names a node: is it the one here?
    pub(super) fn check_node(&mut self) -> Result<(), Failure> {
        if self.verb.alone {
            return Ok(());
        }
        let Some(wanted) = self.line.value("node").map(str::to_owned) else {
            return Ok(());
        };
        let here = self.node()?;
        let same = match wanted.contains('@') {
            true => wanted == here,
            false => here.split('@').next() == Some(wanted.as_str()),
        };
        match same {
            true => Ok(()),
            false => Err(Failure::unreachable(
                &wanted,
                format_args!("the broker of {} is {here}", self.address.path.display()),
            )),
        }
    }

    /// The name of the node.
    pub(super) fn node(&mut self) -> Result<String, Failure> {
        Ok(self.status()?.node.clone())
    }

    /// The node and what it is doing; asked once.
    pub(super) fn status(&mut self) -> Result<&Status, Failure> {
        let status = match self.status.take() {
            Some(status) => status,
            None => match self
                .ask(&Request::Status {})?
                .map_err(|refused| Failure::refused(&refused))?
            {
                Reply::Status(status) => *status,
                _ => return Err(unexpected()),
            },
        };
        Ok(self.status.insert(status))
    }

    /// As it is now.
    pub(super) fn fresh_status(&mut self) -> Result<&Status, Failure> {
        self.status = None;
        self.status()
    }

    /// Says what is going to be done, unless nobody wants to know.
    pub(super) fn banner(&mut self, text: impl std::fmt::Display) -> Result<(), Failure> {
        if !self.line.is_quiet() && self.format()?.has_banner() {
            writeln!(self.around.out, "{text}")?;
        }
        Ok(())
    }

    pub(super) fn say(&mut self, text: impl std::fmt::Display) -> Result<(), Failure> {
        self.answered = true;
        writeln!(self.around.out, "{text}")?;
        Ok(())
    }

    pub(super) fn format(&self) -> Result<Format, Failure> {
        let Some(word) = self.line.value("formatter") else {
            return Ok(Format::default());
        };
        Format::parse(word).ok_or_else(|| {
            let text = format!("there is no formatter {word}: use table, pretty_table, json or csv");
            Failure::argument(USAGE, text)
        })
    }

    /// Has something done; how it may be refused is for the caller to say.
    pub(super) fn try_change(&self, request: &Request) -> Result<Result<u64, Refused>, Failure> {
        match self.ask(request)? {
            Ok(Reply::Done { count, .. }) => Ok(Ok(count)),
            Ok(_) => Err(unexpected()),
            Err(refused) => Ok(Err(refused)),
        }
    }

    /// All definitions, and what they could not carry.
    pub(super) fn definitions(&self, vhost: Option<String>) -> Result<(String, Vec<String>), Failure> {
        match self.ask(&Request::ExportDefinitions { vhost })? {
            Ok(Reply::Definitions { definitions, notes }) => Ok((definitions, notes)),
            Ok(_) => Err(unexpected()),
            Err(refused) => Err(Failure::refused(&refused)),
        }
    }

    /// Says what was not taken.
    pub(super) fn import(&self, definitions: String) -> Result<Vec<String>, Failure> {
        match self.ask(&Request::ImportDefinitions { definitions })? {
            Ok(Reply::Done { notes, .. }) => Ok(notes),
            Ok(_) => Err(unexpected()),
            Err(refused) => Err(Failure::refused(&refused)),
        }
    }

    /// Has something done.
    pub(super) fn change(&self, request: &Request) -> Result<u64, Failure> {
        self.try_change(request)?
            .map_err(|refused| Failure::refused(&refused))
    }

    /// Prints a listing.
    pub(super) fn list(&mut self, listing: Listing, columns: &[&str]) -> Result<(), Failure> {
        let table = self.table(columns)?;
        self.print(listing, columns, table)
    }

    /// Prints a listing whose table has never had headers.
    pub(super) fn list_without_headers(&mut self, listing: Listing, columns: &[&str]) -> Result<(), Failure> {
        let table = Table::new(self.format()?, columns, false, self.around.colour);
        self.print(listing, columns, table)
    }

    fn print(&mut self, listing: Listing, columns: &[&str], mut table: Table) -> Result<(), Failure> {
        self.answered = true;
        self.each(listing, columns, |row, out| Ok(table.row(row, out)?))?;
        table.end(self.around.out)?;
        Ok(())
    }

    /// All of a listing, as tables show it.
    pub(super) fn rows_of(
        &mut self,
        listing: Listing,
        columns: &[&str],
    ) -> Result<Vec<Vec<String>>, Failure> {
        let mut found = Vec::new();
        self.each(listing, columns, |row, _| {
            found.push(row.iter().map(output::text).collect());
            Ok(())
        })?;
        Ok(found)
    }

    /// The only value that a listing has.
    pub(super) fn only(&mut self, listing: Listing, column: &str) -> Result<String, Failure> {
        let mut found = Vec::new();
        self.each(listing, &[column], |row, _| {
            found.extend(row);
            Ok(())
        })?;
        Ok(found.first().map(output::text).unwrap_or_default())
    }

    /// Does something with every row of a listing, when it comes.
    fn each(
        &mut self,
        listing: Listing,
        columns: &[&str],
        mut row: impl FnMut(Vec<Cell>, &mut dyn Write) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let request = Request::List {
            listing,
            columns: columns.iter().map(|column| (*column).to_owned()).collect(),
        };
        let answers = self
            .connect()?
            .stream::<_, Reply>(&request)
            .map_err(|error| Failure::daemon(&self.address.name, &error))?;
        for answer in answers {
            match answer.map_err(|error| Failure::daemon(&self.address.name, &error))? {
                Reply::Rows { rows } => rows.into_iter().try_for_each(|it| row(it, self.around.out))?,
                Reply::Refused(refused) => return Err(Failure::refused(&refused)),
                _ => return Err(unexpected()),
            }
        }
        Ok(())
    }

    /// Prints rows that nobody was asked for.
    pub(super) fn rows(
        &mut self,
        columns: &[&str],
        rows: impl IntoIterator<Item = Vec<Cell>>,
    ) -> Result<(), Failure> {
        self.answered = true;
        let mut table = self.table(columns)?;
        rows.into_iter()
            .try_for_each(|row| table.row(row, self.around.out))?;
        table.end(self.around.out)?;
        Ok(())
    }

    /// The same in a frame, unless another format was asked for.
    pub(super) fn pretty_rows(
        &mut self,
        columns: &[&str],
        rows: impl IntoIterator<Item = Vec<Cell>>,
    ) -> Result<(), Failure> {
        let format = match self.format()? {
            Format::Table => Format::Pretty,
            other => other,
        };
        self.answered = true;
        let mut table = Table::new(format, columns, true, self.around.colour);
        rows.into_iter()
            .try_for_each(|row| table.row(row, self.around.out))?;
        table.end(self.around.out)?;
        Ok(())
    }

    fn table(&self, columns: &[&str]) -> Result<Table, Failure> {
        let headers = !self.line.is_set("silent") && !self.line.is_set("no-table-headers");
        Ok(Table::new(self.format()?, columns, headers, self.around.colour))
    }

    /// The columns that were asked for, or these. They may be separated by commas.
    pub(super) fn columns(
        &self,
        listing: &Listing,
        usual: &[&'static str],
    ) -> Result<Vec<&'static str>, Failure> {
        let known = listing.columns();
        let (mut columns, mut unknown) = (Vec::new(), Vec::new());
        let arguments = self.line.arguments().iter();
        for word in arguments
            .flat_map(|argument| argument.split(','))
            .filter(|word| !word.is_empty())
        {
            match known.iter().find(|column| **column == word) {
                Some(column) => columns.push(*column),
                None => unknown.push(word.to_owned()),
            }
        }
        if !unknown.is_empty() {
            unknown.sort_unstable();
            let text = format!("Info key(s) {} are not supported", unknown.join(","));
            return Err(Failure::argument(USAGE, text));
        }
        match columns.is_empty() {
            true => Ok(usual.to_vec()),
            false => Ok(columns),
        }
    }

    /// An argument that must not be empty.
    pub(super) fn named(&self, place: usize, what: &str) -> Result<String, Failure> {
        let word = self.line.argument(place).trim();
        match word.is_empty() {
            true => Err(Failure::argument(
                DATA,
                format_args!("Bad argument: {what} cannot be an empty string"),
            )),
            false => Ok(self.line.argument(place).to_owned()),
        }
    }

    fn ask(&self, request: &Request) -> Result<Result<Reply, Refused>, Failure> {
        let answer = self.connect()?.call(request);
        match answer.map_err(|error| Failure::daemon(&self.address.name, &error))? {
            Reply::Refused(refused) => Ok(Err(refused)),
            reply => Ok(Ok(reply)),
        }
    }

    fn connect(&self) -> Result<Client, Failure> {
        let timeout = self.line.timeout().unwrap_or(TIMEOUT);
        match Client::connect(&self.address) {
            Ok(client) => Ok(client.timeout(timeout)),
            Err(error) => {
                let node = self.line.value("node").unwrap_or(&self.address.name);
                Err(Failure::daemon(node, &error))
            }
        }
    }

    /// The seconds that listings say they wait.
    pub(super) fn seconds(&self) -> f64 {
        self.line.timeout().unwrap_or(TIMEOUT).as_secs_f64()
    }
}

fn unexpected() -> Failure {
    Failure::new(SOFTWARE, Error::Unexpected)
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        match error {
            Error::Output(error) => Self::from(error),
            other => Self::new(SOFTWARE, other),
        }
    }
}
