//! What is read from a directory by the searching account: people, groups, and how far changes have come.

use std::collections::{BTreeSet, HashMap, HashSet};

use gantry_contract::upstream::{Flavour, MemberIs, Nested};
use gantry_kernel::OffsetDateTime;
use ldap3::adapters::{Adapter, EntriesOnly, PagedResults};
use ldap3::{Ldap, ResultEntry, Scope, SearchEntry};

use super::Directory;
use super::explain::{self, Fault, Step};
use crate::domain::upstream::filter::Filter;
use crate::domain::upstream::groups::{self, Group, dn_key};

/// Groups within groups deeper than this are somebody's mistake.
const DEEPEST: usize = 20;

/// A connection of the searching account.
pub struct Session {
    directory: Directory,
    ldap: Ldap,
    pub server: String,
}

/// A person's entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub dn: String,
    /// Stable: survives a change of name.
    pub id: String,
    pub username: String,
    pub email: Option<String>,
    pub display_name: String,
    /// When it changed last, as the directory counts.
    pub stamp: Option<String>,
    pub disabled: bool,
}

/// That somebody is there, and by which names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Present {
    pub dn: String,
    pub id: String,
    pub username: String,
}

/// Who is in which group.
pub struct Memberships {
    groups: Vec<Group>,
    of: HashMap<String, BTreeSet<usize>>,
    by_name: bool,
}

impl Memberships {
    /// Distinguished names and plain names of the groups somebody is in. A plain name that looks like a distinguished
    /// one is left out: it could pass for another group.
    pub fn of(&self, dn: &str, username: &str) -> Vec<String> {
        let key = if self.by_name { username.to_lowercase() } else { dn_key(dn) };
        let held = self.of.get(&key).into_iter().flatten();
        held.flat_map(|i| names(&self.groups[*i].dn, &self.groups[*i].name)).collect()
    }

    pub fn groups(&self) -> usize {
        self.groups.len()
    }
}

fn names(dn: &str, name: &str) -> Vec<String> {
    let plain = (!name.is_empty() && !name.contains('=')).then(|| name.to_owned());
    [dn.to_owned()].into_iter().chain(plain).collect()
}

impl Session {
    pub(super) fn new(directory: Directory, ldap: Ldap, server: String) -> Self {
        Self { directory, ldap, server }
    }

