//! Several nodes on one machine: real agents (`gantryd --target=agent`) with a containerd each, in namespaces of their own
//! (network, processes, mounts), joined by a bridge; and a real scheduler (`gantryd --target=scheduler`) beside them. Nodes
//! are cut off, killed and started anew while requests go through their balancers. Needs root and the packages that containers
//! need; says so where they are missing.

#![allow(clippy::unwrap_used, reason = "tests stop at the first surprise")]

mod bed;
#[allow(dead_code, reason = "shared with other suites, which need more of it")]
#[path = "../../../../libs/cri/tests/it/containerd.rs"]
mod containerd;
mod control;
mod cut_off;
mod identity;
mod killed;
mod load;
mod machine;
mod moving;
mod network;
mod shop;

use gantry_testkit::neighbours;
