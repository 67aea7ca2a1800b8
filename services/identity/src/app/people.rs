//! People with their personal values opened.

use gantry_es::Sealed;
use gantry_kernel::{OffsetDateTime, Problem, UserId};
use std::collections::HashMap;

use crate::app::App;
use crate::error::{fault, unsealed};
use crate::store::directory;
use crate::store::entities::user;

#[derive(Clone, Debug)]
pub struct Person {
    pub id: UserId,
    pub username: String,
    pub email: String,
    pub display_name: String,
    pub suspended: Option<String>,
    pub must_change_password: bool,
    pub version: i64,
    pub created_at: OffsetDateTime,
}

/// "user:<uuid>": the subject in tokens and bindings, and of the person's key.
pub fn subject(user: UserId) -> String {
    format!("user:{user}")
}

impl App {
    pub async fn person(&self, id: UserId) -> Result<Option<Person>, Problem> {
        match directory::user(self.orm(), id.0).await.map_err(fault)? {
            Some(row) => self.open(row).await.map(Some),
            None => Ok(None),
        }
    }

    pub async fn open(&self, row: user::Model) -> Result<Person, Problem> {
        let id = UserId(row.id);
        let subject = subject(id);
        let open = async |text: String| self.keyring.open(&subject, &Sealed(text)).await.map_err(unsealed);
        Ok(Person {
            username: open(row.username).await?,
            email: open(row.email).await?,
            display_name: open(row.display_name).await?,
            suspended: row.suspended_reason,
            must_change_password: row.must_change_password,
            version: row.version,
            created_at: row.created_at,
            id,
        })
    }

    /// By id or user name, as paths and bodies give it.
    pub async fn find_user(&self, id_or_name: &str) -> Result<Option<user::Model>, Problem> {
        if let Ok(id) = id_or_name.parse::<UserId>() {
            return directory::user(self.orm(), id.0).await.map_err(fault);
        }
        directory::user_by_key(self.orm(), &self.lookup.hash(id_or_name)).await.map_err(fault)
    }

    /// What a person's roles are called in tokens: `platform:admin`, `acme:editor`, `acme/shop:viewer`.
    pub async fn groups(&self, user: UserId) -> Result<Vec<String>, Problem> {
        let bindings = directory::bindings_of(self.orm(), &subject(user)).await.map_err(fault)?;
        let names = self.scope_names(bindings.iter().map(|b| b.scope.as_str())).await;
        let group = |b: &crate::store::entities::binding::Model| names.get(&b.scope).map(|name| format!("{name}:{}", b.role));
        Ok(bindings.iter().filter_map(group).collect())
    }

    /// The names of scopes given by their texts: `platform`, `acme`, `acme/shop`, `acme/shop/test`.
    pub async fn scope_names<'a>(&self, scopes: impl Iterator<Item = &'a str>) -> HashMap<String, String> {
        use gantry_kernel::Scope;
        let name = |text: &str| {
            let scope: Scope = text.parse().ok()?;
            self.host.auth.read(|rights| match scope {
                Scope::Platform => Some("platform".to_owned()),
                Scope::Org(id) => rights.org_ref(id).map(|o| o.name.to_string()),
                Scope::Project(id) => rights.project_ref(id).map(gantry_auth::ProjectRef::path),
                Scope::Space(id) => rights.space_ref(id).map(gantry_auth::SpaceRef::path),
            })
        };
        scopes.filter_map(|text| Some((text.to_owned(), name(text)?))).collect()
    }
}