    fn stamp(&self) -> &'static str {
        if self.directory.settings().flavour == Flavour::ActiveDirectory { "uSNChanged" } else { "modifyTimestamp" }
    }

    fn person_attributes(&self) -> Vec<String> {
        let names = &self.directory.settings().attributes;
        let all = [names.id.as_str(), &names.username, &names.email, &names.display_name, self.stamp(), "userAccountControl", "accountExpires"];
        all.iter().map(|a| (*a).to_owned()).collect()
    }

    /// The one person who is called `name`; none if nobody or more than one is.
    ///
    /// # Errors
    /// When the directory does not answer.
    pub async fn find(&mut self, name: &str) -> Result<Option<Entry>, Fault> {
        let settings = self.directory.settings().clone();
        let filter = Filter::person(&settings.user_filter, &settings.login_attributes, name);
        let (attributes, stamp, now) = (self.person_attributes(), self.stamp(), self.directory.0.env.now());
        let mut found = Vec::new();
        self.search(Step::Filter, &settings.user_base, &filter, attributes, |e| found.extend(entry(&settings, stamp, now, e))).await?;
        Ok(if found.len() == 1 { found.pop() } else { None })
    }

    /// Everybody, or everybody who changed since `mark`. The second number counts entries without an id or a name.
    ///
    /// # Errors
    /// When the directory does not answer.
    pub async fn people(&mut self, since: Option<&str>) -> Result<(Vec<Entry>, u64), Fault> {
        let settings = self.directory.settings().clone();
        let (stamp, now) = (self.stamp(), self.directory.0.env.now());
        let all = Filter::given(&settings.user_filter);
        let filter = match since {
            Some(mark) => Filter::And(vec![all, Filter::AtLeast(stamp.into(), mark.into())]),
            None => all,
        };
        let (mut found, mut useless) = (Vec::new(), 0);
        let attributes = self.person_attributes();
        let take = |e: SearchEntry| match entry(&settings, stamp, now, e) {
            Some(entry) => found.push(entry),
            None => useless += 1,
        };
        self.search(Step::Filter, &settings.user_base, &filter, attributes, take).await?;
        Ok((found, useless))
    }

    /// Everybody by id: who is missing has gone.
    ///
    /// # Errors
    /// When the directory does not answer.
    pub async fn present(&mut self) -> Result<Vec<Present>, Fault> {
        let settings = self.directory.settings().clone();
        let names = settings.attributes.clone();
        let mut found = Vec::new();
        let take = |e: SearchEntry| {
            if let Some(id) = id_of(&e, &names.id) {
                found.push(Present { username: first(&e, &names.username).unwrap_or_default(), id, dn: e.dn });
            }
        };
        self.search(Step::Filter, &settings.user_base, &Filter::given(&settings.user_filter), vec![names.id.clone(), names.username.clone()], take).await?;
        Ok(found)
    }

    /// Who is in which group. Servers that follow nested groups themselves are asked for the `wanted` ones only.
    ///
    /// # Errors
    /// When the directory does not answer.
    pub async fn memberships(&mut self, wanted: &[String]) -> Result<Memberships, Fault> {
        let settings = self.directory.settings().clone();
        let by_name = settings.member_is == MemberIs::Username;
        let mut all = Vec::new();
        if settings.group_base.is_empty() {
            return Ok(Memberships { groups: all, of: HashMap::new(), by_name });
        }
        let (name, member) = (settings.attributes.group_name.clone(), settings.member_attribute.clone());
        let chain = settings.nested == Nested::InChain && !by_name;
        let attributes = if chain { vec![name.clone()] } else { vec![name.clone(), member.clone()] };
        let mut more = Vec::new();
        let take = |e: SearchEntry| {
            let (members, next) = ranged(&e, &member);
            more.extend(next.map(|next| (all.len(), next)));
            all.push(Group { name: first(&e, &name).unwrap_or_default(), members, dn: e.dn });
        };
        self.search(Step::Groups, &settings.group_base, &Filter::given(&settings.group_filter), attributes, take).await?;
        for (group, next) in more {
            self.rest_of(&mut all[group], &member, next).await?;
        }
        if chain {
            all.retain(|g| wanted.iter().any(|w| groups::is_called(w, &g.dn, &g.name)));
            for group in &mut all {
                let inside = Filter::And(vec![Filter::given(&settings.user_filter), Filter::InChain("memberOf".into(), group.dn.clone())]);
                self.search(Step::Groups, &settings.user_base, &inside, vec!["1.1".into()], |e| group.members.push(e.dn)).await?;
            }
        }
        let of = groups::memberships(&all, by_name, settings.nested == Nested::Recursive);
        Ok(Memberships { groups: all, of, by_name })
    }

    /// The members of a large group after the first `next`, which its server gives in pieces.
    async fn rest_of(&mut self, group: &mut Group, member: &str, next: usize) -> Result<(), Fault> {
        let (any, mut next) = (Filter::Given("(objectClass=*)".into()), Some(next));
        while let Some(from) = next.take() {
            let take = |e: SearchEntry| {
                let (members, then) = ranged(&e, member);
                // A server that does not go on would be asked for ever.
                next = then.filter(|then| *then > from);
                group.members.extend(members);
            };
            let dn = group.dn.clone();
            self.search_at(Step::Groups, &dn, Scope::Base, &any, vec![format!("{member};range={from}-*")], take).await?;
        }
        Ok(())
    }

    /// The groups of one person.
    ///
    /// # Errors
    /// When the directory does not answer.
    pub async fn groups_of(&mut self, dn: &str, username: &str) -> Result<Vec<String>, Fault> {
        let settings = self.directory.settings().clone();
        if settings.group_base.is_empty() {
            return Ok(Vec::new());
        }
        let (name, member) = (settings.attributes.group_name.clone(), settings.member_attribute.clone());
        let by_name = settings.member_is == MemberIs::Username;
        let (mut out, mut seen) = (Vec::new(), HashSet::new());
        let mut level = vec![if by_name { username.to_owned() } else { dn.to_owned() }];
        for _ in 0..DEEPEST {
            let mut next = Vec::new();
            // So many members in one filter that a level is a few questions, and a question never too long.
            for some in level.chunks(50) {
                let holds = |m: &String| match settings.nested {
                    Nested::InChain if !by_name => Filter::InChain(member.clone(), m.clone()),
                    _ => Filter::equal(&member, m),
                };
                let filter = Filter::And(vec![Filter::given(&settings.group_filter), Filter::Or(some.iter().map(holds).collect())]);
                let take = |e: SearchEntry| {
                    if seen.insert(dn_key(&e.dn)) {
                        out.extend(names(&e.dn, &first(&e, &name).unwrap_or_default()));
                        next.push(e.dn);
                    }
                };
                self.search(Step::Groups, &settings.group_base, &filter, vec![name.clone()], take).await?;
            }
            if next.is_empty() || by_name || settings.nested != Nested::Recursive {
                break;
            }
            level = next;
        }
        Ok(out)
    }

    /// The server that counts changes, where each counts for itself (Active Directory).
    ///
    /// # Errors
    /// When the directory does not answer.
    pub async fn counter(&mut self) -> Result<Option<String>, Fault> {
        if self.directory.settings().flavour != Flavour::ActiveDirectory {
            return Ok(None);
        }
        let mut name = None;
        let any = Filter::Given("(objectClass=*)".into());
        self.search_at(Step::Base, "", Scope::Base, &any, vec!["dnsHostName".into()], |e| name = first(&e, "dnsHostName")).await?;
        Ok(name)
    }

    pub(super) async fn search(
        &mut self,
        step: Step,
        base: &str,
        filter: &Filter,
        attributes: Vec<String>,
        take: impl FnMut(SearchEntry) + Send,
    ) -> Result<(), Fault> {
        self.search_at(step, base, Scope::Subtree, filter, attributes, take).await
    }

    pub(super) async fn search_at(
        &mut self,
        step: Step,
        base: &str,
        scope: Scope,
        filter: &Filter,
        attributes: Vec<String>,
        mut take: impl FnMut(SearchEntry) + Send,
    ) -> Result<(), Fault> {
        let server = self.server.clone();
        let fault = |error: &ldap3::LdapError| explain::of(step, &server, error);
        let page = i32::from(self.directory.settings().page_size);
        let mut adapters: Vec<Box<dyn Adapter<'_, String, Vec<String>>>> = vec![Box::new(EntriesOnly::new())];
        if scope != Scope::Base {
            adapters.push(Box::new(PagedResults::new(page)));
        }
        let timeout = self.directory.timeout();
        let text = filter.to_string();
        let started = self.ldap.with_timeout(timeout).streaming_search_with(adapters, base, scope, &text, attributes).await;
        let mut stream = started.map_err(|e| fault(&e))?;
        while let Some(found) = stream.next().await.map_err(|e| fault(&e))? {
            take(constructed(found).ok_or_else(|| Fault::new(step, &server, "the server sent an entry that is not LDAP"))?);
        }
        stream.finish().await.success().map(drop).map_err(|e| fault(&e))
    }

    /// Says good-bye; a connection that is just dropped is closed as well.
    pub async fn close(mut self) {
        let _ = self.ldap.unbind().await;
    }
}

