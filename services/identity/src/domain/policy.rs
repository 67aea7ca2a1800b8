//! Security policies: one aggregate per organisation and one for the platform, and how several hold at once: of each
//! rule the stricter one.

use std::net::IpAddr;

use gantry_contract::policy::{RegistrationRule, SecondFactor, SecurityPolicy, SecurityPolicyEvent};
use gantry_es::{Ctx, Decider};
use gantry_kernel::{FieldFault, OrgId};

pub struct Policies;

#[derive(Clone, Debug)]
pub struct Change {
    pub org: Option<OrgId>,
    pub policy: SecurityPolicy,
}

/// Nothing is refused: what is not valid does not get here.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Refusal {}

impl Decider for Policies {
    type State = SecurityPolicy;
    type Command = Change;
    type Event = SecurityPolicyEvent;
    type Refusal = Refusal;

    fn decide(state: &SecurityPolicy, Change { org, policy }: Change, _: &Ctx) -> Result<Vec<SecurityPolicyEvent>, Refusal> {
        Ok(if *state == policy { vec![] } else { vec![SecurityPolicyEvent::Changed { org, policy }] })
    }

    fn evolve(_: SecurityPolicy, event: &SecurityPolicyEvent) -> SecurityPolicy {
        let SecurityPolicyEvent::Changed { policy, .. } = event;
        policy.clone()
    }
}

