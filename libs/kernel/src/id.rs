//! Ids as types, so that two of them cannot be swapped in a call.

/// Declares a UUID newtype with the conversions every border needs (text, JSON, OpenAPI, JSON Schema).
#[macro_export]
macro_rules! typed_id {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize, schemars::JsonSchema, utoipa::ToSchema)]
        #[serde(transparent)]
        #[schema(value_type = uuid::Uuid)]
        pub struct $name(pub uuid::Uuid);

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.0.fmt(f)
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, "{}({})", stringify!($name), self.0)
            }
        }

        impl std::str::FromStr for $name {
            type Err = uuid::Error;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                uuid::Uuid::parse_str(text).map(Self)
            }
        }

        impl From<uuid::Uuid> for $name {
            fn from(id: uuid::Uuid) -> Self {
                Self(id)
            }
        }
    )+};
}

typed_id! {
    /// A person.
    UserId,
    /// An organisation: the tenant.
    OrgId,
    /// A project (workspace) of an organisation.
    ProjectId,
    /// A space (test, staging, production, ...) of a project.
    SpaceId,
    /// A role given to a subject at a scope.
    BindingId,
    /// A directory or foreign provider that vouches for people.
    UpstreamId,
    /// An account at an upstream that is a person's here.
    LinkId,
    /// A group of people and programs in an organisation.
    TeamId,
    /// A role that an organisation or the platform has put together itself.
    RoleId,
    /// An application in a space.
    AppId,
    /// A running copy of a workload.
    InstanceId,
    /// A machine that runs instances.
    NodeId,
    /// A pipeline run.
    RunId,
    /// One recorded event.
    EventId,
}