/// The library panics on entries that are not well formed: a broken server must not take a task down.
fn constructed(found: ResultEntry) -> Option<SearchEntry> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| SearchEntry::construct(found))).ok()
}

/// Attribute names are compared without case (RFC 4512 section 2.5).
fn values(entry: &SearchEntry, name: &str) -> Vec<String> {
    entry.attrs.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name)).flat_map(|(_, v)| v.iter().cloned()).collect()
}

pub(super) fn first(entry: &SearchEntry, name: &str) -> Option<String> {
    values(entry, name).into_iter().map(|v| v.trim().to_owned()).find(|v| !v.is_empty())
}

/// A binary id (objectGUID) in hexadecimal: some of them happen to be valid UTF-8.
pub(super) fn id_of(entry: &SearchEntry, name: &str) -> Option<String> {
    let binary = entry.bin_attrs.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).and_then(|(_, v)| v.first());
    let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
    match binary {
        Some(bytes) => Some(hex(bytes)),
        None if name.eq_ignore_ascii_case("objectGUID") => values(entry, name).first().map(|v| hex(v.as_bytes())),
        None => first(entry, name),
    }
}

fn entry(settings: &gantry_contract::upstream::Ldap, stamp: &str, now: OffsetDateTime, found: SearchEntry) -> Option<Entry> {
    let names = &settings.attributes;
    let username = first(&found, &names.username)?;
    /// ADS_UF_ACCOUNTDISABLE
    const DISABLED: u32 = 2;
    let switched_off = first(&found, "userAccountControl").and_then(|v| v.parse::<u32>().ok()).is_some_and(|v| v & DISABLED != 0);
    let expired = first(&found, "accountExpires").and_then(|v| expiry(&v)).is_some_and(|at| at <= now);
    Some(Entry {
        id: id_of(&found, &names.id)?,
        email: first(&found, &names.email),
        display_name: first(&found, &names.display_name).unwrap_or_else(|| username.clone()),
        stamp: first(&found, stamp),
        disabled: switched_off || expired,
        username,
        dn: found.dn,
    })
}