/// Every faulty field.
pub fn faults(policy: &SecurityPolicy) -> Vec<FieldFault> {
    let mut faults = Vec::new();
    let mut fault = |field: &str, detail: String| faults.push(FieldFault { field: field.into(), detail });
    let ranges = [
        ("password_min_length", policy.password_min_length, 8, 128),
        ("password_min_score", policy.password_min_score.map(u32::from), 3, 4),
        ("password_history", policy.password_history, 1, 10),
        ("session_hours", policy.session_hours, 1, 720),
        ("session_idle_minutes", policy.session_idle_minutes, 5, 10_080),
    ];
    for (field, value, low, high) in ranges {
        if value.is_some_and(|v| !(low..=high).contains(&v)) {
            fault(field, format!("must be {low} to {high}"));
        }
    }
    for (field, list) in [("networks", &policy.networks), ("sign_in_by", &policy.sign_in_by), ("email_domains", &policy.email_domains)] {
        if list.len() > 100 {
            fault(field, "must have at most 100 entries".into());
        }
    }
    for (i, network) in policy.networks.iter().enumerate() {
        if Network::parse(network).is_none() {
            fault(&format!("networks[{i}]"), "must be a network like 10.0.0.0/8 or 2001:db8::/32".into());
        }
    }
    for (i, domain) in policy.email_domains.iter().enumerate() {
        let plain = domain.split('.').all(|l| !l.is_empty() && l.len() <= 63 && l.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-'));
        if !plain || domain.len() > 253 {
            fault(&format!("email_domains[{i}]"), "must be a domain like example.org, in lower case".into());
        }
    }
    faults
}

/// The ways to sign in that have names of their own; besides there are those of the upstreams.
pub const WAYS: [&str; 4] = ["password", "passkey", "certificate", "directory"];

/// A way to sign in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way<'a> {
    Password,
    Passkey,
    Certificate,
    /// An LDAP directory of this name.
    Directory(&'a str),
    /// A foreign provider of this name.
    Provider(&'a str),
}

impl Way<'_> {
    /// Whether a policy that says `named` means it. No upstream is taken for what its name says, whoever gave it that name.
    fn is(self, named: &str) -> bool {
        let own = |name: &str| name == named && !WAYS.contains(&named);
        match self {
            Self::Password => named == "password",
            Self::Passkey => named == "passkey",
            Self::Certificate => named == "certificate",
            Self::Directory(name) => named == "directory" || own(name),
            Self::Provider(name) => own(name),
        }
    }
}

/// The ways of a policy that there are not: a name for which somebody makes an upstream later would be theirs to use.
pub fn unknown_ways(ways: &[String], known: impl Fn(&str) -> bool) -> Vec<FieldFault> {
    let unknown = ways.iter().enumerate().filter(|(_, way)| !WAYS.contains(&way.as_str()) && !known(way));
    let detail = format!("must be one of {}, or the name of an upstream", WAYS.join(", "));
    unknown.map(|(i, _)| FieldFault { field: format!("sign_in_by[{i}]"), detail: detail.clone() }).collect()
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Network {
    bits: u128,
    length: u32,
    v4: bool,
}

fn bits(address: IpAddr) -> (u128, bool) {
    match address.to_canonical() {
        IpAddr::V4(v4) => (u128::from(u32::from(v4)) << 96, true),
        IpAddr::V6(v6) => (u128::from(v6), false),
    }
}

impl Network {
    fn parse(text: &str) -> Option<Self> {
        let (address, length) = text.split_once('/').map_or((text, None), |(a, l)| (a, Some(l)));
        let (bits, v4) = bits(address.parse().ok()?);
        let most = if v4 { 32 } else { 128 };
        let length = length.map_or(Some(most), |l| l.parse().ok())?;
        (length <= most).then_some(Self { bits, length, v4 })
    }

    fn holds(self, address: IpAddr) -> bool {
        let (other, v4) = bits(address);
        v4 == self.v4 && (self.length == 0 || (self.bits ^ other) >> (128 - self.length) == 0)
    }
}

/// What holds for a person: the stricter of each rule.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Effective {
    pub second_factor: SecondFactor,
    pub password_min_length: u32,
    pub password_min_score: u8,
    pub password_history: u32,
    pub session_hours: Option<u32>,
    pub session_idle_minutes: Option<u32>,
    pub registration: RegistrationRule,
    /// Each list must be satisfied.
    networks: Vec<Vec<String>>,
    sign_in_by: Vec<Vec<String>>,
    email_domains: Vec<Vec<String>>,
}

impl Effective {
    pub fn of(policies: impl IntoIterator<Item = SecurityPolicy>) -> Self {
        let mut all = Self { password_min_length: 8, password_min_score: 3, ..Self::default() };
        let least = |a: Option<u32>, b: Option<u32>| a.into_iter().chain(b).min();
        for policy in policies {
            all.second_factor = all.second_factor.max(policy.second_factor);
            all.password_min_length = all.password_min_length.max(policy.password_min_length.unwrap_or(0));
            all.password_min_score = all.password_min_score.max(policy.password_min_score.unwrap_or(0));
            all.password_history = all.password_history.max(policy.password_history.unwrap_or(0));
            all.session_hours = least(all.session_hours, policy.session_hours);
            all.session_idle_minutes = least(all.session_idle_minutes, policy.session_idle_minutes);
            all.registration = all.registration.max(policy.registration);
            for (lists, list) in
                [(&mut all.networks, policy.networks), (&mut all.sign_in_by, policy.sign_in_by), (&mut all.email_domains, policy.email_domains)]
            {
                if !list.is_empty() {
                    lists.push(list);
                }
            }
        }
        all
    }

    /// An address that cannot be read is in no network.
    pub fn allows_network(&self, address: &str) -> bool {
        let address: Option<IpAddr> = address.parse().ok();
        let within = |list: &Vec<String>| address.is_some_and(|a| list.iter().filter_map(|n| Network::parse(n)).any(|n| n.holds(a)));
        self.networks.iter().all(within)
    }

    pub fn allows_way(&self, way: Way<'_>) -> bool {
        self.sign_in_by.iter().all(|list| list.iter().any(|named| way.is(named)))
    }

    pub fn allows_email(&self, email: &str) -> bool {
        let domain = email.rsplit_once('@').map(|(_, domain)| domain.to_lowercase()).unwrap_or_default();
        self.email_domains.iter().all(|list| list.contains(&domain))
    }
}

#[cfg(test)]
mod tests {
    use gantry_es::spec::given;

    use super::*;

    fn policy(change: impl FnOnce(&mut SecurityPolicy)) -> SecurityPolicy {
        let mut policy = SecurityPolicy::default();
        change(&mut policy);
        policy
    }

    #[test]
    fn a_policy_changes_once() {
        let strict = policy(|p| p.second_factor = SecondFactor::Required);
        let changed = || SecurityPolicyEvent::Changed { org: None, policy: strict.clone() };
        let change = || Change { org: None, policy: strict.clone() };
        given::<Policies>([]).when(change()).then([changed()]);
        given::<Policies>([changed()]).when(change()).then([]);
    }

    #[test]
    fn of_two_policies_the_stricter_rule_holds() {
        let platform = policy(|p| {
            p.second_factor = SecondFactor::Required;
            p.session_hours = Some(8);
            p.networks = vec!["10.0.0.0/8".into()];
            p.sign_in_by = vec!["password".into(), "corp".into()];
        });
        let org = policy(|p| {
            p.password_min_length = Some(14);
            p.session_hours = Some(24);
            p.networks = vec!["10.1.0.0/16".into(), "2001:db8::/32".into()];
            p.sign_in_by = vec!["corp".into()];
            p.registration = RegistrationRule::Approval;
        });
        for order in [[platform.clone(), org.clone()], [org, platform]] {
            let all = Effective::of(order);
            assert_eq!((all.second_factor, all.password_min_length, all.session_hours), (SecondFactor::Required, 14, Some(8)));
            assert_eq!(all.registration, RegistrationRule::Approval);
            for (address, allowed) in [("10.1.2.3", true), ("::ffff:10.1.2.3", true), ("10.2.0.1", false), ("2001:db8::1", false), ("", false), ("x", false)] {
                assert_eq!(all.allows_network(address), allowed, "{address}");
            }
            assert!(all.allows_way(Way::Provider("corp")) && all.allows_way(Way::Directory("corp")) && !all.allows_way(Way::Password));
        }
        let free = Effective::of([]);
        assert!(free.allows_network("") && free.allows_way(Way::Password) && free.allows_email("x@y.z"));
    }

    #[test]
    fn no_upstream_is_taken_for_another_way_to_sign_in() {
        let by = |way: &str| Effective::of([policy(|p| p.sign_in_by = vec![way.to_owned()])]);
        for name in WAYS {
            assert!(!by(name).allows_way(Way::Provider(name)), "{name}");
            assert_eq!(by(name).allows_way(Way::Directory(name)), name == "directory", "{name}");
        }
        assert!(by("directory").allows_way(Way::Directory("corp")) && !by("directory").allows_way(Way::Provider("corp")));
        assert!(by("corp").allows_way(Way::Directory("corp")) && !by("corp").allows_way(Way::Directory("other")));
        let ways = [("password", Way::Password), ("passkey", Way::Passkey), ("certificate", Way::Certificate)];
        for (name, way) in ways {
            assert!(ways.iter().all(|(_, other)| by(name).allows_way(*other) == (*other == way)), "{name}");
        }
    }

    #[test]
    fn a_way_that_there_is_not_is_named() {
        let ways: Vec<String> = ["password", "corp", "pasword", "directory", "Passkey"].map(str::to_owned).into();
        let fields: Vec<String> = unknown_ways(&ways, |name| name == "corp").into_iter().map(|f| f.field).collect();
        assert_eq!(fields, ["sign_in_by[2]", "sign_in_by[4]"]);
    }

    #[test]
    fn domains_are_compared_whole() {
        let all = Effective::of([policy(|p| p.email_domains = vec!["example.org".into()])]);
        assert!(all.allows_email("ada@Example.ORG"));
        for bad in ["ada@evil-example.org", "ada@example.org.evil", "ada@sub.example.org", "ada"] {
            assert!(!all.allows_email(bad), "{bad}");
        }
    }

    #[test]
    fn every_faulty_field_is_named() {
        let bad = policy(|p| {
            p.password_min_length = Some(4);
            p.session_idle_minutes = Some(0);
            p.networks = vec!["10.0.0.0/33".into(), "0.0.0.0/0".into(), "nonsense".into()];
            p.email_domains = vec!["@example.org".into()];
        });
        let fields: Vec<String> = faults(&bad).into_iter().map(|f| f.field).collect();
        assert_eq!(fields, ["password_min_length", "session_idle_minutes", "networks[0]", "networks[2]", "email_domains[0]"]);
        assert!(faults(&SecurityPolicy::default()).is_empty());
    }
}
