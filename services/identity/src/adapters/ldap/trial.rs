//! The connection test: every step at every server, and what each one found or what to change.

use gantry_contract::upstream::Ldap;
use ldap3::Scope;

use super::explain::{Fault, Step};
use super::read::{first, id_of};
use super::{Directory, Session};
use crate::domain::upstream::filter::Filter;

/// One step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trial {
    pub step: Step,
    pub server: String,
    pub ok: bool,
    pub detail: String,
}

impl Directory {
    /// Goes through all steps; what comes after a failed one is left out. `name`: somebody to look up.
    pub async fn trial(&self, name: Option<&str>) -> Vec<Trial> {
        let (mut steps, mut good) = (Vec::new(), None);
        for server in self.settings().servers.clone() {
            match self.session_at(&server).await {
                Ok(session) => {
                    let encrypted = server.starts_with("ldaps") || self.settings().starttls;
                    let tls = if encrypted { "the server's certificate is trusted" } else { "NOT encrypted: passwords can be read on the network" };
                    for (step, detail) in [(Step::Name, "known"), (Step::Connect, "answers"), (Step::Tls, tls), (Step::Bind, "bind_dn and password are right")]
                    {
                        steps.push(passed(step, &server, detail));
                    }
                    good = good.or(Some(session));
                }
                Err(fault) => steps.extend(until(&fault)),
            }
        }
        if let Some(mut session) = good {
            let settings = self.settings().clone();
            if let Err(fault) = contents(&settings, &mut session, name, &mut steps).await {
                steps.push(failed(fault));
            }
            session.close().await;
        }
        steps
    }
}

fn passed(step: Step, server: &str, detail: impl Into<String>) -> Trial {
    Trial { step, server: server.to_owned(), ok: true, detail: detail.into() }
}

fn failed(fault: Fault) -> Trial {
    Trial { step: fault.step, server: fault.server, ok: false, detail: fault.detail }
}

/// The steps that went well before the one that did not.
fn until(fault: &Fault) -> Vec<Trial> {
    let before = Step::ALL.into_iter().take_while(|s| *s != fault.step).map(|s| passed(s, &fault.server, "fine"));
    before.chain([failed(fault.clone())]).collect()
}

async fn contents(settings: &Ldap, session: &mut Session, name: Option<&str>, steps: &mut Vec<Trial>) -> Result<(), Fault> {
    let server = session.server.clone();
    let any = Filter::Given("(objectClass=*)".into());
    for base in [&settings.user_base, &settings.group_base].into_iter().filter(|b| !b.is_empty()) {
        let mut seen = 0;
        session.search_at(Step::Base, base, Scope::Base, &any, vec!["1.1".into()], |_| seen += 1).await?;
        if seen == 0 {
            return Err(Fault::new(Step::Base, &server, format!("`{base}` is there, but the searching account may not see it")));
        }
        steps.push(passed(Step::Base, &server, format!("`{base}` is there")));
    }

    let names = &settings.attributes;
    let wanted = vec![names.id.clone(), names.username.clone(), names.email.clone(), names.display_name.clone()];
    let (mut people, mut lacking) = (0_u64, [0_u64; 3]);
    let count = |e: ldap3::SearchEntry| {
        people += 1;
        lacking[0] += u64::from(id_of(&e, &names.id).is_none());
        lacking[1] += u64::from(first(&e, &names.username).is_none());
        lacking[2] += u64::from(first(&e, &names.email).is_none());
    };
    session.search(Step::Filter, &settings.user_base, &Filter::given(&settings.user_filter), wanted, count).await?;
    if people == 0 {
        let text = format!("`{}` matches nobody below `{}`: try a wider filter, or another base", settings.user_filter, settings.user_base);
        return Err(Fault::new(Step::Filter, &server, text));
    }
    steps.push(passed(Step::Filter, &server, format!("{people} people match")));

    for (name, count) in [(&names.id, lacking[0]), (&names.username, lacking[1])] {
        if count > 0 {
            let text = format!("{count} of {people} people have no `{name}`: they cannot come in; is this the right attribute, and may the account read it?");
            steps.push(Trial { step: Step::Attributes, server: server.clone(), ok: count < people, detail: text });
        }
    }
    let mails =
        if lacking[2] == 0 { String::new() } else { format!("; {} of {people} have no `{}` and get an address that no mail reaches", lacking[2], names.email) };
    if lacking[0] < people && lacking[1] < people {
        steps.push(passed(Step::Attributes, &server, format!("`{}` and `{}` are there{mails}", names.id, names.username)));
    }

    if !settings.group_base.is_empty() {
        let mut groups = 0;
        session.search(Step::Groups, &settings.group_base, &Filter::given(&settings.group_filter), vec!["1.1".into()], |_| groups += 1).await?;
        let detail = if groups == 0 {
            format!("`{}` matches no group below `{}`", settings.group_filter, settings.group_base)
        } else {
            format!("{groups} groups match")
        };
        steps.push(Trial { step: Step::Groups, server: server.clone(), ok: groups > 0, detail });
    }
    if let Some(name) = name {
        let found = session.find(name).await?;
        let trial = match found {
            None => Trial {
                step: Step::Filter,
                server,
                ok: false,
                detail: format!("nobody, or more than one, is called `{name}` by {}", settings.login_attributes.join(" or ")),
            },
            Some(entry) => {
                let groups = session.groups_of(&entry.dn, &entry.username).await?;
                let groups = groups.into_iter().filter(|g| g.contains('=')).collect::<Vec<_>>().join("; ");
                passed(Step::Filter, &server, format!("`{name}` is `{}`, in: {}", entry.dn, if groups.is_empty() { "no group" } else { &groups }))
            }
        };
        steps.push(trial);
    }
    Ok(())
}
