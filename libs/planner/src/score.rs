//! What makes one node better than another. Each part is 0 to 1000 and counts by its weight.

use crate::amounts::Resource;
use crate::cluster::Cluster;

/// Of one decision; 0 leaves a part out.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Weights {
    /// Instances of one family apart, on nodes and in zones.
    pub spread: u32,
    /// Fuller nodes first, so that others stay free for large instances.
    pub pack: u32,
    /// Emptier nodes first, by what is booked and by what is measured.
    pub load: u32,
    /// Processors and memory filled evenly, so that neither is left over.
    pub even: u32,
    /// Nodes that have the image.
    pub image: u32,
    /// Preferences and soft rules of the workload.
    pub prefer: u32,
}

impl Default for Weights {
    fn default() -> Self {
        Self { spread: 10, pack: 1, load: 0, even: 0, image: 2, prefer: 10 }
    }
}

impl Weights {
    /// As a factor that keeps "will not do" (minus infinity) what it is: times 0 it would be no number.
    pub(crate) fn factor(weight: u32) -> f32 {
        if weight == 0 { f32::MIN_POSITIVE } else { weight as f32 }
    }
}

/// 1000, 500, 333, ...: how good it is to be one more where `count` are.
pub(crate) fn apart(count: u32) -> f32 {
    (1000 / (count + 1)) as f32
}

impl Cluster {
    /// Adds what depends on how full a node would be.
    pub(crate) fn add_fill(&self, scores: &mut [f32], asked: &[i64], weights: &Weights) {
        let slope = weights.pack as f32 - weights.load as f32;
        let even = weights.even as f32;
        if slope == 0.0 && even == 0.0 {
            return;
        }
        let (cpu, memory) = (Resource::Cpu as usize, Resource::Memory as usize);
        let (ask_cpu, ask_memory) = (asked[cpu] as i32, asked[memory] as i32);
        let n = scores.len();
        let (free_cpu, free_memory) = (&self.free[cpu][..n], &self.free[memory][..n]);
        let (inverse_cpu, inverse_memory) = (&self.inverse[0][..n], &self.inverse[1][..n]);
        for i in 0..n {
            let full_cpu = 1.0 - (free_cpu[i] - ask_cpu) as f32 * inverse_cpu[i];
            let full_memory = 1.0 - (free_memory[i] - ask_memory) as f32 * inverse_memory[i];
            scores[i] += 500.0 * slope * (full_cpu + full_memory) - 1000.0 * even * (full_cpu - full_memory).abs();
        }
    }

    pub(crate) fn add_load(&self, scores: &mut [f32], weights: &Weights) {
        if weights.load == 0 || !self.any_load {
            return;
        }
        let weight = weights.load as f32;
        for (score, load) in scores.iter_mut().zip(&self.load) {
            *score -= weight * *load;
        }
    }
}
