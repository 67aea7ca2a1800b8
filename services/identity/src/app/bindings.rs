//! Role bindings. Each (subject, role, scope) exists once: claimed in the log.

use gantry_contract::identity::BindingEvent;
use gantry_es::{EventData, Meta};
use gantry_es_pg::{Claim, Options, StreamWrite};
use gantry_kernel::{BindingId, OrgId, Problem, Role, Scope};

use crate::app::App;
use crate::domain::binding::{Command, State, Subject};
use crate::error::{fault, refused};
use crate::store::directory;

fn claim_name(subject: &str, role: Role, scope: Scope) -> String {
    format!("{subject} {} {scope}", role.as_str())
}

impl App {
    /// # Errors
    /// When the subject or the role exists already at the scope, or the person is not there.
    pub async fn grant(&self, subject: Subject, role: Role, scope: Scope, meta: Meta) -> Result<BindingId, Problem> {
        if let Subject::User(user) = subject
            && directory::user(self.orm(), user.0).await.map_err(fault)?.is_none()
        {
            return Err(Problem::invalid("subject", "there is no such user"));
        }
        let binding = BindingId(self.host.env.uuid());
        let claims = vec![Claim::take("binding", claim_name(&subject.to_string(), role, scope))];
        let meta = Meta { tenant: self.tenant(scope), ..meta };
        let command = Command::Grant { binding, subject, role, scope };
        let executed = self.bindings.execute(binding, command, Options { meta, claims, ..Options::default() }).await.map_err(refused)?;
        self.settled(executed.position).await;
        // A repeated command answers with the binding it made the first time.
        Ok(if let State::Granted { binding, .. } = executed.state { binding } else { binding })
    }

    /// # Errors
    /// When there is no such binding.
    pub async fn revoke(&self, binding: BindingId, meta: Meta) -> Result<(), Problem> {
        let loaded = self.bindings.load(binding).await.map_err(refused)?;
        let State::Granted { subject, role, scope, .. } = loaded.state else { return Err(Problem::not_found("binding", binding)) };
        let claims = vec![Claim::release("binding", claim_name(&subject, role, scope))];
        let meta = Meta { tenant: self.tenant(scope), command_id: None, ..meta };
        let executed = self.bindings.execute(binding, Command::Revoke, Options { meta, claims, ..Options::default() }).await.map_err(refused)?;
        self.settled(executed.position).await;
        Ok(())
    }

    /// A binding that is granted in the same transaction as something else.
    pub(crate) fn binding_write(&self, subject: Subject, role: Role, scope: Scope) -> (StreamWrite, Claim) {
        let binding = BindingId(self.host.env.uuid());
        let subject = subject.to_string();
        let claim = Claim::take("binding", claim_name(&subject, role, scope));
        let event = BindingEvent::Granted { binding, subject, role, scope };
        let stream = gantry_es::StreamId::of::<BindingEvent>(binding);
        (StreamWrite { stream, expected: Some(0), events: vec![event.encode()] }, claim)
    }

    /// The organisation a scope belongs to.
    pub fn tenant(&self, scope: Scope) -> Option<OrgId> {
        self.host.auth.read(|rights| match scope {
            Scope::Platform => None,
            Scope::Org(id) => Some(id),
            Scope::Project(id) => rights.project_ref(id).map(|p| p.org.id),
            Scope::Space(id) => rights.space_ref(id).map(|s| s.org().id),
        })
    }
}

impl App {
    /// # Errors
    /// When `user` is the only administrator of the platform: nobody could let anybody in again.
    pub async fn refuse_last_admin(&self, user: gantry_kernel::UserId) -> Result<(), Problem> {
        let all = directory::bindings_at(self.orm(), vec![Scope::Platform.to_string()], None, 1_000).await.map_err(fault)?;
        let admins: std::collections::BTreeSet<_> = all.into_iter().filter(|b| b.role == Role::Admin.as_str()).map(|b| b.subject).collect();
        let subject = crate::app::people::subject(user);
        if admins.len() == 1 && admins.contains(&subject) {
            return Err(Problem::conflict("identity.last_admin", "this is the only administrator of the platform: appoint another one first"));
        }
        Ok(())
    }
}
