//! Paths of values that become JSON text: `Json` columns and parts of columns.
//!
//! A path leads from a row through members and list items. Paths come from the features, from mixed values of a file's
//! first chunk, or from values whose type changes (dataset-loading.md section 1.7, steps 4 to 6).

use crate::features::{Feature, Features};

/// One step of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    Key(Box<[u8]>),
    Item,
}

/// A way from a row to a value.
pub(super) type Path = Vec<Step>;

/// The paths of one file, none of which leads into another.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct JsonPaths(Vec<Path>);

impl JsonPaths {
    /// The paths of the `Json` features.
    pub(super) fn of_features(features: &Features) -> Self {
        let mut paths = Self::default();
        collect_members(features, &mut Vec::new(), &mut paths.0);
        paths
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds a path; those that lead through it are dropped.
    pub(super) fn insert(&mut self, path: Path) {
        self.0.retain(|known| !known.starts_with(&path));
        self.0.push(path);
    }

    /// The paths as a tree, for following them step by step.
    pub(super) fn trie(&self) -> Trie {
        let mut trie = Trie { nodes: vec![TrieNode::default()] };
        for path in &self.0 {
            let mut at = 0;
            for step in path {
                at = trie.child_or_new(at, step);
            }
            trie.nodes[at].is_json = true;
        }
        trie
    }
}

fn collect_members(features: &Features, path: &mut Path, paths: &mut Vec<Path>) {
    for (name, feature) in &features.0 {
        path.push(Step::Key(name.as_bytes().into()));
        collect(feature, path, paths);
        path.pop();
    }
}

fn collect(feature: &Feature, path: &mut Path, paths: &mut Vec<Path>) {
    match feature {
        Feature::Json { .. } => paths.push(path.clone()),
        Feature::List { feature, .. } | Feature::LargeList { feature, .. } => {
            path.push(Step::Item);
            collect(feature, path, paths);
            path.pop();
        }
        Feature::Struct(members) => collect_members(members, path, paths),
        _ => {}
    }
}

/// Paths as a tree; node 0 is the row.
#[derive(Debug)]
pub(super) struct Trie {
    nodes: Vec<TrieNode>,
}

#[derive(Debug, Default)]
struct TrieNode {
    is_json: bool,
    keys: Vec<(Box<[u8]>, usize)>,
    item: Option<usize>,
}

impl Trie {
    pub(super) fn is_json(&self, node: usize) -> bool {
        self.nodes[node].is_json
    }

    pub(super) fn key(&self, node: usize, key: &[u8]) -> Option<usize> {
        self.nodes[node].keys.iter().find(|(known, _)| **known == *key).map(|(_, child)| *child)
    }

    pub(super) fn keys(&self, node: usize) -> &[(Box<[u8]>, usize)] {
        &self.nodes[node].keys
    }

    pub(super) fn item(&self, node: usize) -> Option<usize> {
        self.nodes[node].item
    }

    fn child_or_new(&mut self, node: usize, step: &Step) -> usize {
        let known = match step {
            Step::Key(key) => self.key(node, key),
            Step::Item => self.item(node),
        };
        if let Some(child) = known {
            return child;
        }
        let child = self.nodes.len();
        self.nodes.push(TrieNode::default());
        match step {
            Step::Key(key) => self.nodes[node].keys.push((key.clone(), child)),
            Step::Item => self.nodes[node].item = Some(child),
        }
        child
    }
}