/// When an account of Active Directory ends: tenths of microseconds since 1601; 0 and everything beyond the calendar mean never.
fn expiry(text: &str) -> Option<OffsetDateTime> {
    const SECONDS_1601_TO_1970: i64 = 11_644_473_600;
    let ticks = text.parse::<i64>().ok().filter(|n| *n > 0)?;
    OffsetDateTime::from_unix_timestamp(ticks / 10_000_000 - SECONDS_1601_TO_1970).ok()
}

/// The values of `attribute`, and where the next ones begin when the server gave only the first of many
/// (`member;range=0-1499`, [MS-ADTS] 3.1.1.3.1.3.3).
fn ranged(entry: &SearchEntry, attribute: &str) -> (Vec<String>, Option<usize>) {
    for (name, found) in &entry.attrs {
        let lower = name.to_lowercase();
        let Some(range) = lower.strip_prefix(&attribute.to_lowercase()).and_then(|rest| rest.strip_prefix(";range=")) else { continue };
        let last = range.split_once('-').and_then(|(_, last)| last.parse::<usize>().ok());
        return (found.clone(), last.map(|n| n + 1));
    }
    (values(entry, attribute), None)
}

/// The later of two stamps: numbers by value, times as they are written (generalized time sorts so).
pub fn later(a: Option<String>, b: Option<String>) -> Option<String> {
    let order = |x: &String| x.parse::<u64>().map_or((0, x.clone()), |n| (n, String::new()));
    [a, b].into_iter().flatten().max_by_key(order)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_later_stamp_wins() {
        let later = |a: &str, b: &str| later(Some(a.into()), Some(b.into())).unwrap();
        assert_eq!(later("9", "10"), "10");
        assert_eq!(later("20261122100000Z", "20261122095959Z"), "20261122100000Z");
    }

    #[test]
    fn a_binary_id_is_the_same_text_whether_or_not_it_is_utf_8() {
        let mut entry = SearchEntry { dn: String::new(), attrs: HashMap::new(), bin_attrs: HashMap::new() };
        entry.attrs.insert("objectGUID".into(), vec!["ab".into()]);
        assert_eq!(id_of(&entry, "objectGUID").as_deref(), Some("6162"));
        entry.attrs.clear();
        entry.bin_attrs.insert("objectguid".into(), vec![vec![0xff, 0x61]]);
        assert_eq!(id_of(&entry, "objectGUID").as_deref(), Some("ff61"));
    }

    #[test]
    fn members_that_come_in_pieces_say_where_the_next_begin() {
        let mut entry = SearchEntry { dn: String::new(), attrs: HashMap::new(), bin_attrs: HashMap::new() };
        entry.attrs.insert("member".into(), vec![]);
        entry.attrs.insert("member;range=0-1499".into(), vec!["cn=a".into()]);
        assert_eq!(ranged(&entry, "Member"), (vec!["cn=a".to_owned()], Some(1_500)));
        entry.attrs = [("member;Range=1500-*".to_owned(), vec!["cn=b".to_owned()])].into();
        assert_eq!(ranged(&entry, "member"), (vec!["cn=b".to_owned()], None));
        entry.attrs = [("member".to_owned(), vec!["cn=c".to_owned()])].into();
        assert_eq!(ranged(&entry, "member"), (vec!["cn=c".to_owned()], None));
    }

    #[test]
    fn accounts_end_when_the_directory_says_and_most_never() {
        assert_eq!(expiry("133801632000000000").map(|at| at.unix_timestamp()), Some(1_735_689_600), "2025-01-01");
        for never in ["0", "9223372036854775807", "", "soon"] {
            assert_eq!(expiry(never), None, "{never}");
        }
    }

    #[test]
    fn a_group_cannot_pass_for_another_by_its_plain_name() {
        assert_eq!(names("cn=x,dc=a", "cn=admins,dc=a"), ["cn=x,dc=a"]);
        assert_eq!(names("cn=x,dc=a", "x"), ["cn=x,dc=a", "x"]);
    }
}
