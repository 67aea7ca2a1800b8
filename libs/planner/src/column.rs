//! One property of all nodes: each distinct value once, and per node the number of its value. A rule is asked once for each
//! distinct value and then read from a table.

use std::collections::HashMap;

/// Value 0 is "there is none".
#[derive(Clone, Debug)]
pub(crate) struct Column {
    values: Vec<String>,
    index: HashMap<String, u32>,
    of: Vec<u32>,
    /// Per value, how many nodes have it: a value without nodes is no place.
    nodes: Vec<u32>,
}

impl Column {
    pub fn new(nodes: usize) -> Self {
        Self { values: vec![String::new()], index: HashMap::new(), of: vec![0; nodes], nodes: vec![u32::try_from(nodes).unwrap_or(u32::MAX)] }
    }

    pub fn grow(&mut self) {
        self.of.push(0);
        self.nodes[0] += 1;
    }

    /// True if this changes anything.
    pub fn set(&mut self, node: usize, value: Option<&str>) -> bool {
        let next = value.map_or(0, |v| self.intern(v));
        let before = self.of[node];
        self.of[node] = next;
        self.nodes[before as usize] -= 1;
        self.nodes[next as usize] += 1;
        before != next
    }

    fn intern(&mut self, value: &str) -> u32 {
        if let Some(found) = self.index.get(value) {
            return *found;
        }
        let next = u32::try_from(self.values.len()).expect("fewer than 2^32 values");
        self.values.push(value.to_owned());
        self.nodes.push(0);
        self.index.insert(value.to_owned(), next);
        next
    }

    pub fn of(&self) -> &[u32] {
        &self.of
    }

    /// How many values there are, "none" included.
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// `None` for value 0.
    pub fn value(&self, at: u32) -> Option<&str> {
        (at > 0).then(|| self.values[at as usize].as_str())
    }

    /// A table over the values.
    pub fn table<T>(&self, mut f: impl FnMut(Option<&str>) -> T) -> Vec<T> {
        (0..self.values.len()).map(|at| f(self.value(u32::try_from(at).unwrap_or(u32::MAX)))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_value_is_kept_once() {
        let mut column = Column::new(2);
        column.grow();
        assert!(column.set(0, Some("a")) && column.set(2, Some("a")) && !column.set(1, None));
        assert_eq!((column.of(), column.len(), column.value(1), column.value(0)), ([1, 0, 1].as_slice(), 2, Some("a"), None));
        assert_eq!(column.table(|v| v.map_or(0, str::len)), [0, 1]);
    }
}
