//! Which nodes an agent may speak for, by the certificate it shows: the one rule for everything that agents call.
//!
//! A certificate that a node got for its join token speaks for that node alone. The suite's own certificate for agents is of no
//! node: it serves the machine that the suite runs on, and any other whose node never showed a certificate of its own. A node that
//! did is spoken for by that alone from then on, so that who holds the suite's cannot take its place.

use gantry_kernel::Name;
use thiserror::Error;

/// Who is at the other end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Speaker {
    /// With the certificate of this node.
    Node(Name),
    /// With the suite's own certificate for agents.
    Suite,
}

/// Why it may not speak for a node, with what to do.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Silenced {
    #[error("the certificate is the node {own}'s, and the agent calls itself {node}: set `[agent] node`, or join as {node}")]
    Another { own: Name, node: Name },
    #[error(
        "the node {node} has a certificate of its own, and only who shows that speaks for it: join this machine with a new token (`gantry node join-token --node {node}`), or give its node another name (`[agent] node`)"
    )]
    Certified { node: Name },
}

impl Speaker {
    /// By the name in a certificate (`spiffe://gantry/<peer>`); `None`: no agent's.
    pub fn of(peer: &str) -> Option<Self> {
        match peer.strip_prefix("node/") {
            Some(node) => Name::parse(node).ok().map(Self::Node),
            None => (peer == "agent").then_some(Self::Suite),
        }
    }

    /// `certified`: whether the node ever showed a certificate of its own.
    ///
    /// # Errors
    /// Why not.
    pub fn may_speak_for(&self, node: &Name, certified: bool) -> Result<(), Silenced> {
        match self {
            Self::Node(own) if own == node => Ok(()),
            Self::Node(own) => Err(Silenced::Another { own: own.clone(), node: node.clone() }),
            Self::Suite if certified => Err(Silenced::Certified { node: node.clone() }),
            Self::Suite => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        Name::parse(text).unwrap()
    }

    #[test]
    fn a_certificate_is_a_nodes_or_the_suites_or_no_agents() {
        assert_eq!(Speaker::of("node/n1"), Some(Speaker::Node(name("n1"))));
        assert_eq!(Speaker::of("agent"), Some(Speaker::Suite));
        for other in ["scheduler", "gateway", "node/", "node/..", "node/n1/n2", "agents", ""] {
            assert_eq!(Speaker::of(other), None, "{other}");
        }
    }

    #[test]
    fn a_node_speaks_for_itself_and_the_suite_for_those_that_have_no_certificate() {
        let (own, other) = (Speaker::Node(name("n1")), name("n2"));
        for certified in [false, true] {
            assert_eq!(own.may_speak_for(&name("n1"), certified), Ok(()));
            let refused = own.may_speak_for(&other, certified).unwrap_err();
            assert!(refused.to_string().contains("n1's") && refused.to_string().contains("n2"), "{refused}");
        }
        assert_eq!(Speaker::Suite.may_speak_for(&other, false), Ok(()));
        let refused = Speaker::Suite.may_speak_for(&other, true).unwrap_err();
        assert!(refused.to_string().contains("gantry node join-token --node n2"), "{refused}");
    }
}
