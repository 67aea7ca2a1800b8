//! Many users at once: a dry run says for each line what would happen; the real run does just that.

use std::collections::BTreeSet;

use gantry_es::Meta;
use gantry_kernel::{Kind, Problem, UserId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::app::App;
use crate::app::users::{By, Profile};
use crate::domain::csv;
use crate::error::fault;
use crate::store::directory;

/// More go in several requests.
pub const MOST: usize = 1_000;
const COLUMNS: &[&str] = &["username", "email", "display_name", "password_hash"];

#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Line {
    pub username: String,
    pub email: String,
    pub display_name: Option<String>,
    /// Of argon2, bcrypt, scrypt, PBKDF2 (PHC format, Django's) or an LDAP directory (`{SSHA}`). Without one the person needs a new password from an administrator or by mail.
    pub password_hash: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ImportReport)]
pub struct Report {
    pub dry_run: bool,
    pub created: usize,
    pub unchanged: usize,
    pub failed: usize,
    pub lines: Vec<LineReport>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct LineReport {
    /// The line of the file, or the place in the JSON list, from 1.
    pub line: usize,
    pub username: String,
    /// `created` (in a dry run: would be), `unchanged` (the same user is there), `failed`.
    pub result: &'static str,
    /// Why it failed.
    pub errors: Vec<String>,
}

/// The lines of a CSV text, whose first line names the columns.
///
/// # Errors
/// An unknown or missing column, or text that is no CSV.
pub fn from_csv(text: &str) -> Result<Vec<(usize, Line)>, Problem> {
    let records = csv::read(text).map_err(|line| Problem::invalid("body", format!("line {line}: a quote is not closed, or stands inside a field")))?;
    let mut records = records.into_iter();
    let (_, head) = records.next().ok_or_else(|| Problem::invalid("body", "is empty: the first line names the columns"))?;
    let head: Vec<String> = head.iter().map(|h| h.trim().to_lowercase()).collect();
    if let Some(unknown) = head.iter().find(|h| !COLUMNS.contains(&h.as_str())) {
        return Err(Problem::invalid("body", format!("column `{unknown}`: must be of {}", COLUMNS.join(", "))));
    }
    for needed in ["username", "email"] {
        if !head.iter().any(|h| h == needed) {
            return Err(Problem::invalid("body", format!("the column `{needed}` is missing")));
        }
    }
    let line = |(number, record): (usize, Vec<String>)| {
        let field = |name: &str| head.iter().position(|h| h == name).and_then(|i| record.get(i)).map(|f| f.trim().to_owned()).filter(|f| !f.is_empty());
        let line = Line {
            username: field("username").unwrap_or_default(),
            email: field("email").unwrap_or_default(),
            display_name: field("display_name"),
            password_hash: field("password_hash"),
        };
        (number, line)
    };
    Ok(records.map(line).collect())
}

impl App {
    /// # Errors
    /// Too many lines, or a database that refuses. What is wrong with single lines is in the report.
    pub async fn import_users(&self, lines: Vec<(usize, Line)>, dry_run: bool, meta: &Meta) -> Result<Report, Problem> {
        if lines.len() > MOST {
            return Err(Problem::invalid("body", format!("at most {MOST} users in one request")));
        }
        let mut report = Report { dry_run, created: 0, unchanged: 0, failed: 0, lines: Vec::with_capacity(lines.len()) };
        let (mut names, mut addresses) = (BTreeSet::new(), BTreeSet::new());
        for (number, line) in lines {
            let username = line.username.clone();
            let outcome = if names.insert(line.username.to_lowercase()) && addresses.insert(line.email.to_lowercase()) {
                self.import_line(line, dry_run, meta).await
            } else {
                Err(Problem::invalid("username", "the name or address stands in an earlier line"))
            };
            let (result, errors) = match outcome {
                Ok(result) => (result, Vec::new()),
                Err(problem) if matches!(problem.kind, Kind::Internal | Kind::Unavailable) => return Err(problem),
                Err(problem) if problem.faults.is_empty() => ("failed", vec![problem.detail]),
                Err(problem) => ("failed", problem.faults.iter().map(|f| format!("{}: {}", f.field, f.detail)).collect()),
            };
            match result {
                "created" => report.created += 1,
                "unchanged" => report.unchanged += 1,
                _ => report.failed += 1,
            }
            report.lines.push(LineReport { line: number, username, result, errors });
        }
        Ok(report)
    }

    async fn import_line(&self, line: Line, dry_run: bool, meta: &Meta) -> Result<&'static str, Problem> {
        let profile = Profile::parse(&line.username, &line.email, line.display_name.as_deref())?;
        if let Some(Err(unknown)) = line.password_hash.as_deref().map(crate::domain::password_hash::Known::parse) {
            return Err(Problem::invalid("password_hash", unknown.to_string()));
        }
        let (name_key, email_key) = (self.lookup.hash(profile.username.as_str()), self.lookup.hash(&profile.email));
        if let Some(known) = directory::user_by_key(self.orm(), &name_key).await.map_err(fault)? {
            let same = known.username_key == name_key && known.email_key == email_key;
            return if same { Ok("unchanged") } else { Err(Problem::invalid("username", "is taken by somebody with another address")) };
        }
        if directory::user_by_key(self.orm(), &email_key).await.map_err(fault)?.is_some() {
            return Err(Problem::invalid("email", "is in use"));
        }
        if !dry_run {
            let user = UserId(self.host.env.uuid());
            let meta = Meta { command_id: None, ..meta.clone() };
            self.create_user_with_hash(user, &profile, line.password_hash, By::Admin, false, meta).await?;
        }
        Ok("created")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_names_its_columns_in_any_order() {
        let lines = from_csv("email,Username\nada@example.org, ada \n").unwrap();
        assert_eq!((lines[0].0, lines[0].1.username.as_str(), lines[0].1.email.as_str()), (2, "ada", "ada@example.org"));
        assert!(from_csv("username\nada").unwrap_err().detail.contains("`email` is missing"));
        assert!(from_csv("username,email,shoe\n").unwrap_err().detail.contains("`shoe`"));
        assert!(from_csv("").is_err());
    }
}
