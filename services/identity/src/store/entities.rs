//! The directory's tables as sea-orm entities. Written by `flows::directory` only.

macro_rules! entity {
    ($(#[$doc:meta])* $module:ident, $table:literal, { $($(#[$attr:meta])* $field:ident : $type:ty),+ $(,)? }) => {
        $(#[$doc])*
        pub mod $module {
            use gantry_kernel::{OffsetDateTime, Uuid};
            use sea_orm::entity::prelude::*;

            #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
            #[sea_orm(table_name = $table)]
            pub struct Model {
                $($(#[$attr])* pub $field: $type,)+
            }

            #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
            pub enum Relation {}

            impl ActiveModelBehavior for ActiveModel {}

            // Not every table has both.
            #[allow(unused)]
            type Kept = (OffsetDateTime, Uuid);
        }
    };
}

entity!(
    /// People. Personal values stay sealed; `*_key` are keyed hashes for lookups.
    user, "users", {
        #[sea_orm(primary_key, auto_increment = false)]
        id: Uuid,
        username_key: String,
        email_key: String,
        username: String,
        email: String,
        display_name: String,
        password_hash: Option<String>,
        must_change_password: bool,
        suspended_reason: Option<String>,
        version: i64,
        created_at: OffsetDateTime,
    }
);

entity!(
    org, "orgs", {
        #[sea_orm(primary_key, auto_increment = false)]
        id: Uuid,
        name: String,
        display_name: String,
        owner: Uuid,
        version: i64,
        created_at: OffsetDateTime,
    }
);

entity!(
    member, "members", {
        #[sea_orm(primary_key, auto_increment = false)]
        org: Uuid,
        #[sea_orm(primary_key, auto_increment = false)]
        user_id: Uuid,
        added_at: OffsetDateTime,
    }
);

entity!(
    project, "projects", {
        #[sea_orm(primary_key, auto_increment = false)]
        id: Uuid,
        org: Uuid,
        name: String,
        public: bool,
        created_at: OffsetDateTime,
    }
);

entity!(
    space, "spaces", {
        #[sea_orm(primary_key, auto_increment = false)]
        id: Uuid,
        org: Uuid,
        project: Uuid,
        name: String,
        created_at: OffsetDateTime,
    }
);

entity!(
    /// Roles in force. `scope` is the text form of `kernel::Scope`.
    binding, "bindings", {
        #[sea_orm(primary_key, auto_increment = false)]
        id: Uuid,
        subject: String,
        role: String,
        scope: String,
        /// JSON of `contract::identity::Condition`.
        condition: Option<String>,
        created_at: OffsetDateTime,
    }
);

entity!(
    /// Second factors. Written by `flows::factors` only.
    factor, "factors", {
        #[sea_orm(primary_key, auto_increment = false)]
        id: Uuid,
        user_id: Uuid,
        kind: String,
        secret: String,
        label: String,
        created_at: OffsetDateTime,
    }
);

entity!(
    /// Keyed hashes of recovery codes, sealed. Written by `flows::factors` only.
    recovery, "recovery_codes", {
        #[sea_orm(primary_key, auto_increment = false)]
        user_id: Uuid,
        codes: String,
        made_at: OffsetDateTime,
    }
);

entity!(
    /// Security policies as JSON; the platform's is of the nil id. Written by `flows::policies` only.
    policy, "security_policies", {
        #[sea_orm(primary_key, auto_increment = false)]
        org: Uuid,
        policy: String,
        version: i64,
    }
);
